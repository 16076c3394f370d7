//! Foretells a migration: whether precopy will converge, with what downtime, and which bandwidth it would need.
//!
//! The model is a fluid one. Round 0 sends what must be sent at first and takes `T0 = bytes / bandwidth`; the next round sends
//! what was written meanwhile, `W(T0)`, and so on. `W` is the guest's [`WorkingSet`]: the distinct bytes that it writes within
//! a time. A guest that writes the same few pages again and again converges however fast it writes, so a mere dirty rate would
//! say too little.
//!
//! `W` never falls, and neither does the time that bytes take. Three things follow, and the tests hold the model to them:
//!
//! - What is left falls from round to round, or it stands still or grows for ever. Once a round brought no progress, none will.
//! - More bandwidth leaves less after each round. A guest that converges goes on converging, in no more rounds and no more time.
//!   So the least sufficient bandwidth can be found by bisection, and it is exact to the byte per second, in the model.
//! - The **downtime** may still be longer with more bandwidth: precopy stops at the first round whose rest fits the limit, and
//!   with more bandwidth that may be an earlier round with a larger rest. It is never longer after the same number of rounds.
//!
//! What the model leaves out: the time to pause and resume a guest, the time to scan and read memory, and that a guest's habits
//! change. Without a limit on bandwidth all times are therefore zero. Sums that do not fit 64 bits stay at the largest value.

mod words;
mod working_set;

use serde::{Deserialize, Serialize};

use crate::Nanos;

pub use words::{Rate, Span};
pub use working_set::WorkingSet;

/// Rounds in a row without progress that count as a standstill. In the model one would do; on a real wire a round may be slow
/// by accident, and the times foretold should be those of a migration that allows for that.
pub const STANDSTILL_ROUNDS: u32 = 3;

/// Rounds that are computed at most, whatever [`Link::max_rounds`] says. It bounds the time that a forecast takes.
pub const MAX_ROUNDS: u32 = 1000;

/// Bytes on the wire for a byte of guest memory, in units of 1/65536. Compression and skipped blocks make it less than one,
/// headers a little more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(pub u32);

impl Share {
    /// As many bytes on the wire as in the guest: what to assume if nothing was observed.
    pub const ONE: Share = Share(1 << 16);

    /// The share that was observed, rounded up. [`Share::ONE`] if no guest memory was looked at.
    #[must_use]
    pub fn of(wire: u64, guest: u64) -> Share {
        if guest == 0 {
            return Self::ONE;
        }
        let share = (u128::from(wire) * u128::from(Self::ONE.0)).div_ceil(u128::from(guest));
        Share(u32::try_from(share).unwrap_or(u32::MAX))
    }

    /// Bytes on the wire for these bytes of guest memory, rounded up.
    #[must_use]
    pub fn wire(self, guest: u64) -> u64 {
        narrow((u128::from(guest) * u128::from(self.0)).div_ceil(u128::from(Self::ONE.0)))
    }
}

impl Default for Share {
    fn default() -> Self {
        Self::ONE
    }
}

/// What a migration has to get by with. The same knobs as those of [`Mode::Precopy`](crate::Mode::Precopy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Bytes per second; `None` if the wire is no limit. With 0 nothing moves, and the forecast says so.
    pub bandwidth: Option<u64>,
    /// Precopy ends when the rest can be sent in this time.
    pub downtime_limit: Nanos,
    /// Precopy ends after this many rounds, the full one included, even if the rest is larger. 0 counts as 1.
    pub max_rounds: u32,
}

/// Why precopy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The rest fits the downtime limit.
    Fits,
    /// The guest writes pages as fast as they can be sent: no round left less than the best one before it, for
    /// [`STANDSTILL_ROUNDS`] rounds.
    Standstill {
        /// Distinct bytes of guest memory written per second of the last round.
        dirty_rate: u64,
        /// Bytes of guest memory sent per second of the last round.
        send_rate: u64,
    },
    /// Each round left less than the one before, but there were not enough of them.
    RoundsRanOut,
    /// The bandwidth is 0, so even the first round never ends.
    NothingMoves,
}

/// What will happen. It prints as one line for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// True if the rest fits the downtime limit in time.
    pub converges: bool,
    /// Why precopy ends.
    pub why: Verdict,
    /// Rounds while the guest runs, the full one included.
    pub rounds: u32,
    /// Time of these rounds and the downtime.
    pub total_time: Nanos,
    /// Time that the rest takes. If the migration does not converge: the downtime if the guest were paused all the same.
    pub downtime: Nanos,
    /// Bytes on the wire, those of the downtime included.
    pub wire_bytes: u64,
    /// The least bandwidth in bytes per second at which the migration converges, with the same limits. `None` if none
    /// would do.
    pub needed_bandwidth: Option<u64>,
    /// What was asked for.
    pub link: Link,
}

/// Foretells the precopy of a guest that has `first_round` bytes to send at first and writes as `working_set` says.
///
/// `wire_share` is what a byte of guest memory costs on the wire, in all rounds alike.
#[must_use]
pub fn forecast(first_round: u64, wire_share: Share, working_set: &WorkingSet, link: &Link) -> Forecast {
    let model = Model { first_round, wire_share, working_set, link: *link };
    let end = model.run(link.bandwidth);
    Forecast {
        converges: end.why == Verdict::Fits,
        why: end.why,
        rounds: end.rounds,
        total_time: end.total_time,
        downtime: end.downtime,
        wire_bytes: end.wire_bytes,
        needed_bandwidth: model.needed_bandwidth(),
        link: *link,
    }
}

/// The question, with the bandwidth left open.
#[derive(Debug)]
struct Model<'a> {
    first_round: u64,
    wire_share: Share,
    working_set: &'a WorkingSet,
    link: Link,
}

/// How a run of the model ended.
#[derive(Debug)]
struct End {
    why: Verdict,
    rounds: u32,
    total_time: Nanos,
    downtime: Nanos,
    wire_bytes: u64,
}

impl Model<'_> {
    fn run(&self, bandwidth: Option<u64>) -> End {
        let mut end = End { why: Verdict::NothingMoves, rounds: 0, total_time: Nanos(0), downtime: Nanos(0), wire_bytes: 0 };
        if bandwidth == Some(0) && self.wire_share.wire(self.first_round) > 0 {
            return End { total_time: Nanos(u64::MAX), downtime: Nanos(u64::MAX), ..end };
        }
        let (mut sending, mut best, mut idle_rounds) = (self.first_round, u64::MAX, 0);
        loop {
            let took = self.time(sending, bandwidth);
            let rest = self.working_set.bytes_within(took);
            end.rounds += 1;
            end.add(took, self.wire_share.wire(sending));
            end.downtime = self.time(rest, bandwidth);
            idle_rounds = if rest < best { 0 } else { idle_rounds + 1 };
            best = best.min(rest);
            let over = if end.downtime <= self.link.downtime_limit {
                Some(Verdict::Fits)
            } else if idle_rounds >= STANDSTILL_ROUNDS {
                Some(Verdict::Standstill { dirty_rate: per_second(rest, took), send_rate: per_second(sending, took) })
            } else {
                (end.rounds >= self.link.max_rounds.min(MAX_ROUNDS)).then_some(Verdict::RoundsRanOut)
            };
            if let Some(why) = over {
                end.why = why;
                end.add(end.downtime, self.wire_share.wire(rest));
                return end;
            }
            sending = rest;
        }
    }

    /// Time that these bytes of guest memory take, rounded up.
    fn time(&self, guest: u64, bandwidth: Option<u64>) -> Nanos {
        let wire = self.wire_share.wire(guest);
        match bandwidth {
            None => Nanos(0),
            Some(0) => Nanos(if wire == 0 { 0 } else { u64::MAX }),
            Some(bandwidth) => Nanos(narrow((u128::from(wire) * NANOS_PER_SECOND).div_ceil(u128::from(bandwidth)))),
        }
    }

    /// Bisection: what converges at a bandwidth converges at any higher one, see the head of this file.
    fn needed_bandwidth(&self) -> Option<u64> {
        let converges = |bandwidth| self.run(Some(bandwidth)).why == Verdict::Fits;
        if !converges(u64::MAX) {
            return None;
        }
        let (mut low, mut high) = (0, u64::MAX);
        while low < high {
            let middle = low + (high - low) / 2;
            if converges(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Some(high)
    }
}

impl End {
    fn add(&mut self, time: Nanos, wire: u64) {
        self.total_time = self.total_time.after(time);
        self.wire_bytes = self.wire_bytes.saturating_add(wire);
    }
}

const NANOS_PER_SECOND: u128 = Nanos::SECOND.0 as u128;

/// Bytes per second, rounded down; the largest rate if no time went by.
fn per_second(bytes: u64, time: Nanos) -> u64 {
    (u128::from(bytes) * NANOS_PER_SECOND).checked_div(u128::from(time.0)).map_or(u64::MAX, narrow)
}

fn narrow(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
