//! What can be wrong with bytes from the other side.

use super::kind::{Kind, MAX_BODY};
use super::name::NameError;

/// Why bytes are no frame. Offsets count the bytes of the connection behind the greeting, frames from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The greeting is none.
    #[error("the other side does not speak this protocol; is the address that of `pagesieve serve`?")]
    NotOurs,
    /// The greeting is damaged.
    #[error("the greeting is damaged; try again, and look at the network between both sides if it stays so")]
    Greeting,
    /// No frame has such a number.
    #[error(
        "frame {frame} at byte {offset} has the unknown kind {kind}: it is damaged, or no pagesieve is at the other end; try again"
    )]
    Kind {
        /// Number of the frame.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// The number of its kind.
        kind: u8,
    },
    /// A frame claims to be larger than any frame is.
    #[error(
        "frame {frame} ({kind}) at byte {offset} claims {length} bytes, more than the {MAX_BODY} that are allowed; try again"
    )]
    TooLong {
        /// Number of the frame.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// Its kind.
        kind: Kind,
        /// The length that it claims.
        length: u32,
    },
    /// The frame was changed on its way.
    #[error(
        "frame {frame} ({kind}, {length} bytes) at byte {offset} is damaged and was not applied; try again, and look at the network if it stays so"
    )]
    Checksum {
        /// Number of the frame.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// Its kind, if that is not what is damaged.
        kind: Kind,
        /// Length of its body.
        length: u32,
    },
    /// This side or stream does not send such frames.
    #[error("frame {frame} ({kind}) at byte {offset} does not belong on stream {stream} in this direction")]
    Misplaced {
        /// Number of the frame.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// Its kind.
        kind: Kind,
        /// The stream.
        stream: u8,
    },
    /// The checksum is right, the content is not.
    #[error("frame {frame} ({kind}) at byte {offset} is malformed: {why}")]
    Malformed {
        /// Number of the frame.
        frame: u64,
        /// Where it begins.
        offset: u64,
        /// Its kind.
        kind: Kind,
        /// What is wrong.
        why: Malformed,
    },
}

/// Why a body is not one of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A field reaches behind the end.
    #[error("it ends within a field")]
    Short,
    /// Something follows the last field.
    #[error("{0} bytes follow its last field")]
    Trailing(usize),
    /// A number that stands for one of several things stands for nothing.
    #[error("{field} cannot be {value}")]
    Choice {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// A list or text is longer than allowed, or empty where it may not be.
    #[error("{field} has {count} entries, allowed are {least} to {most}")]
    Count {
        /// Which field.
        field: &'static str,
        /// Its entries.
        count: usize,
        /// Fewest allowed.
        least: usize,
        /// Most allowed.
        most: usize,
    },
    /// A text is not UTF-8, or holds control characters.
    #[error("a text in it is not plain UTF-8")]
    Text,
    /// The name is not allowed.
    #[error("the name {0}")]
    Name(#[from] NameError),
    /// Page numbers run over, or slots overlap or are not in order.
    #[error("its page numbers make no sense")]
    Pages,
}
