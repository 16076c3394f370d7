//! The policies by name.

use alloc::boxed::Box;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Policy, adaptive, aging, aging_literal, predictive, proven, send_all};

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
    /// `adaptive`: like `aging`, with a threshold and a block size that follow the dirty rate.
    Adaptive,
    /// `predictive`: like `proven`, but what will be written again before the handover waits, and what rests goes first.
    Predictive,
    /// `aging-literal`: the seed's rule word for word. It loses pages; replay only.
    AgingLiteral,
}

impl PolicyKind {
    /// All policies, in the order in which reports list them.
    pub const ALL: [PolicyKind; 6] =
        [Self::SendAll, Self::Proven, Self::Aging, Self::Adaptive, Self::Predictive, Self::AgingLiteral];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SendAll => "send-all",
            Self::Proven => "proven",
            Self::Aging => "aging",
            Self::Adaptive => "adaptive",
            Self::Predictive => "predictive",
            Self::AgingLiteral => "aging-literal",
        }
    }

    /// True if it skips only with proof, so that a guest survives it.
    #[must_use]
    pub fn is_sound(self) -> bool {
        self.build().is_sound()
    }

    /// A fresh policy of this kind.
    #[must_use]
    pub fn build(self) -> Box<dyn Policy> {
        match self {
            Self::SendAll => Box::new(send_all::SendAll),
            Self::Proven => Box::new(proven::Proven),
            Self::Aging => Box::new(aging::Aging),
            Self::Adaptive => Box::new(adaptive::Adaptive::default()),
            Self::Predictive => Box::new(predictive::Predictive),
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
