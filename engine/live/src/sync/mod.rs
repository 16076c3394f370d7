//! Delta sync: a destination file or device is brought up to date with a source, and only what differs is written.
//!
//! The engine judges a file as it judges memory: its blocks are pages, its holes are pages without data. What saves writing are the
//! fingerprints of the destination, which are made anew from what it really holds. Where a [`Filter`] tracks who writes into the
//! source, a [`Replica`] is brought up to date again and again, and blocks that nobody wrote are not even read.

mod baseline;
mod error;
mod extent;
mod filter;
mod held;
mod in_place;
mod journal;
mod machine;
mod origin;
mod place;
mod replace;
mod replica;
mod source;
#[cfg(test)]
mod tests;
mod turn;

use std::path::{Path, PathBuf};

use pagesieve_core::summary::{BlockCounts, FilterStats, Schema};
use pagesieve_core::{Backing, Config, Gfn, Hva, MemSlot, MemSlots, Mode, Nanos, PAGE_SIZE, PolicyKind, Purpose};
use serde::Serialize;

use crate::transport::Session;
use crate::wire::Name;
pub use error::SyncError;
pub use filter::Filter;
pub use held::Leases;
pub use machine::Machine;
pub(crate) use place::Place;
pub use replica::Replica;

/// How to sync. The defaults are the seed's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Bytes in a block: a power of two of at least 4096.
    pub block_size: u64,
    /// Threads that make the fingerprints of the destination; at least one.
    pub hash_workers: usize,
    /// Write into the destination itself, with a journal that takes the changes back if the sync is cut off. Devices are always
    /// written in place.
    pub in_place: bool,
    /// Where the journal is kept. A device needs to be told; that of a file is kept beside it.
    pub journal: Option<PathBuf>,
    /// Read both sides again at the end and compare their digests.
    pub verify: bool,
    /// The longest pause of a machine whose memory is copied.
    pub downtime_limit: Nanos,
    /// Pause it at last even if the pause will be longer.
    pub force: bool,
    /// Attempts to write a block before the sync fails.
    pub attempts: u32,
    /// Time between two attempts.
    pub retry_delay: Nanos,
}

impl Default for SyncConfig {
    fn default() -> Self {
        let engine = Config::new(Purpose::Live, PolicyKind::Proven, Mode::Sync { interval: Nanos::SECOND });
        Self {
            block_size: engine.block_size,
            hash_workers: 4,
            in_place: false,
            journal: None,
            verify: false,
            downtime_limit: Mode::DOWNTIME_LIMIT,
            force: false,
            attempts: engine.attempts,
            retry_delay: engine.retry_delay,
        }
    }
}

/// What a sync did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SyncStats {
    /// `pagesieve.sync`.
    pub schema: Schema,
    /// Length of the source in bytes.
    pub bytes: u64,
    /// Transfer unit in bytes.
    pub block_size: u64,
    /// Verdicts on blocks.
    pub blocks: BlockCounts,
    /// Bytes of the blocks that were written to the destination.
    pub bytes_written: u64,
    /// Bytes of blocks on the wire, after encoding; `None` if the destination is on this machine.
    pub bytes_wire: Option<u64>,
    /// What the page filter skipped before it was read.
    pub filter: FilterStats,
    /// Why the filter had no events or could prove nothing in this pass, if that is so.
    pub filter_reason: Option<String>,
    /// What was known of the destination at the start: `empty`, `fingerprints`, or `kept` if it is as the last pass left it.
    pub baseline: &'static str,
    /// Passes of this replica, this one included.
    pub pass: u64,
    /// Seconds for which the machine stood still whose memory was copied.
    pub paused_seconds: Option<f64>,
    /// Blocks left by a sync that was cut off, and found to be there.
    pub blocks_resumed: u64,
    /// True if changes of a sync that was cut off were taken back first.
    pub rolled_back: bool,
    /// BLAKE3 digest of both sides in hexadecimal, if they were compared.
    pub digest: Option<String>,
    /// Time of the whole sync in seconds.
    pub seconds: f64,
}

/// Told how far a sync is.
pub trait SyncListener {
    /// So many blocks of all have been dealt with.
    fn blocks(&mut self, done: u64, all: u64) {
        let _ = (done, all);
    }
}

impl SyncListener for () {}

/// Makes `destination` hold what `source` holds. Both are files or block devices; a destination that is a folder gets a file of the
/// source's name.
///
/// A file is replaced as a whole at the end, so nobody ever sees it half written. What was written by a sync that was cut off is
/// used by the next one.
///
/// # Errors
/// See [`SyncError`]. The destination then still holds what it held before, or will when the journal is applied by the next sync.
pub async fn sync_file(
    source: &Path,
    destination: &Path,
    config: &SyncConfig,
    listener: &mut dyn SyncListener,
) -> Result<SyncStats, SyncError> {
    Replica::open(source, config, None)?.pass(destination, listener).await
}

/// Makes the destination of a session hold what `source` holds, under this name.
///
/// # Errors
/// See [`SyncError`]. The destination then still has what it had before; what arrived is used by the next sync.
pub async fn sync_remote(
    source: &Path,
    name: Name,
    session: Session,
    config: &SyncConfig,
    listener: &mut dyn SyncListener,
) -> Result<SyncStats, SyncError> {
    Replica::open(source, config, None)?.pass_remote(name, session, listener).await
}

/// The file as the memory of a guest: one slot from frame 0 on. Of the last page the file may have only a part.
pub(crate) fn slots(len: u64) -> Result<MemSlots, SyncError> {
    let mut slots = MemSlots::new();
    let pages = len.div_ceil(PAGE_SIZE);
    if pages > 0 {
        let slot = MemSlot { base: Gfn(0), pages, hva: Hva(0), backing: Backing::Shared, numa_node: None };
        slots.insert(slot).map_err(SyncError::Slots)?;
    }
    Ok(slots)
}
