//! Policies: what becomes of a block in a round, given the proof there is for it and how its pages were used.
//!
//! A policy cannot skip a block on its own word: [`Verdict::Skip`] takes a [`Proof`], and only the evidence makes those. The
//! one exception, [`Verdict::PresumeUnused`], exists to measure what the seed's rule would have lost.
#![doc = include_str!("ADDING.md")]

mod adaptive;
mod aging;
mod aging_literal;
mod kind;
mod predictive;
mod proven;
mod send_all;

use core::fmt;
use core::ops::Range;

pub use kind::{PolicyKind, UnknownPolicy};
use serde::{Deserialize, Serialize};

use crate::evidence::Proof;
use crate::redirty::Redirty;
use crate::tracker::Tracker;
use crate::{Gfn, Nanos, PageBitmap};

/// Why a block waits for a later round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeferReason {
    /// A page of it was used a moment ago, so it would probably have to be sent again.
    Hot,
    /// From the rhythm of its writes, it will be written again before it is of any use at the destination.
    WillBeWritten,
}

/// What a policy wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Read it, and send it unless its bytes show that this is not needed.
    Read,
    /// Skip it with this proof.
    Skip(Proof),
    /// Skip it without any proof. The engine allows it to policies that are not sound only.
    PresumeUnused,
    /// Leave it for a later round. In the last round the engine reads the block instead.
    Defer(DeferReason),
}

/// A block as a policy sees it.
#[derive(Debug)]
pub struct BlockView<'a> {
    /// Its frames.
    pub pages: Range<u64>,
    /// The proof that it need not be sent, if there is one.
    pub proof: Option<Proof>,
    /// How its pages were used.
    pub tracker: &'a Tracker,
    /// The rhythm of their writes; without entries unless [`Policy::wants_redirty`].
    pub redirty: &'a Redirty,
    /// The time.
    pub now: Nanos,
    /// A handover follows: in `precopy` what is written after it was sent has to be sent again. In `sync` there is none, and a
    /// block that waits is a replica that lags.
    pub handover_ahead: bool,
    /// Precopy: the round in progress takes about this long from its start, as far as that can be told.
    pub round_time: Nanos,
}

impl BlockView<'_> {
    /// True if at least one page was used within the aging threshold.
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.pages.clone().any(|page| self.tracker.is_hot(Gfn(page), self.now))
    }

    /// In how long a page of the block will be written, or `None` if that is not known.
    #[must_use]
    pub fn next_write(&self) -> Option<Nanos> {
        self.redirty.next_write_in(self.pages.clone(), self.now)
    }
}

/// What a closed epoch showed, for policies that tune themselves.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The dirty log.
    pub log: &'a PageBitmap,
    /// How long the epoch was.
    pub span: Nanos,
    /// Pages that hold data.
    pub resident: u64,
}

/// What a policy wants changed. `None` leaves things as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// How long a page must rest to count as unused.
    pub aging_threshold: Option<Nanos>,
    /// Bytes in a block; a power of two of at least one page. The engine changes it between two rounds.
    pub block_size: Option<u64>,
}

/// A rule that judges blocks. The same calls must give the same answers on every machine.
pub trait Policy: fmt::Debug + Send {
    /// What becomes of this block in this round.
    fn judge(&self, block: &BlockView<'_>) -> Verdict;

    /// Its place in the round: blocks come in ascending rank, those of equal rank in the order of their addresses. `None`, for
    /// all blocks, keeps the order of addresses and costs nothing.
    fn rank(&self, block: &BlockView<'_>) -> Option<u64> {
        let _ = block;
        None
    }

    /// An epoch was closed.
    fn tune(&mut self, observed: &Observed<'_>) -> Tuning {
        let _ = observed;
        Tuning::default()
    }

    /// True if it looks at [`BlockView::redirty`]. It is kept up to date for such policies only: it costs 8 bytes a page.
    fn wants_redirty(&self) -> bool {
        false
    }

    /// True if a block that was read may still be skipped because it is zero or the destination has the same bytes.
    fn looks_at_content(&self) -> bool {
        true
    }

    /// False if it skips without proof: then it is refused for anything but a replay.
    fn is_sound(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
