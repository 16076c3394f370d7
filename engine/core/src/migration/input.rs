//! Input about the guest: accesses, dirty logs, slots, and the driver's own wishes.

use alloc::vec;

use super::flight::Flight;
use super::{Kept, Migration, Mode, Outcome, Phase};
use crate::block::{BlockId, BlockSummary, Blocks, GeometryError};
use crate::evidence::Coverage;
use crate::policy::Observed;
use crate::{Access, Epoch, MemSlots, Nanos, PageBitmap};

impl Migration {
    /// A page was touched. One that lies in no slot is counted and otherwise ignored.
    pub fn handle_access(&mut self, now: Nanos, access: Access) {
        self.pass(now);
        self.tracker.record(access);
    }

    /// Access events were lost. This says something about the use of pages only: what was written is for the dirty log to
    /// tell, and a log that depends on events must be called partial.
    pub fn handle_lost(&mut self, now: Nanos, count: u64) {
        self.pass(now);
        self.accounts.lost_events = self.accounts.lost_events.saturating_add(count);
    }

    /// An epoch was closed; see [`Evidence::handle_dirty_log`](crate::evidence::Evidence::handle_dirty_log). May come unasked.
    pub fn handle_dirty_log(&mut self, now: Nanos, epoch: Epoch, log: &PageBitmap, coverage: Coverage) {
        self.pass(now);
        let open = self.evidence.open_epoch();
        self.evidence.handle_dirty_log(epoch, log, coverage);
        self.look_again |= self.paused.is_some() && matches!(self.phase, Phase::Round { .. });
        if self.evidence.open_epoch() != open {
            self.learn(log, coverage == Coverage::Complete && epoch == open);
        }
        if matches!(self.phase, Phase::Closing { asked: true }) {
            self.epoch_closed();
        }
    }

    /// What an epoch's log says about the epochs to come.
    fn learn(&mut self, log: &PageBitmap, complete: bool) {
        self.pace.begin_epoch(self.now);
        if !complete {
            return;
        }
        if self.policy.wants_redirty() {
            self.redirty.record(self.now, log);
        }
        let resident = self.evidence.resident(&self.slots);
        let tuning = self.policy.tune(&Observed { log, span: self.pace.last_span(), resident });
        if let Some(threshold) = tuning.aging_threshold {
            self.tracker.set_aging_threshold(threshold);
        }
        self.block_size = tuning.block_size.unwrap_or(self.block_size);
    }

    /// Which pages hold data, as it was when `epoch` ended: the open epoch, before its dirty log is handed over, or at the start
    /// the one before. Without this, memory that was never populated is read and found to be zero.
    pub fn handle_populated(&mut self, now: Nanos, epoch: Epoch, populated: &PageBitmap) {
        self.pass(now);
        self.evidence.handle_populated(epoch, populated);
    }

    /// The memory slots changed during the open epoch. Pages of slots that are new, moved or resized must be sent again. A
    /// round in progress starts over with new block names, and answers to old names are ignored.
    ///
    /// # Errors
    /// Refuses slots beyond [`Blocks::MAX_FRAMES`] and changes nothing; the driver should then abort.
    pub fn handle_slots(&mut self, now: Nanos, slots: &MemSlots) -> Result<(), GeometryError> {
        self.pass(now);
        if *slots == self.slots {
            return Ok(());
        }
        self.blocks = Blocks::new(slots, self.blocks.block_size(), self.blocks.generation() + 1)?;
        self.tracker.grow(slots.frame_end());
        if self.policy.wants_redirty() {
            self.redirty.grow(slots.frame_end());
        }
        self.accounts.set_slots(slots);
        for slot in slots.iter().filter(|slot| !self.slots.iter().any(|old| old == *slot)) {
            let pages = slot.base.0..slot.end().0;
            self.evidence.forget(pages.clone());
            self.tracker.forget(pages.clone());
            self.redirty.forget(pages);
        }
        self.slots = slots.clone();
        self.states = self.fresh_states();
        self.there = vec![None; self.blocks.count() as usize];
        self.order.clear();
        // What was on its way is in doubt since it was sent, so it will be judged as not held.
        self.flight = Flight::default();
        if let Phase::Round { next, .. } = &mut self.phase {
            *next = 0;
        }
        Ok(())
    }

    /// What the destination holds in a block at the start, if the driver knows it from an earlier sync: it allows
    /// `same_content` and `zero` from the first round on. Once a round has begun this is ignored.
    pub fn handle_baseline(&mut self, block: BlockId, summary: &BlockSummary) {
        if self.begun {
            return;
        }
        let pages = self.blocks.pages(block);
        if let Some(there) = self.there.get_mut(block.index as usize).filter(|_| !pages.is_empty()) {
            *there = summary.fingerprint;
            self.baseline_given = true;
            if summary.zero {
                self.evidence.set_zero_there(pages);
            }
        }
    }

    /// What the destination holds in a block now, where it was looked at again between two passes: after [`again`](Self::again)
    /// and before the next action. A block of which it holds the bytes that it acknowledged stays as proven as it was; of any
    /// other one nothing counts as held, whoever changed it. At any other time this is ignored.
    pub fn handle_held(&mut self, block: BlockId, summary: &BlockSummary) {
        let begins = matches!(self.phase, Phase::Closing { asked: false } | Phase::Waiting { close: false, .. });
        if !begins || block.generation != self.blocks.generation() {
            return;
        }
        let pages = self.blocks.pages(block);
        let Some(there) = self.there.get_mut(block.index as usize).filter(|_| !pages.is_empty()) else { return };
        let same_zeros = summary.zero && self.evidence.is_zero_there(pages.clone());
        let same_bytes = summary.fingerprint.is_some() && *there == summary.fingerprint;
        if same_zeros || same_bytes {
            return;
        }
        *there = summary.fingerprint;
        self.evidence.set_in_doubt(pages.clone());
        if summary.zero {
            self.evidence.set_zero_there(pages);
        }
    }

    /// Time passed; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Nanos) {
        self.pass(now);
    }

    /// The guest stands still since `now`; the answer to [`Action::Pause`](super::Action::Pause).
    pub fn handle_paused(&mut self, now: Nanos) {
        self.pass(now);
        if matches!(self.phase, Phase::Pausing { asked: true }) {
            self.paused = Some(self.now);
            self.phase = Phase::Closing { asked: false };
        }
    }

    /// Asks for the handover as soon as possible: what is on its way is awaited, then the guest is paused and the rest sent.
    pub fn request_handover(&mut self, now: Nanos) {
        self.pass(now);
        if self.handover || self.paused.is_some() {
            return;
        }
        self.handover = true;
        if matches!(self.phase, Phase::Waiting { .. } | Phase::Closing { asked: false }) {
            self.begin_pause(false);
        }
    }

    /// The driver gives up, for example because the guest could not be paused or the connection is gone. The guest is resumed
    /// if need be.
    pub fn abort(&mut self, now: Nanos) {
        self.pass(now);
        self.fail(Outcome::Aborted);
    }

    /// Begins another attempt after one that failed, with all that is known. Blocks that were acknowledged need not be sent
    /// again unless they are written, as long as the destination kept them: `destination` says what it holds now. Nothing of the
    /// attempt before may reach the destination any more; answers to it are ignored, as blocks have new names. Returns false, and
    /// does nothing, if the last attempt is not over or did not fail.
    pub fn retry(&mut self, now: Nanos, destination: Kept) -> bool {
        matches!(self.phase, Phase::Done { failed: true }) && self.begin_again(now, destination)
    }

    /// Begins another pass after one that is complete: for a destination that is a copy and runs no guest. The guest goes on at the
    /// source; otherwise all is as for [`retry`](Self::retry).
    pub fn again(&mut self, now: Nanos, destination: Kept) -> bool {
        matches!(self.phase, Phase::Done { failed: false }) && self.begin_again(now, destination)
    }

    fn begin_again(&mut self, now: Nanos, destination: Kept) -> bool {
        self.pass(now);
        self.paused = None;
        self.blocks.rename();
        if let Kept::Nothing { empty } = destination {
            self.evidence.set_destination_lost(empty);
            self.there.fill(None);
        }
        self.attempts += 1;
        self.rounds = 0;
        self.handover = false;
        self.converged = None;
        self.pace.restart();
        self.phase = match self.config.mode {
            Mode::Sync { .. } => Phase::Closing { asked: false },
            Mode::Precopy { .. } => Phase::Waiting { until: self.now, close: false },
        };
        true
    }

    pub(super) fn fail(&mut self, outcome: Outcome) {
        if matches!(self.phase, Phase::Ending { .. } | Phase::Done { .. }) {
            return;
        }
        // A pause that was asked for may have happened although its answer never came.
        let resume = self.paused.is_some() || matches!(self.phase, Phase::Pausing { asked: true });
        self.flight = Flight::default();
        if self.pace.throttle > 0 {
            self.pace.throttle = 0;
            self.say_throttle = true;
        }
        self.phase = Phase::Ending { outcome, resume };
    }

    pub(super) fn begin_pause(&mut self, converged: bool) {
        if matches!(self.config.mode, Mode::Precopy { .. }) {
            self.converged = Some(converged);
        }
        self.phase = Phase::Pausing { asked: false };
    }

    pub(super) fn pass(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        self.pace.watch(self.now);
    }
}
