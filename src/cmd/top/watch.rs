//! A live target, turned into readings.

use std::time::{Duration, Instant};

use anyhow::Context;
use pagesieve_core::forecast::{Forecast, Link};
use pagesieve_core::gauge::{Gauge, GaugeConfig, Reading};
use pagesieve_core::ports::{AccessSource, ClosedEpoch, DirtyLog};
use pagesieve_core::{Nanos, PolicyKind};
use pagesieve_live::migrate::{SAMPLE, sampled_share};
use pagesieve_recorder::CommandOutput;
use pagesieve_recorder::live::{Accesses, LiveError, LiveOptions, LiveTarget, Log, Memory, Status};

use super::super::record::target;
use super::model::Snapshot;
use crate::cli::Top;

/// How often the rings of the kernel program are emptied.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// How long a target that could not be read may take to be seen ended.
const GRACE: Duration = Duration::from_millis(200);

/// Readings after which it is looked anew how well memory compresses.
const SAMPLE_EVERY: u32 = 30;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// The epoch is to be closed.
    Due,
    /// The target has ended.
    Ended,
}

/// A target under watch. Dropped, it leaves the target disarmed and running, unless it was started for this.
pub(super) struct Watch {
    target: LiveTarget,
    accesses: Accesses,
    log: Log,
    memory: Memory,
    gauge: Gauge,
    interval: Duration,
    /// Time zero of the gauge.
    zero: Instant,
    due: Instant,
    readings: u32,
}

impl Watch {
    /// Finds the target and arms its memory.
    pub(super) fn open(options: &Top) -> anyhow::Result<Self> {
        let settings = LiveOptions {
            source: options.means.source.into(),
            hooks: options.means.hooks.into(),
            writes: options.means.writes.into(),
            regions: options.target.region.clone(),
            command_output: if options.batch { CommandOutput::ToStderr } else { CommandOutput::Detach },
            stops_guest: false,
            ..LiveOptions::default()
        };
        let target = LiveTarget::open(&target(&options.target)?, &settings, None)?;
        let config =
            GaugeConfig { policy: PolicyKind::Proven, block_size: options.block_size, first_epoch: target.first_epoch() };
        let gauge = Gauge::new(config, target.slots(), target.populated()).context("watch the target")?;
        let (zero, interval) = (Instant::now(), options.interval);
        Ok(Self {
            accesses: target.accesses(),
            log: target.log(),
            memory: target.memory(),
            target,
            gauge,
            interval,
            zero,
            due: zero + interval,
            readings: 0,
        })
    }

    /// What the target is observed with.
    pub(super) fn status(&self) -> &Status {
        self.target.status()
    }

    /// Time since the watch began.
    pub(super) fn elapsed(&self) -> Duration {
        self.zero.elapsed()
    }

    /// Takes in what the kernel has reported, after a wait of at most this time.
    pub(super) fn next(&mut self, patience: Duration) -> Next {
        let left = self.due.saturating_duration_since(Instant::now());
        let ended = self.target.wait(patience.min(left));
        self.drain();
        match (ended, Instant::now() >= self.due) {
            (true, _) => Next::Ended,
            (false, true) => Next::Due,
            (false, false) => Next::Wait,
        }
    }

    fn drain(&mut self) {
        let mut seen = 0;
        // Nothing rests on events: what cannot be read is a rate that is too low.
        let lost = self.accesses.drain(&mut |_| seen += 1).unwrap_or(0);
        self.gauge.handle_events(seen, lost);
    }

    /// Closes the epoch. `None` if the target has ended.
    pub(super) fn close(&mut self) -> anyhow::Result<Option<Reading>> {
        let closed = match self.log.close(pagesieve_core::Epoch(self.readings + 1)) {
            Ok(closed) => closed,
            Err(LiveError::Ended { .. }) => return Ok(None),
            Err(_) if self.target.wait(GRACE) => return Ok(None),
            Err(LiveError::DoesNotStop { .. }) => ClosedEpoch::unproven(),
            Err(error) => return Err(error.into()),
        };
        let now = Nanos::from(self.zero.elapsed());
        self.due = Instant::now() + self.interval;
        self.drain();
        let reading = self.gauge.handle_epoch(now, &closed).context("watch the target")?;
        if self.readings.is_multiple_of(SAMPLE_EVERY) {
            let share = sampled_share(self.gauge.sample(SAMPLE), &mut self.memory);
            self.gauge.expect_share(share);
        }
        self.readings += 1;
        Ok(Some(reading))
    }

    /// How a migration over this link would go.
    pub(super) fn foretell(&self, link: &Link) -> Forecast {
        self.gauge.foretell(link)
    }

    /// A reading and what belongs to it.
    pub(super) fn snapshot(&self, reading: Reading, link: &Link, heat_cells: usize) -> Snapshot {
        let (ranges, heat) = (self.gauge.hot_ranges(), self.gauge.heat(heat_cells));
        Snapshot { reading, forecast: self.gauge.foretell(link), ranges, heat }
    }
}
