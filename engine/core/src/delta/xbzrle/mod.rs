//! XBZRLE, the delta encoding of QEMU's migration: what changed between two versions of a page.
//!
//! # Format
//!
//! The grammar is that of `migration/xbzrle.c` and `docs/devel/migration/` in QEMU's sources, and the bytes are the same:
//!
//! ```text
//! delta  = { pair }
//! pair   = equal changed bytes
//! ```
//!
//! - `equal`: how many bytes are the same in both versions, counted from the end of the pair before (from the start of the
//!   page in the first pair).
//! - `changed`: how many bytes that follow differ.
//! - `bytes`: the new values of these bytes, as many as `changed` says.
//! - Both numbers are ULEB128: seven bits a byte, the lowest first, the top bit set in all bytes but the last.
//!
//! Runs are as long as they can be: every byte of a changed run differs, and both neighbours of the run are equal or lie
//! outside. So only the first `equal` may be 0, `changed` never is, and a number has no padding. Equal bytes at the end are
//! left out; two equal versions give an empty delta.
//!
//! QEMU's lengths stop at 14 bits, which is enough for its pages; here they go up to 32 bits. For pages of up to 16383 bytes the
//! two are the same. Offsets are counted in bytes and the encoding does not depend on the byte order of the machine.

mod decode;
mod encode;
mod mask;
#[cfg(test)]
mod tests;
mod write;

pub use decode::{DecodeError, check, decode};
pub use encode::{encode, encoded_len};
