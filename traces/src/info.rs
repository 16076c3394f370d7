//! A summary of a trace: what `trace info` prints.

use std::collections::BTreeMap;
use std::io::Read;

use pagesieve_core::{AccessKind, Nanos, Origin};
use serde::Serialize;

use crate::error::ReadError;
use crate::model::{Closing, EventSource, Frame, Header, Machine, Target};
use crate::reader::{End, Reader};
use crate::version::FormatVersion;

/// What a trace holds, counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Info {
    /// Version of the file's format.
    pub format: FormatVersion,
    /// `pagesieve` version that wrote it.
    pub tool: String,
    /// Start of the recording, seconds since the Unix epoch; 0 for synthetic traces.
    pub created: u64,
    /// Machine that recorded.
    pub machine: Machine,
    /// Where the events come from.
    pub source: EventSource,
    /// Kernel hooks, best first.
    pub hooks: Vec<String>,
    /// How memory was write-protected.
    pub arming: String,
    /// What was observed.
    pub target: Target,
    /// Workload class, if the trace names one.
    pub class: Option<String>,
    /// Intended length of an epoch in nanoseconds.
    pub epoch_length: Nanos,
    /// True if frames carry page summaries.
    pub fingerprints: bool,
    /// True if the key of the fingerprints is in the file.
    pub has_fingerprint_key: bool,
    /// Memory slots at the start.
    pub slots: u64,
    /// Guest memory at the start in bytes.
    pub memory: u64,
    /// Frames.
    pub frames: u64,
    /// From the start of the first frame to the end of the last, in nanoseconds.
    pub duration: Nanos,
    /// Events.
    pub events: u64,
    /// Events by what was done.
    pub events_by_kind: BTreeMap<&'static str, u64>,
    /// Events by who did it.
    pub events_by_origin: BTreeMap<&'static str, u64>,
    /// Events dropped while recording.
    pub lost_events: u64,
    /// Control events (discards, forks) dropped while recording.
    pub lost_control: u64,
    /// Events whose address lay in no memory slot.
    pub outside_events: u64,
    /// Frames in which something was lost.
    pub lossy_frames: u64,
    /// Frames closed while the target was stopped.
    pub quiescent_frames: u64,
    /// Pages in the dirty log, summed over frames.
    pub dirty_pages: u64,
    /// Of these, pages that are there only because nothing could be proven about them.
    pub unknown_pages: u64,
    /// Populated pages at the end of the last frame.
    pub populated_pages: u64,
    /// Page summaries; the first frame has one for each populated page.
    pub summaries: u64,
    /// Bytes of the file, up to the last whole frame if it was cut.
    pub file_bytes: u64,
    /// `file_bytes / events`; `None` without events. Sets and summaries are included.
    pub bytes_per_event: Option<f64>,
    /// True if the recorder finished the file.
    pub complete: bool,
    /// What is missing if it is not complete.
    pub incomplete: Option<String>,
}

/// Reads the rest of a trace and counts what is in it. Memory is that of one frame.
///
/// # Errors
/// The trace cannot be read; see [`ReadError`].
pub fn info<R: Read>(reader: &mut Reader<R>) -> Result<Info, ReadError> {
    let mut info = Info::of(reader.version(), reader.header());
    let mut first = None;
    while let Some(frame) = reader.next_frame()? {
        let start = *first.get_or_insert(frame.start);
        info.duration = frame.end.since(start);
        info.count(&frame);
    }
    info.file_bytes = reader.position();
    if info.events > 0 {
        info.bytes_per_event = Some(info.file_bytes as f64 / info.events as f64);
    }
    info.incomplete = reader.end().and_then(missing);
    info.complete = info.incomplete.is_none();
    Ok(info)
}

fn missing(end: &End) -> Option<String> {
    match end {
        End::Complete => None,
        End::Cut { frames, at_byte } => Some(format!("the file was cut: {frames} whole frames end at byte {at_byte}")),
        End::Damaged { frames, at_byte, damage } => {
            Some(format!("damaged at byte {at_byte}, after {frames} whole frames: {damage}"))
        }
    }
}

impl Info {
    fn of(format: FormatVersion, header: &Header) -> Self {
        Self {
            format,
            tool: header.tool.clone(),
            created: header.created,
            machine: header.machine.clone(),
            source: header.source,
            hooks: header.hooks.clone(),
            arming: header.arming.clone(),
            target: header.target.clone(),
            class: header.class.clone(),
            epoch_length: header.epoch_length,
            fingerprints: header.fingerprints,
            has_fingerprint_key: header.fingerprint_key.is_some(),
            slots: header.slots.len() as u64,
            memory: header.slots.iter().map(|slot| slot.pages * pagesieve_core::PAGE_SIZE).sum(),
            frames: 0,
            duration: Nanos(0),
            events: 0,
            events_by_kind: BTreeMap::new(),
            events_by_origin: BTreeMap::new(),
            lost_events: 0,
            lost_control: 0,
            outside_events: 0,
            lossy_frames: 0,
            quiescent_frames: 0,
            dirty_pages: 0,
            unknown_pages: 0,
            populated_pages: 0,
            summaries: 0,
            file_bytes: 0,
            bytes_per_event: None,
            complete: false,
            incomplete: None,
        }
    }

    fn count(&mut self, frame: &Frame) {
        self.frames += 1;
        self.events += frame.events.len() as u64;
        for event in &frame.events {
            *self.events_by_kind.entry(kind_name(event.kind)).or_default() += 1;
            *self.events_by_origin.entry(origin_name(event.origin)).or_default() += 1;
        }
        self.lost_events = self.lost_events.saturating_add(frame.lost.events());
        self.lost_control = self.lost_control.saturating_add(frame.lost.control);
        self.outside_events = self.outside_events.saturating_add(frame.lost.outside);
        self.lossy_frames += u64::from(frame.lost.any());
        self.quiescent_frames += u64::from(frame.closing != Closing::Running);
        self.dirty_pages += frame.log.all().count();
        self.unknown_pages += frame.log.merely_unknown().count();
        self.populated_pages = frame.populated.count();
        self.summaries += frame.summaries.as_ref().map_or(0, |summaries| summaries.len() as u64);
    }
}

pub(crate) fn kind_name(kind: AccessKind) -> &'static str {
    match kind {
        AccessKind::Read => "read",
        AccessKind::Write => "write",
        AccessKind::Exec => "exec",
    }
}

pub(crate) fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::User => "user",
        Origin::Kernel => "kernel",
        Origin::Gup => "gup",
    }
}
