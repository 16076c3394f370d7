//! How far a migration is, on a terminal.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use pagesieve_core::Nanos;
use pagesieve_core::forecast::Span;
use pagesieve_core::migration::Progress;
use pagesieve_live::migrate::{Phase, Round};

use crate::{output, units};

/// One line: round, share of the blocks, bandwidth, dirty rate, and how long a pause would take now.
pub(super) struct Bar {
    bar: ProgressBar,
    quiet: bool,
    last: Option<(Instant, u64)>,
    /// Bytes on the wire per second.
    bandwidth: u64,
    round: Option<Round>,
}

impl Bar {
    /// A quiet one shows nothing and says nothing.
    pub(super) fn new(quiet: bool) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { output::spinner() };
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, quiet, last: None, bandwidth: 0, round: None }
    }

    pub(super) fn phase(&self, phase: Phase) {
        self.bar.set_message(match phase {
            Phase::Opening => "the destination says what it holds",
            Phase::Watching => "watching the guest",
            Phase::Precopy => "round 0",
            Phase::StopAndCopy => "the guest stands still; the rest",
            Phase::Devices => "devices",
            Phase::Handover => "handover",
        });
    }

    pub(super) fn progress(&mut self, progress: &Progress) {
        let now = Instant::now();
        if let Some((time, bytes)) = self.last {
            let seconds = now.duration_since(time).as_secs_f64().max(1e-3);
            self.bandwidth = ((progress.bytes_wire - bytes) as f64 / seconds) as u64;
        }
        self.last = Some((now, progress.bytes_wire));
        if progress.begun && !progress.paused {
            self.bar.set_message(self.line(progress));
        }
    }

    fn line(&self, progress: &Progress) -> String {
        let (judged, all) = progress.judged;
        let share = 100 * u64::from(judged) / u64::from(all.max(1));
        let mut line = format!("round {}: {share:>3} %, {}/s", progress.rounds, units::show_bytes(self.bandwidth));
        if let Some(round) = &self.round {
            line += &format!(", written {}/s", units::show_bytes(round.dirty_rate));
            if let Some(pause) = pause(round) {
                line += &format!(", a pause would take {}", Span(pause));
            }
        }
        line
    }

    pub(super) fn round(&mut self, round: &Round) {
        self.round = Some(*round);
    }

    /// Says something above the bar.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| output::note(text));
        }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// How long it would take to send what a round left, as fast as it sent; `None` if it sent too little to tell.
pub(super) fn pause(round: &Round) -> Option<Nanos> {
    let nanos = u128::from(round.left) * round.lasted.as_nanos();
    nanos.checked_div(u128::from(round.bytes_sent)).map(|nanos| Nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}
