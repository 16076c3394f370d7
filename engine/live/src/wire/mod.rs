//! The wire protocol: frames to bytes and back, without I/O. `WIRE.md` beside the manifest of this crate has every byte.
//!
//! A connection begins with a [`Hello`] of the client and a [`Reply`] of the server, whose layout is the same in all versions.
//! Then both sides send [`Frame`]s. Bytes from the other side are never trusted: a claimed length is compared with what is
//! allowed before memory is taken for it, and a frame whose checksum, order or content is wrong ends the connection.

mod block;
mod codes;
mod control;
mod decoder;
mod error;
mod fields;
mod frame;
mod greeting;
mod kind;
mod name;
#[cfg(test)]
mod tests;
mod text;

pub use block::{MAX_ACKS, MAX_BLOCK_PAGES, Put, Span};
pub use codes::{Failure, Fault};
pub use control::{Held, MAX_CHUNK, MAX_CHUNK_BLOCKS, MAX_SLOTS, Open, Slot, What};
pub use decoder::Decoder;
pub use error::{Malformed, WireError};
pub use frame::{FRAME_OVERHEAD, Frame};
pub use greeting::{GREETING_LIMIT, Hello, MAX_STREAMS, Reply, Verdict, Version};
pub use kind::{Kind, MAX_BODY, Side};
pub use name::{Name, NameError};
pub use text::Text;

/// Names a session, or what a destination kept of one: 16 random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub [u8; 16]);

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
