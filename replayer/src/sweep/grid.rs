//! Which replays a sweep consists of.

use pagesieve_core::{Nanos, PolicyKind};

use crate::config::{ReplayConfig, Scenario};

/// The values to try. Every combination is a point, except that a parameter which a scenario and a policy do not look at is not
/// varied for them. A value that is listed twice counts once; an empty list that is needed leaves no point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Policies.
    pub policies: Vec<PolicyKind>,
    /// Ways to move memory.
    pub scenarios: Vec<Scenario>,
    /// Bytes in a block, each a power of two of at least one page.
    pub block_sizes: Vec<u64>,
    /// How long a page must rest to count as unused.
    pub agings: Vec<Nanos>,
    /// Sync: times between two rounds.
    pub intervals: Vec<Nanos>,
    /// Precopy: bytes per second that the wire takes, not 0.
    pub bandwidths: Vec<u64>,
    /// Accesses that a page needs at least to count as used: the same at all points.
    pub min_access: u32,
}

impl Default for Grid {
    /// `proven` in `sync` with blocks of 32 to 256 KiB. The rest is as in a single replay, with a link of 1 Gbit a second.
    fn default() -> Self {
        let config = ReplayConfig::default();
        Self {
            policies: vec![config.policy],
            scenarios: vec![config.scenario],
            block_sizes: [32, 64, 128, 256].map(|kib| kib << 10).into(),
            agings: vec![config.aging],
            intervals: vec![config.interval],
            bandwidths: vec![125_000_000],
            min_access: config.min_access,
        }
    }
}

/// One replay of a sweep. `None` stands for a parameter that changes nothing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Policy.
    pub policy: PolicyKind,
    /// Sync or precopy.
    pub scenario: Scenario,
    /// Bytes in a block.
    pub block_size: u64,
    /// How long a page must rest to count as unused.
    pub aging: Option<Nanos>,
    /// Time between two rounds.
    pub interval: Option<Nanos>,
    /// Bytes per second that the wire takes.
    pub bandwidth: Option<u64>,
    /// Accesses that a page needs at least to count as used.
    pub min_access: u32,
}

/// A parameter that not every replay looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Aging,
    Interval,
    Bandwidth,
}

impl Parameter {
    /// True if another value can make another replay. This is the only place that knows.
    pub(super) fn matters(self, policy: PolicyKind, scenario: Scenario) -> bool {
        match (self, scenario) {
            // Precopy runs rounds back to back; sync takes no time to send.
            (Self::Interval, scenario) => scenario == Scenario::Sync,
            (Self::Bandwidth, scenario) => scenario == Scenario::Precopy,
            // For every policy it is also how long accesses are watched before the migration starts.
            (Self::Aging, Scenario::Precopy) => true,
            (Self::Aging, Scenario::Sync) => match policy {
                PolicyKind::Aging | PolicyKind::AgingLiteral => true,
                // It sets a threshold of its own at each dirty log, and in sync a log comes before the first round.
                PolicyKind::Adaptive => false,
                PolicyKind::SendAll | PolicyKind::Proven | PolicyKind::Predictive => false,
            },
        }
    }

    /// The values to try: each once and in their order, or none at all where it does not matter.
    fn values<T: Copy + PartialEq>(self, values: &[T], policy: PolicyKind, scenario: Scenario) -> Vec<Option<T>> {
        if self.matters(policy, scenario) { distinct(values).into_iter().map(Some).collect() } else { vec![None] }
    }
}

impl Grid {
    /// The points in the order policy, scenario, block size, aging, interval, bandwidth, of which the last varies fastest and
    /// each takes its values in the order given.
    #[must_use]
    pub fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for policy in distinct(&self.policies) {
            for scenario in distinct(&self.scenarios) {
                for block_size in distinct(&self.block_sizes) {
                    self.add_points(policy, scenario, block_size, &mut points);
                }
            }
        }
        points
    }

    fn add_points(&self, policy: PolicyKind, scenario: Scenario, block_size: u64, points: &mut Vec<Point>) {
        let min_access = self.min_access;
        for aging in Parameter::Aging.values(&self.agings, policy, scenario) {
            for interval in Parameter::Interval.values(&self.intervals, policy, scenario) {
                for bandwidth in Parameter::Bandwidth.values(&self.bandwidths, policy, scenario) {
                    points.push(Point { policy, scenario, block_size, aging, interval, bandwidth, min_access });
                }
            }
        }
    }
}

impl Point {
    /// The configuration of the replay. What changes nothing has its default.
    #[must_use]
    pub fn config(&self) -> ReplayConfig {
        let default = ReplayConfig::default();
        ReplayConfig {
            policy: self.policy,
            scenario: self.scenario,
            block_size: self.block_size,
            aging: self.aging.unwrap_or(default.aging),
            interval: self.interval.unwrap_or(default.interval),
            bandwidth: self.bandwidth,
            min_access: self.min_access,
            ..default
        }
    }
}

fn distinct<T: Copy + PartialEq>(values: &[T]) -> Vec<T> {
    let mut distinct = Vec::new();
    for value in values {
        if !distinct.contains(value) {
            distinct.push(*value);
        }
    }
    distinct
}
