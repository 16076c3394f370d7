//! Why a saved history cannot be used.

use core::fmt;

use crate::Blocks;

/// Why a saved history cannot be used, and what to do. Going on without one is always safe: it takes a while to learn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The bytes do not start like a history.
    NotAHistory,
    /// The layout is of another major version.
    Version {
        /// The major version in the file.
        found: u16,
    },
    /// The file was cut, or something in it was changed.
    Damaged,
    /// It was saved before the machine was rebooted.
    OtherBoot,
    /// It belongs to another process or guest.
    OtherTarget,
    /// The target's memory was laid out in another way.
    OtherSlots,
    /// It was saved later than now. That is so if the machine went back to a snapshot.
    SavedLater,
    /// The slots reach beyond the frames that per-page tables hold; the highest frame is given.
    TooLarge(u64),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WITHOUT: &str = "start without --history, and save a new one";
        match self {
            Self::NotAHistory => f.write_str("not a page history; give --history a file that was saved by it"),
            Self::Version { found } => {
                let ours = super::file::MAJOR;
                let older = if *found < ours { "an older" } else { "a newer" };
                write!(f, "written by {older} version in format {found}, and this one reads {ours}; {WITHOUT}")
            }
            Self::Damaged => write!(f, "the page history is damaged or was not written to its end; {WITHOUT}"),
            Self::OtherBoot => write!(f, "saved before the machine was rebooted: page ages mean nothing now; {WITHOUT}"),
            Self::OtherTarget => write!(f, "the page history is of another target; name that target, or {WITHOUT}"),
            Self::OtherSlots => write!(f, "the target's memory was laid out differently when it was saved; {WITHOUT}"),
            Self::SavedLater => write!(f, "saved at a time that is yet to come on this machine's clock; {WITHOUT}"),
            Self::TooLarge(end) => {
                write!(f, "guest memory reaches frame {end:#x}; a history holds at most {:#x} frames", Blocks::MAX_FRAMES)
            }
        }
    }
}

impl core::error::Error for LoadError {}
