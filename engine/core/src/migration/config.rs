//! What a migration is told at its start.

use core::fmt;

use crate::block::GeometryError;
use crate::policy::PolicyKind;
use crate::{Epoch, Nanos};

/// How a migration proceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Keeps a replica up to date: at each interval the epoch is closed and every block judged once.
    Sync {
        /// Time between two rounds.
        interval: Nanos,
    },
    /// Moves a guest: a full round, then rounds of what was written meanwhile, then a pause and the rest.
    Precopy {
        /// Bytes per second that the wire takes, as far as it is known beforehand. It foretells times until a round has been
        /// measured; it limits nothing. `None`: what nobody measured counts as fast enough.
        bandwidth: Option<u64>,
        /// Pause when the rest can be sent in this time.
        downtime_limit: Nanos,
        /// Pause after this many rounds, the full one included, even if it cannot.
        max_rounds: u32,
    },
}

impl Mode {
    /// Downtime limit that QEMU and Cloud Hypervisor have by default.
    pub const DOWNTIME_LIMIT: Nanos = Nanos(300 * Nanos::MILLISECOND.0);
    /// Rounds after which precopy gives up on converging by itself.
    pub const MAX_ROUNDS: u32 = 30;

    /// `sync` or `precopy`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Mode::Sync { .. } => "sync",
            Mode::Precopy { .. } => "precopy",
        }
    }
}

/// What becomes of a precopy that does not converge: the rounds ran out, or nothing gets less any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconverged {
    /// Pause the guest all the same, however long the rest takes.
    HandOver,
    /// Leave the guest at the source: [`Outcome::NotConverging`](super::Outcome::NotConverging).
    GiveUp,
}

/// How a guest that outruns the wire is slowed down, in percent of its time. The driver says whether the guest can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// The first request.
    pub first: u8,
    /// How much more at each further standstill.
    pub step: u8,
    /// The limit; at most 99.
    pub most: u8,
}

impl Throttle {
    /// What QEMU's auto-converge starts from: 20 %, then 10 % more, up to 99 %.
    pub const QEMU: Throttle = Throttle { first: 20, step: 10, most: 99 };
}

/// What the destination holds at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Fresh memory: zero everywhere.
    Empty,
    /// The source's memory as it was when this epoch ended: a replica, or a checkpoint since which the guest was tracked. It may
    /// be the first epoch, which is still open at the start.
    Equal {
        /// The epoch.
        as_of: Epoch,
    },
    /// Memory that only its fingerprints tell about, such as what a host kept of a guest that comes back. They follow by
    /// [`handle_baseline`](super::Migration::handle_baseline); a block without one counts as unknown.
    Fingerprints,
}

/// What the destination still holds when a failed migration is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Everything that it acknowledged.
    Everything,
    /// Nothing that is known.
    Nothing {
        /// True if it is fresh memory that reads as zero.
        empty: bool,
    },
}

/// Who turns the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A real guest depends on it: policies that skip without proof are refused.
    Live,
    /// A recording is replayed; nobody is harmed.
    Replay,
}

/// The knobs of a migration. The defaults are the seed's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who turns the state machine.
    pub purpose: Purpose,
    /// Which blocks are skipped or deferred.
    pub policy: PolicyKind,
    /// Sync or precopy.
    pub mode: Mode,
    /// Bytes in a block: a power of two of at least one page.
    pub block_size: u64,
    /// How long a page must rest to count as unused.
    pub aging_threshold: Nanos,
    /// Accesses that a page needs at least to count as used.
    pub min_access: u32,
    /// When the migration begins; accesses and dirty logs are taken before it too.
    pub start: Nanos,
    /// Precopy: closes an epoch this often until it begins, so that there is something to foretell it from. `None`: the driver
    /// may do so.
    pub watch_interval: Option<Nanos>,
    /// The epoch that is open when the migration is made. Memory must have been armed when it began; at least 1.
    pub first_epoch: Epoch,
    /// Attempts to send one block in one round before the migration fails.
    pub attempts: u32,
    /// Time between two attempts.
    pub retry_delay: Nanos,
    /// Blocks sent and not acknowledged at most.
    pub max_in_flight: usize,
    /// Sync: rounds in a row that a block may be left for later. In precopy the handover ends all waiting.
    pub max_deferrals: u32,
    /// Precopy: what to do if it does not converge.
    pub unconverged: Unconverged,
    /// Precopy: whether the guest may be slowed down first. `None`: it may not.
    pub throttle: Option<Throttle>,
}

impl Config {
    /// The seed's defaults for this mode. A live migration that does not converge is given up, a replayed one handed over.
    #[must_use]
    pub fn new(purpose: Purpose, policy: PolicyKind, mode: Mode) -> Self {
        Self {
            purpose,
            policy,
            mode,
            block_size: 64 * 1024,
            aging_threshold: Nanos(5 * Nanos::SECOND.0),
            min_access: 1,
            start: Nanos(0),
            watch_interval: None,
            first_epoch: Epoch(1),
            attempts: 3,
            retry_delay: Nanos::SECOND,
            max_in_flight: 64,
            max_deferrals: 3,
            unconverged: if purpose == Purpose::Live { Unconverged::GiveUp } else { Unconverged::HandOver },
            throttle: None,
        }
    }
}

/// Why a migration cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The blocks cannot be numbered.
    Geometry(GeometryError),
    /// The policy would lose pages of a real guest.
    Unsound,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geometry(error) => error.fmt(f),
            Self::Unsound => f.write_str(
                "this policy skips pages without proof and would lose data; replay a trace with it, or use proven or predictive",
            ),
        }
    }
}

impl core::error::Error for ConfigError {}

impl From<GeometryError> for ConfigError {
    fn from(error: GeometryError) -> Self {
        Self::Geometry(error)
    }
}
