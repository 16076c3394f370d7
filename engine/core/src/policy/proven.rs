//! `proven`: the default.

use super::{BlockView, Policy, Verdict};

/// Skips what is proven to be current at the destination and sends the rest at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proven;

impl Policy for Proven {
    fn judge(&self, block: &BlockView<'_>) -> Verdict {
        block.proof.map_or(Verdict::Read, Verdict::Skip)
    }
}
