//! Numbers that say what went wrong, for programs; the text beside them is for people.

/// Makes an enum of codes with their numbers, once.
macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$code_doc:meta])* $code:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$code_doc])* $code,)*
            /// A number that this version does not know.
            Other(u16),
        }

        impl $name {
            pub(super) fn from_number(number: u16) -> Self {
                match number { $($number => Self::$code,)* other => Self::Other(other) }
            }

            pub(super) fn number(self) -> u16 {
                match self { $(Self::$code => $number,)* Self::Other(other) => other }
            }
        }
    };
}

codes! {
    /// Why a block was not applied.
    Fault {
        /// It cannot be decoded.
        Encoding = 1,
        /// Decoded it has another fingerprint: the destination holds something else than the deltas refer to. Send it again
        /// without a base.
        Fingerprint = 2,
        /// It is outside of what was opened.
        Outside = 3,
        /// The destination could not write.
        Storage = 4,
        /// Another block with some of these pages was still being applied.
        Overlap = 5,
        /// Nothing is open, or it is committed already.
        NotOpen = 6,
    }
}

codes! {
    /// Why a destination gives up.
    Failure {
        /// The name cannot be opened below the directory.
        Name = 1,
        /// Another session has it open.
        InUse = 2,
        /// There is no room.
        NoSpace = 3,
        /// The destination could not read or write.
        Storage = 4,
        /// A frame came that makes no sense at this point.
        Protocol = 5,
        /// The content has another digest than the source said.
        Digest = 6,
        /// The guest could not be started.
        Guest = 7,
        /// The destination does not take guests, or not of this shape.
        NotTaken = 8,
        /// The destination is being shut down.
        ShuttingDown = 9,
        /// It has not started the guest, and never will.
        NotStarted = 10,
        /// It does not know whether it has started the guest.
        InDoubt = 11,
    }
}
