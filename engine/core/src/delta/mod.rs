//! What goes on the wire instead of memory: zeros and unchanged pages as a header, changed ones as a delta, compressed or raw.
//!
//! Pure functions on byte slices, whose speed depends on how much changed; `README.md` beside this file says what was measured.

pub mod block;
pub mod page;
pub mod xbzrle;
pub mod zero;

mod fingerprint;
#[cfg(test)]
mod tests;

pub use block::{BlockError, PageCounts, decode_block, encode_block, encode_pages, encoded_limit};
pub use fingerprint::fingerprint;
pub use page::{Compress, Decompress, NoCompression, Old, PageKind};
pub use zero::is_zero;
