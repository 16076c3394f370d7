//! What a migration asks its driver to do.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::block::BlockId;
use crate::evidence::SkipReason;
use crate::forecast::Forecast;
use crate::policy::DeferReason;
use crate::redirty::RedirtyScore;
use crate::summary::{BlockCounts, NodeCounts, SendCauses, TrackerStats};
use crate::{Epoch, Nanos};

/// One thing for the driver to do, or to take note of.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read and clear the dirty log, then call `handle_slots` and `handle_populated` if there is something to say, then
    /// `handle_dirty_log`. If reading failed, call that with an empty partial log.
    CloseEpoch,
    /// Read the block and call `handle_block`, or `handle_failed`.
    ReadBlock(BlockId),
    /// Send the bytes that were read for this block; then `handle_sent` and `handle_acked`, or `handle_failed`.
    Send {
        /// The block.
        block: BlockId,
        /// In which form.
        encoding: Encoding,
    },
    /// Tell the destination to make the block zero; answered like a send.
    SendZero(BlockId),
    /// The block need not be sent. Nothing to do.
    Skip {
        /// The block.
        block: BlockId,
        /// Why.
        reason: SkipReason,
    },
    /// The block is left for a later round. Nothing to do.
    Defer {
        /// The block.
        block: BlockId,
        /// Why.
        reason: DeferReason,
    },
    /// Stop the guest and call `handle_paused`, or `abort`.
    Pause,
    /// Let the guest go on at the source: the migration failed.
    Resume,
    /// Let the guest have this much less of its time, in percent; 0 lets it run freely again. A guest that cannot be slowed
    /// down goes on as it is: nothing depends on it but whether precopy converges.
    Throttle(u8),
    /// It is over. No action follows.
    Finish(Box<Report>),
}

/// An action about a block, and where the migration stood when it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub time: Nanos,
    /// Rounds completed before it.
    pub round: u32,
    /// The epoch in progress.
    pub epoch: Epoch,
    /// The pages of the block.
    pub pages: Range<u64>,
    /// What is done with it.
    pub action: Action,
}

/// In which form a block travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Its bytes as they are.
    Raw,
    /// The smallest form that the driver found: its summary said that it is smaller than the bytes themselves.
    Smallest,
}

/// How a migration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest is paused and the destination holds all of its memory.
    Completed,
    /// A block could not be sent. The guest runs at the source.
    BlockFailed(BlockId),
    /// The rest does not get small enough, and the configuration says to give up then. The guest runs at the source.
    NotConverging,
    /// The driver gave up. The guest runs at the source.
    Aborted,
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Attempts: 1, and 1 more for each retry.
    pub attempts: u32,
    /// Completed rounds of the last attempt.
    pub rounds: u32,
    /// Verdicts on blocks.
    pub blocks: BlockCounts,
    /// Blocks skipped before they were read.
    pub skipped_unread: u64,
    /// The same in bytes of guest memory.
    pub bytes_skipped_unread: u64,
    /// Guest memory of all blocks sent, in bytes.
    pub bytes_sent: u64,
    /// Of these, bytes of pages that had been sent before.
    pub bytes_resent: u64,
    /// Bytes on the wire, as `handle_sent` said.
    pub bytes_wire: u64,
    /// Why blocks were sent.
    pub causes: SendCauses,
    /// Pages by how often they were sent: never, once, and so on; the eighth number is of those sent seven times or more.
    pub times_sent: Vec<u64>,
    /// Blocks and bytes by NUMA node of the guest.
    pub nodes: Vec<NodeCounts>,
    /// Precopy: what was foretold when the first round began, if the guest had been watched for an epoch by then.
    pub forecast: Option<Forecast>,
    /// How good the forecasts of writes were, if the policy asked for them.
    pub redirty: RedirtyScore,
    /// Precopy: by how many percent the guest was asked to slow down at most.
    pub throttle: u8,
    /// Precopy: true if the rest fitted the downtime limit; false if the rounds ran out or the driver asked for the handover.
    pub converged: Option<bool>,
    /// When the guest was paused.
    pub paused: Option<Nanos>,
    /// When it was over.
    pub finished: Nanos,
    /// Access events lost.
    pub lost_events: u64,
    /// The seed's statistics at the end.
    pub tracker: TrackerStats,
}

/// One line per action, the same on every machine: what two runs are compared by.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CloseEpoch => f.write_str("close-epoch"),
            Self::ReadBlock(block) => write!(f, "read {block}"),
            Self::Send { block, encoding: Encoding::Raw } => write!(f, "send {block} raw"),
            Self::Send { block, encoding: Encoding::Smallest } => write!(f, "send {block} smallest"),
            Self::SendZero(block) => write!(f, "send-zero {block}"),
            Self::Skip { block, reason } => write!(f, "skip {block} {reason:?}"),
            Self::Defer { block, reason } => write!(f, "defer {block} {reason:?}"),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Throttle(percent) => write!(f, "throttle {percent}"),
            Self::Finish(report) => write!(f, "finish {:?} rounds={} wire={}", report.outcome, report.rounds, report.bytes_wire),
        }
    }
}
