//! Blocks on their way: being read, sent and not acknowledged, or waiting to be tried again.

use alloc::collections::VecDeque;

use crate::block::{BlockId, BlockSummary, Fingerprint};
use crate::{Epoch, Nanos};

/// What is remembered about a block from round to round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockState {
    /// Failed attempts in this round.
    pub(super) failures: u32,
    /// True if it was sent, or made zero, in this round.
    pub(super) launched: bool,
    /// Rounds in a row for which it was left for later.
    pub(super) deferrals: u32,
}

/// A block that was sent and not acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// The version of its pages.
    pub(super) epoch: Epoch,
    pub(super) zero: bool,
    pub(super) fingerprint: Option<Fingerprint>,
}

/// All blocks on their way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// The block being read, and the epoch that was closed when reading it was asked for.
    pub(super) reading: Option<(BlockId, Epoch)>,
    /// The block whose bytes the driver holds, with its summary; the next action says what to do with them.
    pub(super) read: Option<(BlockId, Epoch, BlockSummary)>,
    /// Sent and not acknowledged, by number, in the order of sending. They are few, and answered mostly in that order.
    pub(super) sent: VecDeque<(u32, Sent)>,
    /// Failed, with the time of the next attempt. The delay is the same for all, so they are in order.
    pub(super) retries: VecDeque<(Nanos, BlockId)>,
}

impl Flight {
    /// Takes a block off the list of those sent and not acknowledged.
    pub(super) fn take_sent(&mut self, index: u32) -> Option<Sent> {
        let at = self.sent.iter().position(|&(sent, _)| sent == index)?;
        self.sent.remove(at).map(|(_, sent)| sent)
    }

    /// True if nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.reading.is_none() && self.read.is_none() && self.sent.is_empty() && self.retries.is_empty()
    }
}
