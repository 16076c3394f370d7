//! The way of a single block: read, decided on, sent, acknowledged or failed.

use core::ops::Range;

use super::accounts::SendCause;
use super::flight::Sent;
use super::{Action, Encoding, Migration, Outcome, Phase};
use crate::block::{BlockId, BlockSummary, bytes_of};
use crate::evidence::SkipReason;
use crate::{Epoch, Gfn, Nanos};

impl Migration {
    /// A block was read: the answer to [`Action::ReadBlock`]. The next action says what becomes of its bytes. An answer for
    /// any other block is ignored.
    pub fn handle_block(&mut self, now: Nanos, block: BlockId, summary: BlockSummary) {
        self.pass(now);
        if let Some((reading, epoch)) = self.flight.reading.filter(|&(reading, _)| reading == block) {
            self.flight.reading = None;
            self.flight.read = Some((reading, epoch, summary));
        }
    }

    /// A sent block, or its zero marker, has left with this many bytes.
    pub fn handle_sent(&mut self, now: Nanos, block: BlockId, wire_bytes: u64) {
        self.pass(now);
        if self.is_sent(block) {
            self.accounts.bytes_wire += wire_bytes;
        }
    }

    /// The destination has applied a block.
    pub fn handle_acked(&mut self, now: Nanos, block: BlockId) {
        self.pass(now);
        if block.generation != self.blocks.generation() {
            return;
        }
        if let Some(sent) = self.flight.take_sent(block.index) {
            self.evidence.set_held(self.blocks.pages(block), sent.epoch, sent.zero);
            self.there[block.index as usize] = sent.fingerprint;
        }
    }

    /// A block could not be read or sent. It is tried again after a delay, and after the last attempt the migration fails:
    /// the guest is resumed if need be, and nothing counts as held that was not acknowledged.
    pub fn handle_failed(&mut self, now: Nanos, block: BlockId) {
        self.pass(now);
        let was_read = self.flight.reading.take_if(|(reading, _)| *reading == block).is_some()
            || self.flight.read.take_if(|(read, _, _)| *read == block).is_some();
        let was_sent = self.is_sent(block) && self.flight.take_sent(block.index).is_some();
        if !was_read && !was_sent {
            return;
        }
        let state = &mut self.states[block.index as usize];
        state.failures += 1;
        if state.failures >= self.config.attempts {
            return self.fail(Outcome::BlockFailed(block));
        }
        self.flight.retries.push_back((self.now.after(self.config.retry_delay), block));
    }

    fn is_sent(&self, block: BlockId) -> bool {
        block.generation == self.blocks.generation() && self.flight.sent.iter().rev().any(|&(index, _)| index == block.index)
    }

    /// What becomes of a block whose bytes are known.
    pub(super) fn decide(&mut self, block: BlockId, epoch: Epoch, summary: BlockSummary) -> Action {
        let pages = self.blocks.pages(block);
        let first_attempt = !self.states[block.index as usize].launched;
        if self.policy.looks_at_content() {
            let same = summary.fingerprint.is_some() && summary.fingerprint == self.there[block.index as usize];
            let reason = match summary.zero {
                true if self.evidence.is_zero_there(pages.clone()) => Some(SkipReason::Zero),
                _ if same => Some(SkipReason::SameContent),
                _ => None,
            };
            if let Some(reason) = reason {
                self.evidence.set_unchanged(pages.clone(), epoch);
                self.count_skip(block, &pages, reason);
                return Action::Skip { block, reason };
            }
            if summary.zero {
                if first_attempt {
                    self.count_skip(block, &pages, SkipReason::Zero);
                }
                self.launch(block, Sent { epoch, zero: true, fingerprint: summary.fingerprint });
                return Action::SendZero(block);
            }
        }
        let slot = self.blocks.slot_of(block);
        if first_attempt {
            self.accounts.sent(slot, !self.evidence.is_unpopulated(pages.clone()));
        }
        self.pace.moved(bytes_of(&pages));
        let cause = if first_attempt { self.cause(pages.clone()) } else { SendCause::Retried };
        self.accounts.leaves(slot, &pages, cause);
        self.launch(block, Sent { epoch, zero: summary.zero, fingerprint: summary.fingerprint });
        let encoding = if summary.wire_len < summary.raw_len { Encoding::Smallest } else { Encoding::Raw };
        Action::Send { block, encoding }
    }

    /// Why a block has to be sent, as far as its pages tell.
    fn cause(&self, pages: Range<u64>) -> SendCause {
        let stale = || pages.clone().map(Gfn).filter(|&gfn| !self.evidence.is_current(gfn));
        if stale().any(|gfn| self.evidence.held(gfn).is_none()) {
            SendCause::First
        } else if stale().any(|gfn| !self.evidence.is_presumed_written(gfn)) {
            SendCause::Written
        } else if stale().next().is_some() {
            SendCause::Unproven
        } else {
            SendCause::Needless
        }
    }

    /// Notes that a block is on its way: until it is acknowledged nobody knows what the destination holds there.
    pub(super) fn launch(&mut self, block: BlockId, sent: Sent) {
        self.evidence.set_in_doubt(self.blocks.pages(block));
        self.there[block.index as usize] = None;
        let state = &mut self.states[block.index as usize];
        (state.launched, state.deferrals) = (true, 0);
        self.flight.sent.push_back((block.index, sent));
        if let Phase::Round { sent, .. } = &mut self.phase {
            *sent += 1;
        }
    }
}
