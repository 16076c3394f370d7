//! One pass of the engine over a source, and what it counts.

use pagesieve_core::ports::DirtyLog;
use pagesieve_core::{Action, Config, Migration, Mode, Nanos, Outcome, PolicyKind, Purpose, Report, delta};
use tokio::sync::watch;

use super::source::Source;
use super::{SyncConfig, SyncError, SyncListener};
use crate::clock::TokioClock;
use crate::destination::Destination;
use crate::driver::{Driver, NoEvents, Observer, RunError};

pub(super) fn engine_config(config: &SyncConfig) -> Config {
    Config {
        block_size: config.block_size,
        attempts: config.attempts,
        retry_delay: config.retry_delay,
        ..Config::new(Purpose::Live, PolicyKind::Proven, Mode::Sync { interval: Nanos::SECOND })
    }
}

/// One round over the source: the handover is asked for at once, and nobody has to be paused for it.
pub(super) async fn turn(
    migration: &mut Migration,
    source: &Source,
    log: impl DirtyLog<Error: std::fmt::Display>,
    destination: impl Destination,
    clock: TokioClock,
    listener: &mut dyn SyncListener,
) -> Result<Report, SyncError> {
    let (_sender, handover) = watch::channel(true);
    let mut driver = Driver {
        accesses: NoEvents,
        log,
        memory: source,
        guest: source,
        destination,
        clock,
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
