//! What happened in each epoch, for the report.

use pagesieve_traces::Frame;
use serde::{Deserialize, Serialize};

/// One point for each epoch, in their order. It grows with the trace: 48 bytes an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The epochs in order.
    pub epochs: Vec<EpochPoint>,
}

/// One epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochPoint {
    /// When the epoch ended, in nanoseconds since the start of the recording.
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
}

impl Timeline {
    /// Takes the next frame.
    pub fn observe(&mut self, frame: &Frame) {
        self.epochs.push(EpochPoint {
            end_ns: frame.end.0,
            dirty_pages: frame.log.all().count(),
            unknown_pages: frame.log.merely_unknown().count(),
            events: frame.events.len() as u64,
            lost: frame.lost.events(),
            resident_pages: frame.populated.count(),
        });
    }
}
