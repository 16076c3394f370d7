//! One pass of the engine over a source, and what it counts.

use std::fmt::Display;
use std::time::Instant;

use pagesieve_core::migration::Unconverged;
use pagesieve_core::ports::{DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Action, Config, Migration, Mode, Nanos, Outcome, PolicyKind, Purpose, Report, delta};
use tokio::sync::watch;

use super::{SyncConfig, SyncError, SyncListener};
use crate::clock::TokioClock;
use crate::destination::Destination;
use crate::driver::{Driver, NoEvents, Observer, RunError};

pub(super) fn engine_config(config: &SyncConfig, mode: Mode) -> Config {
    let unconverged = if config.force { Unconverged::HandOver } else { Unconverged::GiveUp };
    Config {
        block_size: config.block_size,
        attempts: config.attempts,
        retry_delay: config.retry_delay,
        unconverged,
        ..Config::new(Purpose::Live, PolicyKind::Proven, mode)
    }
}

/// What the engine needs of a source.
pub(super) struct Hands<L, M, G> {
    pub(super) log: L,
    pub(super) memory: M,
    pub(super) guest: G,
}

/// One pass over a source; with `at_once` there is only its last round. Returns also when the source was paused.
pub(super) async fn turn<L, M, G>(
    migration: &mut Migration,
    hands: Hands<L, M, G>,
    destination: impl Destination,
    clock: TokioClock,
    at_once: bool,
    listener: &mut dyn SyncListener,
) -> Result<(Report, Option<Instant>), SyncError>
where
    L: DirtyLog<Error: Display>,
    M: GuestMemory<Error: Display>,
    G: PausableGuest<Error: Display>,
{
    let (_sender, handover) = watch::channel(at_once);
    let mut driver = Driver {
        accesses: NoEvents,
        log: hands.log,
        memory: hands.memory,
        guest: hands.guest,
        destination,
        clock,
        observer: Watch { done: 0, all: u64::from(migration.blocks().count()), listener, trouble: None, paused: None },
        fingerprint: Some(delta::fingerprint),
        handover,
    };
    let report = driver.run(migration).await.map_err(|RunError::Resume(what)| SyncError::Stopped(what))?;
    let Watch { trouble, paused, .. } = driver.observer;
    match report.outcome {
        Outcome::Completed => Ok((report, paused)),
        Outcome::NotConverging => Err(SyncError::NotConverging),
        _ => Err(SyncError::Block(trouble.unwrap_or_else(|| "transfer a block".to_owned()))),
    }
}

/// Counts blocks, and keeps the last trouble for the error.
struct Watch<'a> {
    done: u64,
    all: u64,
    listener: &'a mut dyn SyncListener,
    trouble: Option<String>,
    paused: Option<Instant>,
}

impl Observer for Watch<'_> {
    fn action(&mut self, _: Nanos, action: &Action) {
        if matches!(action, Action::Pause) {
            self.paused = Some(Instant::now());
        }
        if matches!(action, Action::Skip { .. } | Action::Send { .. } | Action::SendZero(_)) {
            self.done = self.all.min(self.done + 1);
            self.listener.blocks(self.done, self.all);
        }
    }

    fn trouble(&mut self, _: Nanos, what: &str, error: &dyn std::fmt::Display) {
        self.trouble = Some(format!("{what}: {error}"));
    }
}
