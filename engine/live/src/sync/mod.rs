//! Delta sync: a destination file or device is brought up to date with a source, and only what differs is written.
//!
//! The engine judges a file as it judges memory: its blocks are pages, its holes are pages without data. Nothing tracks who
//! writes into a plain file, so no block of it counts as clean; what saves writing are the fingerprints of the destination, which
//! are made anew from what it really holds.

mod baseline;
mod error;
mod extent;
mod in_place;
mod journal;
mod place;
mod replace;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Instant;

use pagesieve_core::summary::{BlockCounts, FilterStats, Schema, share};
use pagesieve_core::{
    Action, Backing, Baseline, Config, Gfn, Hva, MemSlot, MemSlots, Migration, Mode, Nanos, Outcome, PAGE_SIZE, PolicyKind,
    Purpose, Report, delta,
};
use serde::Serialize;
use tokio::sync::watch;

use crate::clock::TokioClock;
use crate::destination::Destination;
use crate::driver::{Driver, NoEvents, Observer, RunError};
use crate::remote::{self, Remote};
use crate::transport::Session;
use crate::wire::{Frame, Name, Open, What};
pub use error::SyncError;
pub(crate) use place::Place;
use source::Source;

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
    /// Why the filter had no events, if it had none.
    pub filter_reason: Option<String>,
    /// What was known of the destination at the start: `empty` or `fingerprints`.
    pub baseline: &'static str,
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
    let began = Instant::now();
    let source = Source::open(source)?;
    let destination = place::resolve(destination, &source)?;
    let mut place = Place::open(&destination, source.len(), config)?;
    let slots = slots(source.len())?;
    let baseline = if place.is_empty() { Baseline::Empty } else { Baseline::Fingerprints };
    let mut migration = Migration::new(engine_config(config), slots, baseline).map_err(SyncError::Config)?;
    if baseline == Baseline::Fingerprints {
        let summaries = place.baseline(migration.blocks(), config.hash_workers.max(1))?;
        for (index, summary) in (0..).zip(&summaries) {
            migration.handle_baseline(migration.blocks().id(index), summary);
        }
    }
    let (resumed, rolled_back) = (place.resumed(), place.rolled_back());
    let report = turn(&mut migration, &source, &mut place, listener).await?;
    source.check_unchanged()?;
    place.finish()?;
    let digest = if config.verify { Some(place.verify(&source)?) } else { None };
    let stats = stats(&source, config, &report, baseline, began);
    Ok(SyncStats { blocks_resumed: resumed, rolled_back, digest, ..stats })
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
    let began = Instant::now();
    let source = Source::open(source)?;
    let slots = slots(source.len())?;
    let block_size = remote::block_size(config.block_size).ok_or(SyncError::BlockSize)?;
    let mut remote = Remote::start(session, 0);
    let what = What::File { bytes: source.len() };
    let open = Open { name, what, block_size };
    let held = remote.open(open).await.map_err(SyncError::Remote)?;
    let baseline = if held.is_some() { Baseline::Fingerprints } else { Baseline::Empty };
    let mut migration = Migration::new(engine_config(config), slots, baseline).map_err(SyncError::Config)?;
    if held.is_some() {
        remote::tell_baseline(&mut migration, held);
    }
    let report = turn(&mut migration, &source, &mut remote, listener).await?;
    let digest = config.verify.then(|| source.digest()).transpose()?;
    source.check_unchanged()?;
    remote.say(Frame::Commit { length: source.len(), digest }).await;
    remote.committed().await.map_err(SyncError::Remote)?;
    let stats = stats(&source, config, &report, baseline, began);
    Ok(SyncStats { bytes_wire: Some(report.bytes_wire), digest: digest.map(place::hex), ..stats })
}

fn stats(source: &Source, config: &SyncConfig, report: &Report, baseline: Baseline, began: Instant) -> SyncStats {
    SyncStats {
        schema: Schema { name: "pagesieve.sync".to_owned(), version: "1.0".to_owned() },
        bytes: source.len(),
        block_size: config.block_size,
        blocks: report.blocks,
        bytes_written: report.bytes_sent,
        bytes_wire: None,
        filter: FilterStats {
            ebpf_enabled: false,
            blocks_skipped: report.skipped_unread,
            bytes_skipped: report.bytes_skipped_unread,
            skip_percent: share(report.skipped_unread, report.blocks.total) * 100.0,
        },
        filter_reason: Some("nothing tracks the writes into a plain file".to_owned()),
        baseline: if baseline == Baseline::Empty { "empty" } else { "fingerprints" },
        blocks_resumed: 0,
        rolled_back: false,
        digest: None,
        seconds: began.elapsed().as_secs_f64(),
    }
}

fn engine_config(config: &SyncConfig) -> Config {
    Config {
        block_size: config.block_size,
        attempts: config.attempts,
        retry_delay: config.retry_delay,
        ..Config::new(Purpose::Live, PolicyKind::Proven, Mode::Sync { interval: Nanos::SECOND })
    }
}

/// One round over the source, which stands still: the handover is asked for at once.
async fn turn(
    migration: &mut Migration,
    source: &Source,
    destination: impl Destination,
    listener: &mut dyn SyncListener,
) -> Result<Report, SyncError> {
    let (_sender, handover) = watch::channel(true);
    let mut driver = Driver {
        accesses: NoEvents,
        log: source,
        memory: source,
        guest: source,
        destination,
        clock: TokioClock::start(),
        observer: Watch { done: 0, all: u64::from(migration.blocks().count()), listener, trouble: None },
        fingerprint: Some(delta::fingerprint),
        handover,
    };
    // A file cannot be left standing still.
    let report = driver.run(migration).await.map_err(|RunError::Resume(what)| SyncError::Block(what))?;
    let trouble = driver.observer.trouble.take();
    match report.outcome {
        Outcome::Completed => Ok(report),
        _ => Err(SyncError::Block(trouble.unwrap_or_else(|| "transfer a block".to_owned()))),
    }
}

/// Counts blocks, and keeps the last trouble for the error.
struct Watch<'a> {
    done: u64,
    all: u64,
    listener: &'a mut dyn SyncListener,
    trouble: Option<String>,
}

impl Observer for Watch<'_> {
    fn action(&mut self, _: Nanos, action: &Action) {
        if matches!(action, Action::Skip { .. } | Action::Send { .. } | Action::SendZero(_)) {
            self.done = self.all.min(self.done + 1);
            self.listener.blocks(self.done, self.all);
        }
    }

    fn trouble(&mut self, _: Nanos, what: &str, error: &dyn std::fmt::Display) {
        self.trouble = Some(format!("{what}: {error}"));
    }
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
