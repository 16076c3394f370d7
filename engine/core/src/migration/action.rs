//! What a migration asks its driver to do.

use alloc::boxed::Box;
use core::fmt;

use crate::Nanos;
use crate::block::BlockId;
use crate::evidence::SkipReason;
use crate::policy::DeferReason;
use crate::summary::{BlockCounts, TrackerStats};

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
    /// It is over. No action follows.
    Finish(Box<Report>),
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
    /// The driver gave up. The guest runs at the source.
    Aborted,
}

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Completed rounds.
    pub rounds: u32,
    /// Verdicts on blocks.
    pub blocks: BlockCounts,
    /// Blocks skipped before they were read.
    pub skipped_unread: u64,
    /// The same in bytes of guest memory.
    pub bytes_skipped_unread: u64,
    /// Guest memory of all blocks sent, in bytes.
    pub bytes_sent: u64,
    /// Of these, bytes of blocks that had been sent before.
    pub bytes_resent: u64,
    /// Bytes on the wire, as `handle_sent` said.
    pub bytes_wire: u64,
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
            Self::Finish(report) => write!(f, "finish {:?} rounds={} wire={}", report.outcome, report.rounds, report.bytes_wire),
        }
    }
}
