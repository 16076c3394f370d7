//! `predictive`: the rhythm of each page's writes decides what is sent now and what is sent last.

use super::{BlockView, DeferReason, Policy, Verdict};
use crate::Nanos;

/// Skips what is proven. Of the rest, a block whose next write is expected before the round in progress ends waits: it would
/// have to be sent again whatever happens. What rests longest goes first, so that what is likely to change is as fresh as can be
/// when the guest is paused. As rounds get shorter, fewer blocks wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Predictive;

impl Policy for Predictive {
    fn judge(&self, block: &BlockView<'_>) -> Verdict {
        if let Some(proof) = block.proof {
            return Verdict::Skip(proof);
        }
        // Intervals are measured from log to log, which never come at exactly equal times.
        let horizon = block.round_time.after(Nanos(block.round_time.0 / 4));
        match block.next_write() {
            Some(next) if block.handover_ahead && next <= horizon => Verdict::Defer(DeferReason::WillBeWritten),
            _ => Verdict::Read,
        }
    }

    fn rank(&self, block: &BlockView<'_>) -> Option<u64> {
        let next = if block.proof.is_some() { None } else { block.next_write() };
        Some(u64::MAX - next.map_or(u64::MAX, |next| next.0))
    }

    fn wants_redirty(&self) -> bool {
        true
    }
}
