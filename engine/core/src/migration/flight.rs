//! Blocks on their way: being read, sent and not acknowledged, or waiting to be tried again.

use alloc::collections::{BTreeMap, VecDeque};

use crate::block::{BlockId, BlockSummary, Fingerprint};
use crate::{Epoch, Nanos};

/// What is remembered about a block from round to round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockState {
    /// Fingerprint of the bytes that the destination certainly holds.
    pub(super) there: Option<Fingerprint>,
    /// True once it was sent.
    pub(super) sent_before: bool,
    /// Failed attempts in this round.
    pub(super) failures: u32,
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
    /// Sent and not acknowledged, by number.
    pub(super) sent: BTreeMap<u32, Sent>,
    /// Failed, with the time of the next attempt. The delay is the same for all, so they are in order.
    pub(super) retries: VecDeque<(Nanos, BlockId)>,
}

impl Flight {
    /// True if nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.reading.is_none() && self.read.is_none() && self.sent.is_empty() && self.retries.is_empty()
    }
}
