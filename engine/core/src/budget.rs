//! Divides one wire among several guests that migrate at the same time.
//!
//! A guest converges only while it gets more of the wire than it writes: each round leaves about `dirty rate / share` of the
//! bytes of the round before. So a fair division is not always a good one. Where the dirty rates of all guests together exceed
//! the wire, dividing it may leave every guest below its dirty rate, and none of them ever finishes; one after the other, each
//! has the whole wire and all of them do. [`SharePolicy::Converging`] finds the middle: as many at once as can win.
//!
//! [`divide`] has no memory. Call it again whenever a demand changes: a round ends, a guest pauses or finishes, a dirty rate was
//! measured anew.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// The ways to divide, by the names that users type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharePolicy {
    /// `equal`: the same for all, so that nobody waits for another.
    #[default]
    Equal,
    /// `weighted`: by weight, so that the guest that matters most is done first without stopping the others.
    Weighted,
    /// `one-by-one`: all to the first in the list, so that the order of arrival is the one that was asked for.
    OneByOne,
    /// `shortest-first`: all to the one that is done soonest, so that the mean time until a guest has moved is short.
    ShortestFirst,
    /// `converging`: to as many guests as can get twice what they write, the calmest first, so that no share is wasted.
    Converging,
}

/// A guest under [`SharePolicy::Converging`] is served next to others only if it gets this many times its dirty rate: then no
/// round leaves more than half of the one before.
pub const HEADROOM: u64 = 2;

impl SharePolicy {
    /// All of them, in the order in which help texts list them.
    pub const ALL: [SharePolicy; 5] = [Self::Equal, Self::Weighted, Self::OneByOne, Self::ShortestFirst, Self::Converging];

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Weighted => "weighted",
            Self::OneByOne => "one-by-one",
            Self::ShortestFirst => "shortest-first",
            Self::Converging => "converging",
        }
    }
}

impl fmt::Display for SharePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no way to divide has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownSharePolicy;

impl fmt::Display for UnknownSharePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such way to share bandwidth; use one of")?;
        for (at, policy) in SharePolicy::ALL.iter().enumerate() {
            write!(f, "{} {policy}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownSharePolicy {}

impl FromStr for SharePolicy {
    type Err = UnknownSharePolicy;

    fn from_str(name: &str) -> Result<Self, UnknownSharePolicy> {
        Self::ALL.into_iter().find(|policy| policy.name() == name).ok_or(UnknownSharePolicy)
    }
}

/// What one guest wants of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its part under [`SharePolicy::Weighted`], relative to the others. 0 counts as 1.
    pub weight: u32,
    /// Bytes that it still has to send, as far as is known now. With 0 it needs nothing and gets nothing.
    pub remaining: u64,
    /// Distinct bytes that it writes per second.
    pub dirty_rate: u64,
    /// True while it stands still for its handover.
    pub paused: bool,
}

impl Default for Demand {
    fn default() -> Self {
        Self { weight: 1, remaining: 0, dirty_rate: 0, paused: false }
    }
}

/// Divides `total` bytes per second among the guests; the shares come in the order of the demands.
///
/// - The shares add up to `total` if any guest has something left to send, and to nothing otherwise.
/// - While a guest is paused with something left to send, its downtime runs, and guests that run get nothing. The wire
///   goes to the paused guests alone: by weight under [`SharePolicy::Weighted`], in equal parts under every other policy,
///   for each of them stands still and none should wait for another. So nobody loses by being paused.
/// - Under `equal` and `weighted` each other guest with work gets its part, rounded down, or one byte per second more: what
///   rounding leaves over goes to the first in the list, a byte each.
#[must_use]
pub fn divide(total: u64, policy: SharePolicy, demands: &[Demand]) -> Vec<u64> {
    let working = |paused: bool| -> Vec<usize> {
        (0..demands.len()).filter(|&at| demands[at].remaining > 0 && demands[at].paused == paused).collect()
    };
    let mut shares = vec![0; demands.len()];
    let paused = working(true);
    let served = if paused.is_empty() { working(false) } else { paused };
    let all_run = served.first().is_some_and(|&at| !demands[at].paused);
    match policy {
        SharePolicy::Weighted => by_weight(total, &served, |at| demands[at].weight.max(1), &mut shares),
        SharePolicy::OneByOne if all_run => by_weight(total, &served[..1], |_| 1, &mut shares),
        SharePolicy::ShortestFirst if all_run => {
            let soonest = served.iter().copied().min_by_key(|&at| finish(total, &demands[at]));
            by_weight(total, soonest.as_slice(), |_| 1, &mut shares);
        }
        SharePolicy::Converging if all_run => converging(total, served, demands, &mut shares),
        _ => by_weight(total, &served, |_| 1, &mut shares),
    }
    shares
}

/// Adds `total` to the shares of the guests in `served`, by weight.
fn by_weight(total: u64, served: &[usize], weight: impl Fn(usize) -> u32, shares: &mut [u64]) {
    let sum: u128 = served.iter().map(|&at| u128::from(weight(at))).sum();
    let mut left = total;
    for &at in served {
        let part = (u128::from(total) * u128::from(weight(at)) / sum) as u64;
        shares[at] += part;
        left -= part;
    }
    // Fewer bytes than guests: each part was rounded down by less than one.
    for &at in served.iter().take(left as usize) {
        shares[at] += 1;
    }
}

/// Orders guests by the time until they are done with the whole wire. One that writes as fast as the wire sends comes last, the
/// slower writer first: it is never done.
fn finish(total: u64, demand: &Demand) -> (bool, u128, u64) {
    match total.checked_sub(demand.dirty_rate) {
        None | Some(0) => (true, 0, demand.dirty_rate),
        // In 2^-64 seconds: remaining < 2^64, so the product fits.
        Some(gain) => (false, (u128::from(demand.remaining) << 64) / u128::from(gain), 0),
    }
}

/// Admits guests from the calmest on, each with [`HEADROOM`] times its dirty rate, as long as the wire holds them. What is left
/// over is divided among the admitted. The first is admitted in any case: the wire has nothing better to do.
fn converging(total: u64, mut served: Vec<usize>, demands: &[Demand], shares: &mut [u64]) {
    served.sort_by_key(|&at| (demands[at].dirty_rate, at));
    let mut left = total;
    let mut admitted = 0;
    for &at in &served {
        let need = demands[at].dirty_rate.saturating_mul(HEADROOM);
        if need > left {
            break;
        }
        shares[at] = need;
        left -= need;
        admitted += 1;
    }
    served.truncate(admitted.max(1));
    by_weight(left, &served, |_| 1, shares);
}

#[cfg(test)]
mod tests;
