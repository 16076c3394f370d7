//! Rounds: when one begins and ends, and what becomes of each block in it.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::flight::{BlockState, Sent};
use super::{Action, Migration, Mode, Outcome, Phase, watching};
use crate::Nanos;
use crate::block::{BlockId, Blocks, bytes_of};
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
        if !self.begun && matches!(self.config.mode, Mode::Precopy { .. }) {
            self.phase = watching(&self.config, self.now);
            return;
        }
        self.cut_as_wanted();
        match self.config.mode {
            Mode::Precopy { downtime_limit, max_rounds, .. } => self.weigh(downtime_limit, max_rounds),
            Mode::Sync { .. } => self.begin_round(),
        }
    }

    /// The first round of precopy.
    pub(super) fn begin_attempt(&mut self) {
        self.cut_as_wanted();
        let rest = self.rest();
        self.plan_round(rest);
        self.foretell_attempt(rest);
        self.begin_round();
    }

    pub(super) fn begin_round(&mut self) {
        self.order.clear();
        if self.paused.is_none() {
            // While the guest stands still, order saves nothing and costs downtime.
            self.put_in_order();
        }
        for state in &mut self.states {
            (state.failures, state.launched) = (0, false);
        }
        self.begun = true;
        self.look_again = false;
        self.pace.begin_round(self.now);
        self.phase = Phase::Round { next: 0, sent: 0, deferred: 0 };
    }

    /// Cuts the memory into blocks of the size that the policy wants. Between two rounds nothing is on its way, so only what is
    /// remembered block by block is lost: the fingerprints. Those of the baseline are used first.
    fn cut_as_wanted(&mut self) {
        let baseline_unused = self.baseline_given && !self.begun;
        if self.block_size == self.blocks.block_size() || baseline_unused {
            return;
        }
        match Blocks::new(&self.slots, self.block_size, self.blocks.generation() + 1) {
            Ok(blocks) => {
                self.blocks = blocks;
                self.states = self.fresh_states();
                self.there = vec![None; self.blocks.count() as usize];
            }
            Err(_) => self.block_size = self.blocks.block_size(),
        }
    }

    /// States for blocks that were cut anew. Nobody knows which of them waited, so all count as having waited as long as any did.
    pub(super) fn fresh_states(&self) -> Vec<BlockState> {
        let deferrals = self.states.iter().map(|state| state.deferrals).max().unwrap_or(0);
        vec![BlockState { deferrals, ..BlockState::default() }; self.blocks.count() as usize]
    }

    fn put_in_order(&mut self) {
        let rank = |index: u32| {
            let pages = self.blocks.pages(self.blocks.id(index));
            self.policy.rank(&self.view(pages)).map(|rank| (rank, index))
        };
        let ranks: Option<Vec<_>> = (0..self.blocks.count()).map(rank).collect();
        if let Some(mut ranks) = ranks {
            ranks.sort_unstable();
            self.order.extend(ranks.into_iter().map(|(_, index)| index));
        }
    }

    fn view(&self, pages: Range<u64>) -> BlockView<'_> {
        BlockView {
            proof: self.evidence.proof(pages.clone()),
            pages,
            tracker: &self.tracker,
            redirty: &self.redirty,
            now: self.now,
            handover_ahead: matches!(self.config.mode, Mode::Precopy { .. }),
            round_time: self.pace.round_time,
        }
    }

    pub(super) fn judge(&self, pages: Range<u64>) -> Verdict {
        self.policy.judge(&self.view(pages))
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
        let block = self.blocks.id(self.order.get(*next as usize).copied().unwrap_or(*next));
        *next += 1;
        Some(self.first_verdict(block))
    }

    /// True if the round is cut short because the handover was asked for while the guest runs.
    fn is_interrupted(&self) -> bool {
        self.handover && self.paused.is_none()
    }

    fn read(&mut self, block: BlockId) -> Action {
        self.states[block.index as usize].deferrals = 0;
        self.flight.reading = Some((block, self.evidence.closed_epoch()));
        Action::ReadBlock(block)
    }

    /// What can be said about a block before it is read.
    fn first_verdict(&mut self, block: BlockId) -> Action {
        let pages = self.blocks.pages(block);
        let verdict = self.judge(pages.clone());
        if let Verdict::Skip(proof) = verdict {
            // The proof says whether there is any data.
            let resident = proof.reason() != SkipReason::Unpopulated;
            return self.skip_unread(block, &pages, proof.reason(), resident);
        }
        let resident = !self.evidence.is_unpopulated(pages.clone());
        match verdict {
            Verdict::PresumeUnused if !self.policy.is_sound() => {
                self.skip_unread(block, &pages, SkipReason::PresumedUnused, resident)
            }
            Verdict::Defer(reason) if self.may_wait(block) => {
                self.states[block.index as usize].deferrals += 1;
                if let Phase::Round { deferred, .. } = &mut self.phase {
                    *deferred += 1;
                }
                self.accounts.deferred(self.blocks.slot_of(block), resident);
                Action::Defer { block, reason }
            }
            _ if self.policy.looks_at_content() && !resident => {
                self.accounts.skipped(self.blocks.slot_of(block), resident, SkipReason::Zero);
                let epoch = self.evidence.closed_epoch();
                self.launch(block, Sent { epoch, zero: true, fingerprint: None });
                Action::SendZero(block)
            }
            _ => self.read(block),
        }
    }

    /// In the last round nothing waits, and a replica may lag only so far.
    fn may_wait(&self, block: BlockId) -> bool {
        let bounded = matches!(self.config.mode, Mode::Sync { .. });
        self.paused.is_none() && !(bounded && self.states[block.index as usize].deferrals >= self.config.max_deferrals)
    }

    fn skip_unread(&mut self, block: BlockId, pages: &Range<u64>, reason: SkipReason, resident: bool) -> Action {
        self.states[block.index as usize].deferrals = 0;
        self.accounts.skipped_unread += 1;
        self.accounts.bytes_skipped_unread += bytes_of(pages);
        self.accounts.skipped(self.blocks.slot_of(block), resident, reason);
        Action::Skip { block, reason }
    }

    pub(super) fn count_skip(&mut self, block: BlockId, pages: &Range<u64>, reason: SkipReason) {
        let resident = !self.evidence.is_unpopulated(pages.clone());
        self.accounts.skipped(self.blocks.slot_of(block), resident, reason);
    }

    /// Ends the round if nothing is left to do in it; returns whether it did.
    pub(super) fn end_round(&mut self) -> bool {
        let Phase::Round { next, sent, deferred } = self.phase else { return false };
        let interrupted = self.is_interrupted();
        if !self.flight.is_empty() || (next < self.blocks.count() && !interrupted) {
            return false;
        }
        if interrupted {
            self.begin_pause(false);
            return true;
        }
        if self.paused.is_some() && self.look_again {
            self.begin_round();
            return true;
        }
        self.rounds += 1;
        self.pace.end_round(self.now, sent == 0 && deferred > 0);
        self.phase = match self.config.mode {
            _ if self.paused.is_some() => Phase::Ending { outcome: Outcome::Completed, resume: false },
            Mode::Sync { interval } => Phase::Waiting { until: self.next_sync(interval), close: true },
            Mode::Precopy { .. } if sent == 0 && deferred > 0 => Phase::Waiting { until: self.now.after(COOLING), close: true },
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
