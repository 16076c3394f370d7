//! Rounds: when one begins and ends, and what becomes of each block in it.

use core::ops::Range;

use super::flight::Sent;
use super::{Action, Migration, Mode, Outcome, Phase};
use crate::Nanos;
use crate::block::{BlockId, bytes_of};
use crate::evidence::SkipReason;
use crate::policy::{BlockView, Verdict};

/// How long precopy waits after a round that sent nothing because everything was in use. Without it the loop would spin.
const COOLING: Nanos = Nanos::SECOND;

impl Migration {
    /// The dirty log is in: go on with a round, or pause the guest first.
    pub(super) fn epoch_closed(&mut self) {
        if self.paused.is_some() {
            return self.begin_round();
        }
        if self.handover {
            return self.begin_pause(false);
        }
        if let Mode::Precopy { bandwidth, downtime_limit, max_rounds } = self.config.mode {
            if fits(self.rest(), bandwidth, downtime_limit) {
                return self.begin_pause(true);
            }
            if self.rounds >= max_rounds {
                return self.begin_pause(false);
            }
        }
        self.begin_round();
    }

    pub(super) fn begin_round(&mut self) {
        for state in &mut self.states {
            state.failures = 0;
        }
        self.phase = Phase::Round { next: 0, sent: 0 };
    }

    /// Bytes that a last round would have to send now.
    fn rest(&self) -> u64 {
        (0..self.blocks.count())
            .map(|index| self.blocks.pages(self.blocks.id(index)))
            .filter(|pages| matches!(self.judge(pages.clone()), Verdict::Read | Verdict::Defer(_)))
            .map(|pages| bytes_of(&pages))
            .sum()
    }

    fn judge(&self, pages: Range<u64>) -> Verdict {
        let proof = self.evidence.proof(pages.clone());
        self.policy.judge(&BlockView { pages, proof, tracker: &self.tracker, now: self.now })
    }

    /// The next action of the round in progress, if there is one now.
    pub(super) fn round_action(&mut self) -> Option<Action> {
        if let Some((block, epoch, summary)) = self.flight.read.take() {
            return Some(self.decide(block, epoch, summary));
        }
        if self.flight.reading.is_some() || self.flight.sent.len() >= self.config.max_in_flight.max(1) {
            return None;
        }
        if self.is_interrupted() {
            // The last round will find these blocks again: nothing says that the destination holds them.
            self.flight.retries.clear();
            return None;
        }
        if let Some((_, block)) = self.flight.retries.pop_front_if(|(due, _)| *due <= self.now) {
            return Some(self.read(block));
        }
        let Phase::Round { next, .. } = &mut self.phase else { return None };
        if *next == self.blocks.count() {
            return None;
        }
        let block = self.blocks.id(*next);
        *next += 1;
        Some(self.first_verdict(block))
    }

    /// True if the round is cut short because the handover was asked for while the guest runs.
    fn is_interrupted(&self) -> bool {
        self.handover && self.paused.is_none()
    }

    fn read(&mut self, block: BlockId) -> Action {
        self.flight.reading = Some((block, self.evidence.closed_epoch()));
        Action::ReadBlock(block)
    }

    /// What can be said about a block before it is read.
    fn first_verdict(&mut self, block: BlockId) -> Action {
        let pages = self.blocks.pages(block);
        match self.judge(pages.clone()) {
            Verdict::Skip(proof) => self.skip_unread(block, pages, proof.reason()),
            Verdict::PresumeUnused if !self.config.policy.is_sound() => {
                self.skip_unread(block, pages, SkipReason::PresumedUnused)
            }
            Verdict::Defer(reason) if self.paused.is_none() => {
                self.count(&pages);
                self.totals.blocks.deferred += 1;
                Action::Defer { block, reason }
            }
            _ if self.policy.looks_at_content() && self.evidence.is_unpopulated(pages.clone()) => {
                self.count_skip(&pages, SkipReason::Zero);
                let epoch = self.evidence.closed_epoch();
                self.launch(block, Sent { epoch, zero: true, fingerprint: None });
                Action::SendZero(block)
            }
            _ => self.read(block),
        }
    }

    fn skip_unread(&mut self, block: BlockId, pages: Range<u64>, reason: SkipReason) -> Action {
        self.totals.skipped_unread += 1;
        self.totals.bytes_skipped_unread += bytes_of(&pages);
        self.count_skip(&pages, reason);
        Action::Skip { block, reason }
    }

    /// Counts a verdict; returns whether the block holds data.
    pub(super) fn count(&mut self, pages: &Range<u64>) -> bool {
        let resident = !self.evidence.is_unpopulated(pages.clone());
        self.totals.blocks.total += 1;
        self.totals.blocks.resident += u64::from(resident);
        resident
    }

    pub(super) fn count_skip(&mut self, pages: &Range<u64>, reason: SkipReason) {
        let resident = self.count(pages);
        self.totals.blocks.skipped_resident += u64::from(resident);
        let skipped = &mut self.totals.blocks.skipped;
        *match reason {
            SkipReason::Unpopulated => &mut skipped.unpopulated,
            SkipReason::Unchanged => &mut skipped.unchanged,
            SkipReason::Zero => &mut skipped.zero,
            SkipReason::SameContent => &mut skipped.same_content,
            SkipReason::PresumedUnused => &mut skipped.presumed_unused,
        } += 1;
    }

    /// Ends the round if nothing is left to do in it; returns whether it did.
    pub(super) fn end_round(&mut self) -> bool {
        let Phase::Round { next, sent } = self.phase else { return false };
        let interrupted = self.is_interrupted();
        if !self.flight.is_empty() || (next < self.blocks.count() && !interrupted) {
            return false;
        }
        if interrupted {
            self.begin_pause(false);
            return true;
        }
        self.rounds += 1;
        self.phase = match self.config.mode {
            _ if self.paused.is_some() => Phase::Ending { outcome: Outcome::Completed, resume: false },
            Mode::Sync { interval } => Phase::Waiting { until: self.next_sync(interval), close: true },
            Mode::Precopy { .. } if sent == 0 => Phase::Waiting { until: self.now.after(COOLING), close: true },
            Mode::Precopy { .. } => Phase::Closing { asked: false },
        };
        true
    }

    /// The next multiple of the interval after the start that lies in the future: rounds that take too long are left out.
    fn next_sync(&self, interval: Nanos) -> Nanos {
        let step = interval.0.max(1);
        let passed = self.now.since(self.config.start).0 / step;
        self.config.start.after(Nanos(step.saturating_mul(passed.saturating_add(1))))
    }
}

/// True if `bytes` go over the wire within the limit.
fn fits(bytes: u64, bandwidth: Option<u64>, limit: Nanos) -> bool {
    let Some(bandwidth) = bandwidth else { return true };
    u128::from(bytes) * u128::from(Nanos::SECOND.0) <= u128::from(bandwidth) * u128::from(limit.0)
}
