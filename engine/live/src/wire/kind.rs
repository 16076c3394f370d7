//! What frames there are, who sends them, and on which streams.

use std::fmt;

/// Most bytes of a body: a block of 1 MiB of which no page is compressed, and room for what stands in front of it.
pub const MAX_BODY: u32 = (1 << 20) + 4096;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source, which connects.
    Client,
    /// The destination, which listens.
    Server,
}

/// Makes [`Kind`] with its numbers and names, once.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $sender:expr, $everywhere:literal;)*) => {
        /// What a frame is. The numbers are those on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $number,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub(super) fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }

            /// Who sends it (`None`: both), and whether on any stream or on stream 0 only.
            fn place(self) -> (Option<Side>, bool) {
                match self { $(Self::$name => ($sender, $everywhere),)* }
            }
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => stringify!($name),)* })
            }
        }
    };
}

kinds! {
    /// [`Frame::Open`](super::Frame::Open).
    Open = 1, Some(Side::Client), false;
    /// [`Frame::Commit`](super::Frame::Commit).
    Commit = 2, Some(Side::Client), false;
    /// [`Frame::DeviceState`](super::Frame::DeviceState).
    DeviceState = 3, Some(Side::Client), false;
    /// [`Frame::Handover`](super::Frame::Handover).
    Handover = 4, Some(Side::Client), false;
    /// [`Frame::Abort`](super::Frame::Abort).
    Abort = 5, Some(Side::Client), false;
    /// [`Frame::Settle`](super::Frame::Settle).
    Settle = 6, Some(Side::Client), false;
    /// [`Frame::Put`](super::Frame::Put).
    Put = 16, Some(Side::Client), true;
    /// [`Frame::Zero`](super::Frame::Zero).
    Zero = 17, Some(Side::Client), true;
    /// [`Frame::Opened`](super::Frame::Opened).
    Opened = 33, Some(Side::Server), false;
    /// [`Frame::Fingerprints`](super::Frame::Fingerprints).
    Fingerprints = 34, Some(Side::Server), false;
    /// [`Frame::Committed`](super::Frame::Committed).
    Committed = 36, Some(Side::Server), false;
    /// [`Frame::HandedOver`](super::Frame::HandedOver).
    HandedOver = 37, Some(Side::Server), false;
    /// [`Frame::Failed`](super::Frame::Failed).
    Failed = 38, Some(Side::Server), true;
    /// [`Frame::Ack`](super::Frame::Ack).
    Ack = 48, Some(Side::Server), true;
    /// [`Frame::Nack`](super::Frame::Nack).
    Nack = 49, Some(Side::Server), true;
    /// [`Frame::Ping`](super::Frame::Ping).
    Ping = 64, None, true;
    /// [`Frame::Pong`](super::Frame::Pong).
    Pong = 65, None, true;
}

impl Kind {
    /// Whether `side` may send it on this stream.
    #[must_use]
    pub fn belongs(self, side: Side, stream: u8) -> bool {
        let (sender, everywhere) = self.place();
        sender.is_none_or(|sender| sender == side) && (everywhere || stream == 0)
    }
}
