//! `aging-literal`: the seed's filter as it was written, to measure what it would have saved and lost.

use super::{BlockView, Policy, Verdict};

/// Skips a block if every page of it is unused: never touched, not touched within the threshold, or touched too rarely.
/// Whether the destination has it is not asked. "No recent fault" is no evidence that a page is unused, so pages get lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgingLiteral;

impl Policy for AgingLiteral {
    fn judge(&self, block: &BlockView<'_>) -> Verdict {
        if block.is_hot() { Verdict::Read } else { Verdict::PresumeUnused }
    }

    fn is_sound(&self) -> bool {
        false
    }
}
