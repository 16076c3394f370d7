//! `aging`: the seed's threshold and minimum count, used for order instead of for skipping.

use super::{BlockView, DeferReason, Policy, Verdict};

/// Skips what is proven, and leaves blocks in use for a later round: a page written a moment ago will probably be written
/// again before the guest is paused, and then sending it now was in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aging;

impl Policy for Aging {
    fn judge(&self, block: &BlockView<'_>) -> Verdict {
        match block.proof {
            Some(proof) => Verdict::Skip(proof),
            None if block.is_hot() => Verdict::Defer(DeferReason::Hot),
            None => Verdict::Read,
        }
    }
}
