//! What a replay is told.

use pagesieve_core::{Blocks, Config, Gfn, Mode, Nanos, PolicyKind, Purpose};
use pagesieve_traces::{Header, ReadError};

/// What is replayed: the two ways in which memory is moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// `sync`: a replica is brought up to date at each interval. The destination equals the source at the end of the first
    /// frame. Blocks are read at the instant at which a frame ends, and sending takes no time.
    #[default]
    Sync,
    /// `precopy`: the guest moves to fresh memory. Sending takes time at the bandwidth, and the guest writes meanwhile.
    Precopy,
}

impl Scenario {
    /// Both.
    pub const ALL: [Scenario; 2] = [Scenario::Sync, Scenario::Precopy];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Sync => "sync",
            Scenario::Precopy => "precopy",
        }
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no scenario has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such scenario; use sync or precopy")]
pub struct UnknownScenario;

impl std::str::FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(name: &str) -> Result<Self, UnknownScenario> {
        Self::ALL.into_iter().find(|scenario| scenario.name() == name).ok_or(UnknownScenario)
    }
}

/// What the destination holds at the start of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// `empty`: fresh memory.
    Empty,
    /// `checkpoint`: the source's memory as it was at the end of the first frame, and the engine knows that it was then.
    Checkpoint,
    /// `fingerprints`: the same memory, but all that the engine knows are its fingerprints: the guest comes back to a host that
    /// kept its old memory. It takes a trace with page summaries.
    Fingerprints,
}

impl Start {
    /// All of them.
    pub const ALL: [Start; 3] = [Start::Empty, Start::Checkpoint, Start::Fingerprints];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Start::Empty => "empty",
            Start::Checkpoint => "checkpoint",
            Start::Fingerprints => "fingerprints",
        }
    }
}

/// A name that no start has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such baseline; use empty, checkpoint or fingerprints")]
pub struct UnknownStart;

impl std::str::FromStr for Start {
    type Err = UnknownStart;

    fn from_str(name: &str) -> Result<Self, UnknownStart> {
        Self::ALL.into_iter().find(|start| start.name() == name).ok_or(UnknownStart)
    }
}

/// Parameters of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayConfig {
    /// Which blocks are skipped or deferred.
    pub policy: PolicyKind,
    /// Sync or precopy.
    pub scenario: Scenario,
    /// Bytes in a block.
    pub block_size: u64,
    /// How long a page must rest to count as unused.
    pub aging: Nanos,
    /// Accesses that a page needs at least to count as used.
    pub min_access: u32,
    /// Sync: time between two rounds. A round waits for the end of the frame in which it is due.
    pub interval: Nanos,
    /// Precopy: bytes per second that the wire takes; `None` if it is no limit.
    pub bandwidth: Option<u64>,
    /// Precopy: longest pause that is planned for.
    pub downtime_limit: Nanos,
    /// Precopy: how long accesses are watched before the migration starts. `None`: the aging threshold, but at most half of
    /// the trace if its length is known. It never starts before the end of the first frame.
    pub warm_up: Option<Nanos>,
    /// What the destination holds at the start. `None`: a checkpoint for sync, nothing for precopy.
    pub start: Option<Start>,
    /// The page whose history is wanted.
    pub explain: Option<Gfn>,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            policy: PolicyKind::default(),
            scenario: Scenario::default(),
            block_size: 64 * 1024,
            aging: Nanos(5 * Nanos::SECOND.0),
            min_access: 1,
            interval: Nanos(5 * Nanos::SECOND.0),
            bandwidth: None,
            downtime_limit: Mode::DOWNTIME_LIMIT,
            warm_up: None,
            start: None,
            explain: None,
        }
    }
}

impl ReplayConfig {
    pub(crate) fn engine(&self) -> Config {
        let mode = match self.scenario {
            Scenario::Sync => Mode::Sync { interval: self.interval },
            Scenario::Precopy => {
                Mode::Precopy { bandwidth: self.bandwidth, downtime_limit: self.downtime_limit, max_rounds: Mode::MAX_ROUNDS }
            }
        };
        Config {
            block_size: self.block_size,
            aging_threshold: self.aging,
            min_access: self.min_access,
            ..Config::new(Purpose::Replay, self.policy, mode)
        }
    }

    pub(crate) fn start(&self) -> Start {
        self.start.unwrap_or(match self.scenario {
            Scenario::Sync => Start::Checkpoint,
            Scenario::Precopy => Start::Empty,
        })
    }

    /// How long accesses are watched before precopy starts.
    pub(crate) fn warm_up(&self, length: Option<Nanos>) -> Nanos {
        let half = length.map_or(Nanos(u64::MAX), |length| Nanos(length.0 / 2));
        self.warm_up.unwrap_or_else(|| self.aging.min(half))
    }
}

/// What is known about a trace before its frames are read.
#[derive(Clone, Copy, Debug)]
pub struct TraceInfo<'a> {
    /// File name without the folder.
    pub name: &'a str,
    /// The header.
    pub header: &'a Header,
    /// From the start of the first frame to the end of the last, roughly, if known: [`trace_length`](crate::trace_length).
    pub length: Option<Nanos>,
}

/// Why a trace cannot be replayed or checked.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It holds no frame.
    #[error("replay the trace: it holds no whole frame; record again, for at least one epoch")]
    NoFrames,
    /// A block size or a memory slot that the engine refuses.
    #[error("replay the trace: {0}")]
    Config(#[from] pagesieve_core::ConfigError),
    /// Two memory slots contradict each other.
    #[error("replay the trace: {0}; the trace is damaged or was changed by hand")]
    Slots(#[from] pagesieve_core::SlotError),
    /// Its frames reach beyond what the tables hold.
    #[error("replay the trace: guest memory reaches frame {0:#x}; the tables hold at most {max:#x} frames", max = Blocks::MAX_FRAMES)]
    TooManyFrames(u64),
    /// The bandwidth is zero.
    #[error("replay the trace: a bandwidth of 0 moves nothing; leave it out for no limit")]
    Bandwidth,
    /// Fingerprints are asked for, and there are none.
    #[error(
        "replay the trace: it has no page summaries, so nothing is known by fingerprint; record with --fingerprints, or use \
         --baseline checkpoint"
    )]
    NoSummaries,
    /// The page to explain lies in no slot.
    #[error("replay the trace: no memory slot holds frame {0}; `pagesieve trace info` lists the slots")]
    NoSuchPage(Gfn),
    /// The engine waits for something that never comes: a bug.
    #[error("replay the trace: the engine waits for input that never comes; this is a bug, please report it with the trace")]
    Stalled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_reaches_the_engine() {
        let config = ReplayConfig {
            scenario: Scenario::Precopy,
            block_size: 8192,
            aging: Nanos(7),
            min_access: 3,
            bandwidth: Some(5),
            downtime_limit: Nanos(9),
            ..ReplayConfig::default()
        };
        let engine = config.engine();
        assert_eq!((engine.block_size, engine.aging_threshold, engine.min_access), (8192, Nanos(7), 3));
        let precopy = Mode::Precopy { bandwidth: Some(5), downtime_limit: Nanos(9), max_rounds: Mode::MAX_ROUNDS };
        assert_eq!(engine.mode, precopy);
        let sync = ReplayConfig { scenario: Scenario::Sync, interval: Nanos(4), ..config };
        assert_eq!(sync.engine().mode, Mode::Sync { interval: Nanos(4) });
    }

    #[test]
    fn precopy_is_watched_for_the_threshold_but_for_half_of_the_trace_at_most() {
        let config = ReplayConfig { aging: Nanos(10), ..ReplayConfig::default() };
        assert_eq!([None, Some(Nanos(100)), Some(Nanos(12))].map(|length| config.warm_up(length)), [10, 10, 6].map(Nanos));
        let config = ReplayConfig { warm_up: Some(Nanos(70)), ..config };
        assert_eq!(config.warm_up(Some(Nanos(12))), Nanos(70), "who says how long is obeyed");
    }
}
