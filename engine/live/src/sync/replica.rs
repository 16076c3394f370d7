//! A destination that is brought up to date again and again, by passes over its source.
//!
//! Between two passes the engine keeps what it knows. A block is skipped unread if the filter proves that it was not written since,
//! and the destination still holds what it acknowledged: it says so by its fingerprints at the start of each pass, unless it is
//! [proven](super::held) that nobody has touched it. Whatever is not certain is read and compared.

use std::cell::RefCell;
use std::fs::File;
use std::path::Path;
use std::time::Instant;

use pagesieve_core::summary::{FilterStats, Schema, share};
use pagesieve_core::{Baseline, BlockSummary, Kept, Migration, Outcome, Report};

use super::filter::Filter;
use super::held::{Held, Leases};
use super::machine::Machine;
use super::origin::{Origin, Turned};
use super::source::Source;
use super::turn::engine_config;
use super::{Place, SyncConfig, SyncError, SyncListener, SyncStats, place, slots};
use crate::clock::{Clock, TokioClock};
use crate::destination::Destination;
use crate::remote::{self, Remote};
use crate::transport::Session;
use crate::wire::{Frame, Name, Open, What};

/// A source, and what is known of its copy.
pub struct Replica {
    origin: Origin,
    config: SyncConfig,
    /// The engine after a pass that is complete.
    known: Option<Migration>,
    /// How to be certain that nobody else has the destination open.
    leases: Option<Leases>,
    /// The destination as the last pass left it.
    held: Option<Held>,
    passes: u64,
    clock: TokioClock,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("passes", &self.passes).finish_non_exhaustive()
    }
}

impl Replica {
    /// Opens a source. Nothing is read of it yet. Without a filter every pass compares everything, and nobody may write into the
    /// source meanwhile. With one it may be written: each block is then copied as it was at some moment of the pass.
    ///
    /// # Errors
    /// The source cannot be opened.
    pub fn open(source: &Path, config: &SyncConfig, filter: Option<Box<dyn Filter>>) -> Result<Self, SyncError> {
        Ok(Self::new(Origin::File { source: Source::open(source)?, filter, populated: None }, config))
    }

    /// The memory of a machine. Each pass brings the machine to stand still for its last round, so that the copy is of one instant.
    #[must_use]
    pub fn of_machine(machine: Box<dyn Machine>, config: &SyncConfig) -> Self {
        Self::new(Origin::Machine { machine: RefCell::new(machine), len: 0 }, config)
    }

    fn new(origin: Origin, config: &SyncConfig) -> Self {
        Self { origin, config: config.clone(), known: None, leases: None, held: None, passes: 0, clock: TokioClock::start() }
    }

    /// From the second pass on, the destination is not read where it is proven that nobody has written into it.
    pub fn trust_destination(&mut self, leases: Leases) {
        self.leases = Some(leases);
    }

    /// Makes a file or device hold what the source holds. From the second pass on a file is changed in place, with a journal: to
    /// replace it would mean to copy all that did not change.
    ///
    /// # Errors
    /// See [`SyncError`]. The next pass compares everything.
    pub async fn pass(&mut self, destination: &Path, listener: &mut dyn SyncListener) -> Result<SyncStats, SyncError> {
        let began = self.begin()?;
        let destination = place::resolve(destination, self.origin.file())?;
        let config = SyncConfig { in_place: self.config.in_place || self.passes > 1, ..self.config.clone() };
        let mut place = Place::open(&destination, self.origin.len(), &config)?;
        let kept = self.is_kept(place.file());
        let empty = place.is_empty();
        let mut engine = self.engine(empty)?;
        engine.kept = kept && engine.again && !empty && !place.rolled_back();
        if !empty && !engine.kept {
            let held = place.baseline(engine.migration.blocks(), config.hash_workers.max(1))?;
            engine.tell(&held);
        }
        let (resumed, rolled_back) = (place.resumed(), place.rolled_back());
        let stats = self.turn(&mut engine, &mut place, listener).await?;
        place.finish()?;
        if let Some(leases) = self.leases {
            self.held = Held::after_pass(place.file(), leases).await;
        }
        let source = self.origin.file().filter(|_| config.verify);
        let digest = source.map(|source| place.verify(source)).transpose()?;
        self.known = Some(engine.migration);
        Ok(SyncStats { blocks_resumed: resumed, rolled_back, digest, seconds: began.elapsed().as_secs_f64(), ..stats })
    }

    /// Makes the destination of a session hold what the source holds, under this name. Each pass takes a session of its own.
    ///
    /// # Errors
    /// As for [`Replica::pass`].
    pub async fn pass_remote(
        &mut self,
        name: Name,
        session: Session,
        listener: &mut dyn SyncListener,
    ) -> Result<SyncStats, SyncError> {
        let began = self.begin()?;
        let block_size = remote::block_size(self.config.block_size).ok_or(SyncError::BlockSize)?;
        let mut remote = Remote::start(session, None);
        let what = What::File { bytes: self.origin.len() };
        let open = Open { name, what, block_size };
        let held = remote.open(open).await.map_err(SyncError::Remote)?;
        let mut engine = self.engine(held.is_none())?;
        if let Some(held) = held {
            let held = remote::summaries(engine.migration.blocks(), held);
            engine.tell(&held);
        }
        let stats = self.turn(&mut engine, &mut remote, listener).await?;
        let wire = engine.migration.report(Outcome::Completed).bytes_wire - engine.before.bytes_wire;
        let source = self.origin.file().filter(|_| self.config.verify);
        let digest = source.map(Source::digest).transpose()?;
        remote.say(Frame::Commit { length: self.origin.len(), digest }).await;
        remote.committed().await.map_err(SyncError::Remote)?;
        self.known = Some(engine.migration);
        Ok(SyncStats { bytes_wire: Some(wire), digest: digest.map(place::hex), seconds: began.elapsed().as_secs_f64(), ..stats })
    }

    /// Takes the lease of the destination for this pass. True if it certainly is as the last pass left it.
    fn is_kept(&mut self, destination: &File) -> bool {
        let leased = self.leases.is_some_and(|leases| (leases.take)(destination).is_ok());
        self.held.take().is_some_and(|held| leased && held.is_unchanged(destination))
    }

    fn begin(&mut self) -> Result<Instant, SyncError> {
        self.passes += 1;
        self.origin.begin()?;
        Ok(Instant::now())
    }

    /// The engine of this pass: that of the last one with all that it knows, if the source still has the same length.
    fn engine(&mut self, empty: bool) -> Result<Engine, SyncError> {
        let slots = slots(self.origin.len())?;
        if let Some(mut migration) = self.known.take().filter(|migration| *migration.slots() == slots) {
            let kept = if empty { Kept::Nothing { empty } } else { Kept::Everything };
            if migration.again(self.clock.now(), kept) {
                let before = migration.report(Outcome::Aborted);
                return Ok(Engine { migration, before, again: true, empty, kept: false });
            }
        }
        let baseline = if empty { Baseline::Empty } else { Baseline::Fingerprints };
        let config = engine_config(&self.config, self.origin.mode(&self.config));
        let mut migration = Migration::new(config, slots, baseline).map_err(SyncError::Config)?;
        self.origin.introduce(&mut migration);
        let before = migration.report(Outcome::Aborted);
        Ok(Engine { migration, before, again: false, empty, kept: false })
    }

    async fn turn(
        &mut self,
        engine: &mut Engine,
        destination: impl Destination,
        listener: &mut dyn SyncListener,
    ) -> Result<SyncStats, SyncError> {
        let turned = self.origin.turn(&mut engine.migration, destination, self.clock, listener).await?;
        Ok(self.stats(engine, turned))
    }

    fn stats(&self, engine: &Engine, turned: Turned) -> SyncStats {
        let (before, report) = (&engine.before, &turned.report);
        let blocks = report.blocks.since(&before.blocks);
        let blocks_skipped = report.skipped_unread - before.skipped_unread;
        SyncStats {
            schema: Schema { name: "pagesieve.sync".to_owned(), version: "1.0".to_owned() },
            pass: self.passes,
            bytes: self.origin.len(),
            block_size: self.config.block_size,
            blocks,
            bytes_written: report.bytes_sent - before.bytes_sent,
            bytes_wire: None,
            filter: FilterStats {
                ebpf_enabled: self.origin.ebpf_enabled(),
                blocks_skipped,
                bytes_skipped: report.bytes_skipped_unread - before.bytes_skipped_unread,
                skip_percent: share(blocks_skipped, blocks.total) * 100.0,
            },
            filter_reason: turned.doubt,
            paused_seconds: turned.paused,
            baseline: match (engine.empty, engine.kept) {
                (true, _) => "empty",
                (_, true) => "kept",
                _ => "fingerprints",
            },
            blocks_resumed: 0,
            rolled_back: false,
            digest: None,
            seconds: 0.0,
        }
    }
}

/// The engine in one pass.
struct Engine {
    migration: Migration,
    /// What it had counted when the pass began.
    before: Report,
    /// It has been through a pass already.
    again: bool,
    /// The destination holds zeros only.
    empty: bool,
    /// It holds what the last pass left in it.
    kept: bool,
}

impl Engine {
    /// Tells it what the destination holds.
    fn tell(&mut self, held: &[BlockSummary]) {
        for (index, summary) in (0..).zip(held) {
            let block = self.migration.blocks().id(index);
            if self.again {
                self.migration.handle_held(block, summary);
            } else {
                self.migration.handle_baseline(block, summary);
            }
        }
    }
}
