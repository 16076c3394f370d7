//! Policies: what becomes of a block in a round, given the proof there is for it and how its pages were used.
//!
//! A policy cannot skip a block on its own word: [`Verdict::Skip`] takes a [`Proof`], and only the evidence makes those. The
//! one exception, [`Verdict::PresumeUnused`], exists to measure what the seed's rule would have lost.

mod aging;
mod aging_literal;
mod proven;
mod send_all;

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::evidence::Proof;
use crate::tracker::Tracker;
use crate::{Gfn, Nanos};

/// The policies, by the names that users type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// `send-all`: every block in every round.
    SendAll,
    /// `proven`: every block that is not proven to be current at the destination.
    #[default]
    Proven,
    /// `aging`: like `proven`, but what is in use now waits for a later round.
    Aging,
    /// `aging-literal`: the seed's rule word for word. It loses pages; replay only.
    AgingLiteral,
}

impl PolicyKind {
    /// All policies, in the order in which reports list them.
    pub const ALL: [PolicyKind; 4] = [Self::SendAll, Self::Proven, Self::Aging, Self::AgingLiteral];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SendAll => "send-all",
            Self::Proven => "proven",
            Self::Aging => "aging",
            Self::AgingLiteral => "aging-literal",
        }
    }

    /// True if it skips only with proof, so that a guest survives it.
    #[must_use]
    pub fn is_sound(self) -> bool {
        self != Self::AgingLiteral
    }

    /// A fresh policy of this kind.
    #[must_use]
    pub fn build(self) -> Box<dyn Policy> {
        match self {
            Self::SendAll => Box::new(send_all::SendAll),
            Self::Proven => Box::new(proven::Proven),
            Self::Aging => Box::new(aging::Aging),
            Self::AgingLiteral => Box::new(aging_literal::AgingLiteral),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPolicy;

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such policy; use one of")?;
        for (at, kind) in PolicyKind::ALL.iter().enumerate() {
            write!(f, "{} {kind}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownPolicy {}

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownPolicy)
    }
}

/// Why a block waits for a later round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeferReason {
    /// A page of it was used a moment ago, so it would probably have to be sent again.
    Hot,
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
    /// The time.
    pub now: Nanos,
}

impl BlockView<'_> {
    /// True if at least one page was used within the aging threshold.
    #[must_use]
    pub fn is_hot(&self) -> bool {
        self.pages.clone().any(|page| self.tracker.is_hot(Gfn(page), self.now))
    }
}

/// A rule that judges blocks. The same input must give the same verdict on every machine.
pub trait Policy: fmt::Debug + Send {
    /// What becomes of this block in this round.
    fn judge(&self, block: &BlockView<'_>) -> Verdict;

    /// True if a block that was read may still be skipped because it is zero or the destination has the same bytes.
    fn looks_at_content(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
