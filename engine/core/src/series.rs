//! Series that a report draws: a trace over time, and over address and time. `pagesieve-replayer` fills them.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// What happened in each epoch. It grows with the trace: 72 bytes an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The epochs in order. Each begins where the one before ended, the first at 0.
    pub epochs: Vec<EpochPoint>,
}

/// One epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPoint {
    /// When the epoch ended.
    pub end_ns: u64,
    /// Pages in the dirty log: everything that the epoch cannot prove clean.
    pub dirty_pages: u64,
    /// Of these, pages that are there only because nothing could be proven about them.
    pub unknown_pages: u64,
    /// Access events.
    pub events: u64,
    /// Events dropped.
    pub lost: u64,
    /// Pages that held data at the end of the epoch.
    pub resident_pages: u64,
    /// Events that are writes. A page that is armed raises one when it is first written.
    #[serde(default)]
    pub write_events: u64,
    /// How long it took to close the epoch: to read the dirty log and, if that was wanted, to compare contents.
    #[serde(default)]
    pub scan_ns: u64,
    /// True if the target stood still meanwhile.
    #[serde(default)]
    pub stopped: bool,
}

/// How many distinct pages were in use within windows of time that end with each epoch: 40 bytes an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingSets {
    /// Length of the short and of the long window.
    pub windows_ns: [u64; 2],
    /// The epochs in order.
    pub points: Vec<WorkingSetPoint>,
}

/// The windows that end with one epoch. An epoch lies in a window if it ended within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkingSetPoint {
    /// When the epoch ended.
    pub end_ns: u64,
    /// Distinct pages that were seen written or discarded, in the short and in the long window.
    pub written: [u64; 2],
    /// Distinct pages of these and of all events, in the short and in the long window.
    pub touched: [u64; 2],
}

/// How long pages rest between two epochs in which they are seen written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirtyIntervals {
    /// Epochs looked at: all but the first, in which nothing is seen.
    pub epochs: u64,
    /// Pages that held data at the end and were never seen written.
    pub never: u64,
    /// Pages that were seen written in one epoch only.
    pub once: u64,
    /// Pages that were seen written in several epochs.
    pub again: u64,
    /// Intervals between neighbouring epochs of these: number `k` counts those of `2^k` to `2^(k+1) - 1` epochs.
    pub intervals: Vec<u64>,
}

/// Dirty pages over address (rows) and time (columns). Columns cut the time from `start_ns` to `end_ns` into equal parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heatmap {
    /// Rows; row 0 holds the lowest addresses.
    pub rows: u32,
    /// Columns; column 0 is the earliest.
    pub cols: u32,
    /// Start of the first column.
    pub start_ns: u64,
    /// End of the last column.
    pub end_ns: u64,
    /// Pages in a row; the last row of a slot may hold fewer.
    pub pages_per_row: u64,
    /// Which rows belong to which memory slot.
    pub slots: Vec<HeatmapSlot>,
    /// Dirty pages of each cell, row by row: `rows * cols` numbers. A page that is dirty in two epochs of a column counts twice.
    pub cells: Vec<u32>,
}

/// A memory slot in the heatmap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeatmapSlot {
    /// What to call it, such as its range of guest addresses.
    pub label: String,
    /// First row.
    pub start_row: u32,
    /// One past the last row.
    pub end_row: u32,
}
