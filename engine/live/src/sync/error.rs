//! Why a sync fails.

use std::io;
use std::path::PathBuf;

use crate::remote::RemoteError;
use pagesieve_core::ConfigError;
use pagesieve_core::memslot::SlotError;

/// Why a sync failed. Texts complete "failed to ...".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The source cannot be read.
    #[error("read the source {}: {error}", path.display())]
    Source {
        /// The source.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Neither a file nor a block device.
    #[error("sync {}: it is neither a regular file nor a block device; name one", path.display())]
    Kind {
        /// What it is called.
        path: PathBuf,
    },
    /// Both are the same file.
    #[error("sync {} with itself: source and destination are one file; name another destination", path.display())]
    Same {
        /// The source.
        path: PathBuf,
    },
    /// Someone wrote into the source meanwhile.
    #[error("sync {}: it was written while it was read; stop whoever writes into it and sync again", path.display())]
    Changed {
        /// The source.
        path: PathBuf,
    },
    /// The name of the source leads to another file now.
    #[error("sync {}: another file has taken its name since the first pass; start again", path.display())]
    Replaced {
        /// The source.
        path: PathBuf,
    },
    /// The destination cannot be read or written.
    #[error("{what} {}: {error}", path.display())]
    Destination {
        /// What was tried.
        what: &'static str,
        /// The file in question.
        path: PathBuf,
        /// Why it failed.
        error: io::Error,
    },
    /// Another sync is at work on the destination.
    #[error("sync to {}: another sync holds it; wait until that is over", path.display())]
    Busy {
        /// The destination.
        path: PathBuf,
    },
    /// A device without a journal.
    #[error("sync to the device {}: name a file for its journal with --journal, on a disk that outlives a crash", path.display())]
    NoJournal {
        /// The device.
        path: PathBuf,
    },
    /// The device is too small.
    #[error("sync to {}: the device has {has} bytes, the source has {wants}; name a larger device", path.display())]
    Small {
        /// The device.
        path: PathBuf,
        /// Its length.
        has: u64,
        /// That of the source.
        wants: u64,
    },
    /// The journal is not one.
    #[error("take back the changes that {} names: it is damaged or no journal; restore the destination from a copy, then remove it",
        path.display())]
    Journal {
        /// The journal.
        path: PathBuf,
    },
    /// The configuration makes no sense.
    #[error("sync: {0}")]
    Config(ConfigError),
    /// The source is too large.
    #[error("sync: {0}")]
    Slots(SlotError),
    /// The wire has no blocks of this size.
    #[error("sync to another machine: blocks there have 4 KiB to 1 MiB; choose another --block-size")]
    BlockSize,
    /// The destination refuses, or the connection to it broke.
    #[error("sync to the destination: {0}")]
    Remote(RemoteError),
    /// A machine writes more than can be copied while it may stand still.
    #[error(
        "copy the memory at one instant: more is written than can be copied in the pause that is allowed; allow a longer one \
        (--downtime-limit), or any (--force)"
    )]
    NotConverging,
    /// A machine was paused and could not be resumed.
    #[error("let the source go on after the copy: {0}; it is stopped, resume it by hand")]
    Stopped(String),
    /// A block could not be read or written.
    #[error("{0}")]
    Block(String),
    /// The sides differ although every block was dealt with.
    #[error("verify {}: its digest is {there}, that of the source {here}; check the disks, then sync again", path.display())]
    Differs {
        /// The destination.
        path: PathBuf,
        /// Digest of the source.
        here: String,
        /// Digest of the destination.
        there: String,
    },
}
