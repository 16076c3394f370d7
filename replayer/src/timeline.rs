//! What happened in each epoch, for the report.

use pagesieve_core::series::EpochPoint;
use pagesieve_traces::Frame;

/// The point of a frame in a [`Timeline`](pagesieve_core::series::Timeline).
#[must_use]
pub fn epoch_point(frame: &Frame) -> EpochPoint {
    EpochPoint {
        end_ns: frame.end.0,
        dirty_pages: frame.log.all().count(),
        unknown_pages: frame.log.merely_unknown().count(),
        events: frame.events.len() as u64,
        lost: frame.lost.events(),
        resident_pages: frame.populated.count(),
    }
}
