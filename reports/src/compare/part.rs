//! Which part of a document a quantity belongs to: what is paired between two documents.

use serde::Serialize;

use crate::format::{duration, round_bytes};
use crate::view::LITERAL;

/// A part of what is said about a trace. Parts of two documents that are equal are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "part", rename_all = "snake_case")]
pub enum Part {
    /// The trace as a whole.
    Trace,
    /// How it was recorded.
    Recording,
    /// Its check.
    Check,
    /// What the check says of one policy.
    CheckOf {
        /// Name of the policy.
        policy: String,
    },
    /// A replay of it.
    Replay(ReplayKey),
    /// Repeated syncs with one block size and interval.
    Grid {
        /// Transfer unit in bytes.
        block_size: u64,
        /// Time between two syncs.
        interval_ns: u64,
    },
    /// A migration over one link.
    Link {
        /// Name of the policy.
        policy: String,
        /// Bytes per second that the link takes.
        bandwidth: u64,
    },
}

/// What tells replays of a trace apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ReplayKey {
    /// Name of the policy.
    pub policy: String,
    /// `sync` or `precopy`.
    pub scenario: String,
    /// Transfer unit in bytes.
    pub block_size: u64,
    /// Sweep: aging threshold in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aging: Option<u64>,
    /// Sweep: time between two rounds in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// Sweep: bytes per second that the wire takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
}

impl Part {
    /// True if pages are expected to be lost here, so that their number is told and not judged.
    #[must_use]
    pub fn may_lose_pages(&self) -> bool {
        match self {
            Self::CheckOf { policy } | Self::Link { policy, .. } => policy == LITERAL,
            Self::Replay(key) => key.policy == LITERAL,
            Self::Trace | Self::Recording | Self::Check | Self::Grid { .. } => false,
        }
    }

    /// The part for people, such as `proven, sync, 64 KiB`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Trace => "trace".to_owned(),
            Self::Recording => "recording".to_owned(),
            Self::Check => "check".to_owned(),
            Self::CheckOf { policy } => format!("check, {policy}"),
            Self::Replay(key) => key.label(),
            Self::Grid { block_size, interval_ns } => {
                plain(&format!("grid, {}, every {}", round_bytes(*block_size), span(*interval_ns)))
            }
            Self::Link { policy, bandwidth } => format!("link, {policy}, {}", speed(*bandwidth)),
        }
    }
}

impl ReplayKey {
    fn label(&self) -> String {
        let mut words = vec![self.policy.clone(), self.scenario.clone(), round_bytes(self.block_size)];
        words.extend(self.aging.map(|aging| format!("aging {}", span(aging))));
        words.extend(self.interval.map(|interval| format!("every {}", span(interval))));
        words.extend(self.bandwidth.map(speed));
        plain(&words.join(", "))
    }
}

/// Bytes per second as the speed of a link, as it is given on the command line.
fn speed(bandwidth: u64) -> String {
    let bits = bandwidth.saturating_mul(8);
    let units = [(1_000_000_000, "Gbit"), (1_000_000, "Mbit"), (1_000, "kbit"), (1, "bit")];
    let fits = units.iter().find(|(size, _)| bits.is_multiple_of(*size));
    fits.map_or_else(|| bits.to_string(), |(size, unit)| format!("{}{unit}", bits / size))
}

/// A time that somebody chose, mostly whole seconds.
fn span(ns: u64) -> String {
    duration(ns).replace(".0", "")
}

/// With common spaces: what is printed here is searched and cut into columns.
fn plain(text: &str) -> String {
    text.replace('\u{a0}', " ")
}
