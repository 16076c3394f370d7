//! What is copied: a file, with or without a filter, or the memory of a machine.

use std::cell::RefCell;
use std::time::Instant;

use pagesieve_core::{Epoch, Migration, Mode, Nanos, PageBitmap, Report};

use super::filter::{Filter, PassLog};
use super::machine::{Hand, Machine};
use super::source::Source;
use super::turn::{Hands, turn};
use super::{SyncConfig, SyncError, SyncListener};
use crate::clock::TokioClock;
use crate::destination::Destination;

/// The source of a replica.
pub(super) enum Origin {
    File {
        source: Source,
        filter: Option<Box<dyn Filter>>,
        /// The pages that held data at the last closing.
        populated: Option<PageBitmap>,
    },
    Machine {
        machine: RefCell<Box<dyn Machine>>,
        len: u64,
    },
}

/// What came of a pass.
pub(super) struct Turned {
    pub(super) report: Report,
    /// Why the filter proved nothing, or not as much as it might.
    pub(super) doubt: Option<String>,
    /// How long a machine stood still, in seconds.
    pub(super) paused: Option<f64>,
}

impl Origin {
    /// Looks how long it is now, for another pass.
    pub(super) fn begin(&mut self) -> Result<(), SyncError> {
        match self {
            Origin::File { source, .. } => source.look_again()?,
            Origin::Machine { machine, len } => *len = machine.get_mut().begin(),
        }
        Ok(())
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Origin::File { source, .. } => source.len(),
            Origin::Machine { len, .. } => *len,
        }
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Source> {
        match self {
            Origin::File { source, .. } => Some(source),
            Origin::Machine { .. } => None,
        }
    }

    pub(super) fn ebpf_enabled(&self) -> bool {
        match self {
            Origin::File { filter, .. } => filter.as_ref().is_some_and(|filter| filter.ebpf_enabled()),
            Origin::Machine { machine, .. } => machine.borrow().ebpf_enabled(),
        }
    }

    fn fallback(&self) -> Option<String> {
        match self {
            Origin::File { filter, .. } => filter.as_ref().and_then(|filter| filter.fallback()),
            Origin::Machine { machine, .. } => machine.borrow().fallback(),
        }
    }

    /// How the engine goes about it: a file stands still as far as we can see, a machine has to be brought to that.
    pub(super) fn mode(&self, config: &SyncConfig) -> Mode {
        match self {
            Origin::File { .. } => Mode::Sync { interval: Nanos::SECOND },
            Origin::Machine { .. } => {
                Mode::Precopy { bandwidth: None, downtime_limit: config.downtime_limit, max_rounds: Mode::MAX_ROUNDS }
            }
        }
    }

    /// An engine that knows nothing yet is told what there is to tell.
    pub(super) fn introduce(&mut self, migration: &mut Migration) {
        match self {
            // Of another length, or after a pass that failed: what was a hole then says nothing.
            Origin::File { populated, .. } => *populated = None,
            Origin::Machine { machine, .. } => migration.handle_populated(Nanos(0), Epoch(0), &machine.borrow().populated()),
        }
    }

    /// One pass. Afterwards a machine runs, whatever came of it.
    pub(super) async fn turn(
        &mut self,
        migration: &mut Migration,
        destination: impl Destination,
        clock: TokioClock,
        listener: &mut dyn SyncListener,
    ) -> Result<Turned, SyncError> {
        let fallback = self.fallback();
        match self {
            Origin::File { source, filter, populated } => {
                let (mut doubt, tracked) = (None, filter.is_some());
                let log = PassLog { source, filter: filter.as_mut(), populated, doubt: &mut doubt };
                let hands = Hands { log, memory: &*source, guest: &*source };
                // Nobody has to be paused, so the last round may begin at once.
                let report = turn(migration, hands, destination, clock, true, listener).await?.0;
                if !tracked {
                    source.check_unchanged()?;
                }
                Ok(Turned { report, doubt: doubt.or(fallback), paused: None })
            }
            Origin::Machine { machine, .. } => {
                let hand = Hand(machine);
                let hands = Hands { log: hand, memory: hand, guest: hand };
                let (report, paused) = turn(migration, hands, destination, clock, false, listener).await?;
                machine.get_mut().resume().map_err(SyncError::Stopped)?;
                let paused = paused.as_ref().map(Instant::elapsed).map(|paused| paused.as_secs_f64());
                Ok(Turned { report, doubt: fallback, paused })
            }
        }
    }
}
