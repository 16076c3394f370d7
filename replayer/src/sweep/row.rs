//! What a sweep tells about one replay, and which replay did best.

use std::cmp::Ordering;

use pagesieve_core::forecast::Forecast;
use pagesieve_core::summary::{BlockCounts, ByteCounts, ReplaySummary, SkipRate};
use pagesieve_core::{Nanos, PolicyKind};
use serde::{Serialize, Serializer};

use super::grid::Point;
use crate::config::Scenario;

/// One trace replayed at one point of the grid. Names and units are those of [`ReplaySummary`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Name of the trace: its file name without the folder.
    pub trace: String,
    /// Workload class, if the trace names one.
    pub class: Option<String>,
    /// Policy.
    pub policy: PolicyKind,
    /// Sync or precopy.
    #[serde(serialize_with = "by_name")]
    pub scenario: Scenario,
    /// Transfer unit in bytes.
    pub block_size: u64,
    /// Aging threshold in nanoseconds; `None` if it changes nothing in this replay.
    pub aging: Option<Nanos>,
    /// Sync: time between two rounds in nanoseconds.
    pub interval: Option<Nanos>,
    /// Precopy: bytes per second that the wire takes.
    pub bandwidth: Option<u64>,
    /// Share of blocks that were skipped.
    pub skip_rate: SkipRate,
    /// Blocks by verdict, summed over rounds.
    pub blocks: BlockCounts,
    /// Bytes.
    pub bytes: ByteCounts,
    /// Completed rounds.
    pub rounds: u64,
    /// Pages that were taken for current at the destination although they were not.
    pub lost_pages: u64,
    /// Precopy: time of the pause in nanoseconds.
    pub downtime: Option<u64>,
    /// Precopy: time of the whole migration in nanoseconds.
    pub total_time: Option<u64>,
    /// Precopy: true if it reached its downtime limit by itself.
    pub converged: Option<bool>,
    /// Precopy: what was foretold when it began. No part of the printed row.
    #[serde(skip)]
    pub forecast: Option<Forecast>,
}

fn by_name<S: Serializer>(scenario: &Scenario, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scenario.name())
}

impl Row {
    pub(super) fn new(point: &Point, summary: ReplaySummary) -> Self {
        Self {
            trace: summary.trace,
            class: summary.class,
            policy: point.policy,
            scenario: point.scenario,
            block_size: point.block_size,
            aging: point.aging,
            interval: point.interval,
            bandwidth: point.bandwidth,
            skip_rate: summary.skip_rate,
            blocks: summary.blocks,
            bytes: summary.bytes,
            rounds: summary.rounds,
            lost_pages: summary.lost_pages,
            downtime: summary.downtime,
            total_time: summary.total_time,
            converged: summary.converged,
            forecast: summary.forecast,
        }
    }
}

/// What makes one row better than another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Best {
    /// Fewest bytes on the wire.
    Wire,
    /// Fewest bytes of pages that had been sent before.
    Resent,
    /// Shortest pause; rows without one, which are those of sync, take no part.
    Downtime,
    /// Highest skip rate over all blocks.
    Skip,
}

impl Best {
    /// Position of the best of these rows among those that lost no page: the first one if several are equally good, `None` if
    /// every row lost a page or takes no part. Pass the rows of one trace.
    #[must_use]
    pub fn of(self, rows: &[Row]) -> Option<usize> {
        let sound = rows.iter().enumerate().filter(|(_, row)| row.lost_pages == 0 && self.applies(row));
        // Of equal elements `min_by` takes the first.
        sound.min_by(|(_, one), (_, other)| self.compare(one, other)).map(|(at, _)| at)
    }

    fn applies(self, row: &Row) -> bool {
        self != Self::Downtime || row.downtime.is_some()
    }

    /// The better one is less.
    fn compare(self, one: &Row, other: &Row) -> Ordering {
        match self {
            Self::Wire => one.bytes.wire.cmp(&other.bytes.wire),
            Self::Resent => one.bytes.resent.cmp(&other.bytes.resent),
            Self::Downtime => one.downtime.cmp(&other.downtime),
            Self::Skip => other.skip_rate.total.total_cmp(&one.skip_rate.total),
        }
    }
}
