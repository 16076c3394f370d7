//! What happened in each epoch, for the report.

use pagesieve_core::AccessKind;
use pagesieve_core::series::EpochPoint;
use pagesieve_traces::{Closing, Frame};

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
        write_events: frame.events.iter().filter(|event| event.kind == AccessKind::Write).count() as u64,
        scan_ns: frame.end.since(frame.scan_start).0,
        stopped: frame.closing != Closing::Running,
    }
}
