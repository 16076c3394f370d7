//! What happens in a migration, told to whoever shows it or writes it down.

use std::fmt::Display;
use std::time::{Duration, Instant};

use pagesieve_core::forecast::{Forecast, Link};
use pagesieve_core::migration::Progress;
use pagesieve_core::{Action, Migration, Nanos, Report};

use serde::Serialize;

use crate::driver::Observer;

/// How often a listener is told how far it is.
const OFTEN: Nanos = Nanos(200 * Nanos::MILLISECOND.0);

/// The phases of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The destination says what it holds.
    Opening,
    /// The guest runs and is watched, to foretell its migration.
    Watching,
    /// The guest runs and its memory is sent.
    Precopy,
    /// The guest stands still, and the rest is sent.
    StopAndCopy,
    /// The destination loads the devices.
    Devices,
    /// The destination starts the guest.
    Handover,
}

impl Phase {
    /// True if the guest stands still in it.
    #[must_use]
    pub fn is_still(self) -> bool {
        matches!(self, Self::StopAndCopy | Self::Devices | Self::Handover)
    }

    /// What happens in it, for people: completes "the migration ended while ...".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "the destination said what it holds",
            Self::Watching => "the guest was watched",
            Self::Precopy => "memory was sent and the guest ran",
            Self::StopAndCopy => "the rest was sent and the guest stood still",
            Self::Devices => "the devices went over",
            Self::Handover => "the guest was handed over",
        }
    }
}

/// A round that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// 0 is the first.
    pub number: u32,
    /// The guest stood still in it.
    pub paused: bool,
    /// How long it took.
    pub lasted: Duration,
    /// Blocks sent in it.
    pub blocks_sent: u64,
    /// Guest memory of these, in bytes.
    pub bytes_sent: u64,
    /// Bytes of these on the wire.
    pub bytes_wire: u64,
    /// Guest memory that the next round has to deal with, in bytes: what was written meanwhile.
    pub left: u64,
    /// Distinct bytes of guest memory that were written within the last second.
    pub dirty_rate: u64,
}

/// Told what happens; all calls do nothing unless overridden.
pub trait MigrateListener {
    /// A phase begins.
    fn phase(&mut self, phase: Phase) {
        let _ = phase;
    }

    /// How far it is, several times a second.
    fn progress(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// What is to be expected: before the first round, and again when that has shown how fast the wire is.
    fn forecast(&mut self, forecast: &Forecast) {
        let _ = forecast;
    }

    /// A round is over.
    fn round(&mut self, round: &Round) {
        let _ = round;
    }

    /// The engine is done. The devices and the handover may still fail.
    fn report(&mut self, report: &Report) {
        let _ = report;
    }

    /// Something failed and is dealt with.
    fn trouble(&mut self, what: &str) {
        let _ = what;
    }
}

impl MigrateListener for () {}

/// Follows the engine.
pub(super) struct Follow<'a> {
    pub(super) listener: &'a mut dyn MigrateListener,
    /// When the guest was paused, while it is.
    pub(super) paused: Option<Instant>,
    /// The last trouble, for the error.
    pub(super) trouble: Option<String>,
    link: Link,
    told: Nanos,
    /// How far it was when the engine was asked last.
    last: Option<Progress>,
    round: Begin,
    /// A round that is over, until it is known what it left.
    ended: Option<Round>,
}

/// What things were like when a round began.
#[derive(Clone, Copy, Default)]
struct Begin {
    begun: bool,
    time: Nanos,
    blocks_sent: u64,
    bytes_sent: u64,
    bytes_wire: u64,
}

impl<'a> Follow<'a> {
    pub(super) fn new(listener: &'a mut dyn MigrateListener, link: Link) -> Self {
        Self { listener, paused: None, trouble: None, link, told: Nanos(0), last: None, round: Begin::default(), ended: None }
    }

    fn begin_round(&mut self, now: Nanos, progress: &Progress) {
        let Progress { blocks_sent, bytes_sent, bytes_wire, .. } = *progress;
        self.round = Begin { begun: true, time: now, blocks_sent, bytes_sent, bytes_wire };
    }

    fn end_round(&mut self, now: Nanos) {
        let Some(progress) = self.last else { return };
        self.ended = Some(Round {
            number: progress.rounds.saturating_sub(1),
            paused: progress.paused,
            lasted: Duration::from_nanos(now.since(self.round.time).0),
            blocks_sent: progress.blocks_sent - self.round.blocks_sent,
            bytes_sent: progress.bytes_sent - self.round.bytes_sent,
            bytes_wire: progress.bytes_wire - self.round.bytes_wire,
            left: 0,
            dirty_rate: 0,
        });
    }

    /// The log of the epoch is in: now it is known what the round left.
    fn tell_round(&mut self, mut round: Round, migration: &Migration) {
        if !round.paused {
            let demand = migration.demand(1);
            (round.left, round.dirty_rate) = (demand.remaining, demand.dirty_rate);
        }
        self.listener.round(&round);
        let nanos = round.lasted.as_nanos().max(1);
        if round.number == 0 && round.bytes_wire > 0 {
            let speed = u128::from(round.bytes_wire) * 1_000_000_000 / nanos;
            let bandwidth = Some(u64::try_from(speed).unwrap_or(u64::MAX));
            self.listener.forecast(&migration.foretell(&Link { bandwidth, ..self.link }));
        }
    }
}

impl Observer for Follow<'_> {
    fn turn(&mut self, now: Nanos, migration: &Migration) {
        let progress = migration.progress();
        if progress.begun && !self.round.begun {
            self.listener.phase(Phase::Precopy);
            if let Some(forecast) = migration.forecast() {
                self.listener.forecast(forecast);
            }
            self.begin_round(now, &progress);
        }
        if let Some(round) = self.ended.take() {
            self.tell_round(round, migration);
            self.begin_round(now, &progress);
        }
        self.last = Some(progress);
        if self.told == Nanos(0) || now.since(self.told) >= OFTEN {
            self.told = now;
            self.listener.progress(&progress);
        }
    }

    fn action(&mut self, now: Nanos, action: &Action) {
        match action {
            Action::Pause => {
                self.paused = Some(Instant::now());
                self.listener.phase(Phase::StopAndCopy);
            }
            Action::Resume => self.paused = None,
            // The epoch that is closed in a pause belongs to the round before it, which is told already.
            Action::CloseEpoch if self.round.begun && self.paused.is_none() => self.end_round(now),
            Action::Finish(report) => {
                if self.paused.is_some() {
                    self.end_round(now);
                    if let Some(round) = self.ended.take() {
                        self.listener.round(&round);
                    }
                }
                self.listener.report(report);
            }
            _ => {}
        }
    }

    fn trouble(&mut self, _: Nanos, what: &str, error: &dyn Display) {
        let text = format!("{what}: {error}");
        // A disk that is full refuses many blocks.
        if self.trouble.as_ref() != Some(&text) {
            self.listener.trouble(&text);
        }
        self.trouble = Some(text);
    }

    fn lost(&mut self, _: Nanos, error: &dyn Display) {
        // The error at the end says it.
        self.trouble = Some(format!("send blocks: {error}"));
    }
}
