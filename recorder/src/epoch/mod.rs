//! Closing an epoch: the dirty log is everything that the epoch cannot prove clean.
//!
//! The first closing finds no slots, so all memory it finds is new, and new memory is unknown: that makes the baseline, frame 0,
//! without a special case. A target that replaces its address space (`exec`) is the same case again.

mod beyond;
mod reading;
mod scan;
mod stopping;

use std::io;
use std::time::Duration;

use pagesieve_core::{Epoch, MemSlot, Nanos, PageBitmap};
use pagesieve_traces::{DirtyLog, Frame, Happening, Note, UnknownReason};

use crate::content::Content;
use crate::control::Control;
use crate::error::RecordError;
use crate::events::Events;
use crate::layout::Layout;
use crate::maps::{self, FileId, Mapping, Region};
use crate::process;
use crate::ptrace::Stopped;
use crate::qemu::Guest;
use crate::rest::{InFlight, Rest};
use crate::sharers::{self, DirectIo};
use crate::target::{Target, is_gone};
use crate::writes::WriteLog;

/// What came of closing an epoch.
pub(crate) enum Closed {
    /// A whole frame.
    Frame(Box<Frame>),
    /// A thread of the target would not stop, so nothing was read and the epoch goes on.
    Postponed,
    /// The target has ended; what it did since the last frame is not provable.
    TargetEnded,
}

/// Everything that is known of the target between two closings.
pub(crate) struct Observer {
    pub(crate) pid: u32,
    pub(crate) layout: Layout,
    pub(crate) events: Events,
    writes: Box<dyn WriteLog>,
    content: Option<Content>,
    control: Control,
    guest: Option<Guest>,
    regions: Vec<Region>,
    page_limit: u64,
    epoch: Epoch,
    start: Nanos,
    /// Pages that held data at the last closing.
    populated: PageBitmap,
    /// Pages that were mapped and armed at the last closing: a read of one takes no fault.
    present: PageBitmap,
    notes: Vec<Note>,
    limit_reached: bool,
    /// True if at the last closing the kernel might have dropped mappings of shared memory by itself.
    may_drop: bool,
    /// Bytes of guest memory that are left out.
    untrackable: u64,
    in_flight: InFlight,
    /// A guest is stopped for every closing, whether or not direct I/O is seen.
    pub(crate) stops_guest: bool,
    /// A process that has no monitor, stopped for longer than one closing.
    held: Option<Stopped>,
    /// Only what shows this file is tracked, by the pages of the file.
    pub(crate) source: Option<FileId>,
}

/// What the scans of one closing found.
#[derive(Default)]
struct Found {
    log: DirtyLog,
    populated: PageBitmap,
    present: PageBitmap,
    huge: PageBitmap,
    slots_changed: bool,
    /// When the first page was read.
    scan_start: Nanos,
}

impl Observer {
    /// Nothing is armed yet: the first [`Observer::close`] does that.
    pub(crate) fn new(
        target: &mut Target,
        writes: Box<dyn WriteLog>,
        events: Events,
        content: Option<Content>,
        regions: Vec<Region>,
        page_limit: u64,
    ) -> Result<Self, RecordError> {
        Ok(Self {
            pid: target.pid,
            layout: Layout::default(),
            events,
            writes,
            content,
            control: Control::default(),
            guest: target.guest.take(),
            regions,
            page_limit,
            epoch: Epoch(0),
            start: Nanos(0),
            populated: PageBitmap::default(),
            present: PageBitmap::default(),
            notes: Vec::new(),
            limit_reached: false,
            may_drop: true,
            untrackable: 0,
            in_flight: InFlight::default(),
            stops_guest: false,
            held: None,
            source: None,
        })
    }

    /// Closes the epoch and arms all memory for the next one.
    pub(crate) fn close(&mut self) -> Result<Closed, RecordError> {
        self.refresh_guest();
        let Some(mappings) = self.mappings() else { return Ok(Closed::TargetEnded) };
        let direct = sharers::direct_io(self.pid, &mappings);
        let holds = self.held.is_some();
        let mut rest = match self.bring_to_rest(direct) {
            Ok(rest) => rest,
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(Closed::Postponed),
            Err(error) if is_gone(&error) => return Ok(Closed::TargetEnded),
            Err(error) => return Err(RecordError::System { what: "stop the target's threads", error }),
        };
        let closed = self.read_at_rest(&mut rest, direct);
        if let Rest::Threads(stopped) = rest
            && holds
        {
            self.held = Some(stopped);
        }
        // Whatever came of it, the guest goes on.
        self.resume_guest();
        let Some(mut frame) = closed? else { return Ok(Closed::TargetEnded) };
        frame.summaries = self.content.as_mut().map(|content| {
            let events = &mut self.events;
            content.summarise(&self.layout.slots(), || events.drain())
        });
        self.start = frame.end;
        Ok(Closed::Frame(Box::new(frame)))
    }

    /// Reads and re-arms everything, with the target at rest or not. `None` if it has ended.
    fn read_at_rest(&mut self, rest: &mut Rest, direct_before: DirectIo) -> Result<Option<Frame>, RecordError> {
        // What was read before the stop may have changed since.
        let Some(mappings) = self.mappings() else { return Ok(None) };
        let mut found = match self.read_log(&mappings, rest.threads()) {
            Ok(found) => found,
            Err(_) if !process::is_alive(self.pid) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut differs = match (&mut self.content, &*rest) {
            (None, _) | (_, Rest::None) => None,
            (Some(content), _) => Some(content.snapshot(self.pid, &self.layout.slots(), &found.populated)),
        };
        if differs.is_some() {
            self.add_late_writes(&mappings, &mut found.log);
        }
        if let Rest::Drained(stopped) = rest {
            // The monitor cannot answer while its thread is stopped.
            *stopped = None;
        }
        if matches!(rest, Rest::Drained(_)) && !self.guest.as_mut().is_some_and(Guest::is_stopped) {
            // Someone else has let it go on: what was read was read from a running guest, and compared as little.
            *rest = Rest::None;
            differs = None;
        }
        let direct = sharers::direct_io(self.pid, &mappings).max(direct_before);
        let others = sharers::written_by_others(self.pid, &mappings, &self.layout);
        found.log.add_unknown(UnknownReason::OtherMapper, &others);
        let end = self.events.now();
        if found.slots_changed {
            self.publish_slots()?;
        }
        let (accesses, lost) = self.take_events(end, &mut found);
        let closing = self.settle(&mut found.log, direct, &lost, rest, differs.as_ref());
        tracing::debug!(
            epoch = self.epoch.0,
            written = found.log.written.count(),
            dirty = found.log.all().count(),
            events = accesses.len(),
            lost = lost.events(),
            ?closing,
            ?direct,
            "an epoch is closed"
        );
        Ok(Some(Frame { scan_start: found.scan_start, end, closing, events: accesses, lost, ..self.frame(found) }))
    }

    fn publish_slots(&mut self) -> Result<(), RecordError> {
        for slot in self.layout.slots() {
            tracing::info!(first = %slot.base, pages = slot.pages, address = %slot.hva, backing = ?slot.backing, "tracked");
        }
        let left_out = self.events.set_slots(&self.layout.slots()).map_err(RecordError::Attach)?;
        if left_out > 0 {
            self.note(Happening::Message(format!("{left_out} of the smaller memory slots have no events: there are too many")));
        }
        Ok(())
    }

    /// The frame of what the scans found, and the state from which the next epoch starts.
    fn frame(&mut self, mut found: Found) -> Frame {
        let epoch = self.epoch;
        self.epoch = epoch.next();
        self.populated.clone_from(&found.populated);
        self.present = std::mem::take(&mut found.present);
        // A frame knows no pages beyond its last slot.
        let end = self.layout.slots().iter().map(|slot| slot.end().0).max().unwrap_or(0);
        let Found { log, populated, huge, .. } = &mut found;
        let known = log.unknown.iter_mut().map(|set| &mut set.pages);
        known.chain([&mut log.written, &mut log.discarded, populated, huge]).for_each(|set| set.shrink(end));
        Frame {
            epoch,
            start: self.start,
            // The slots of the first frame stand in the header.
            slots: (found.slots_changed && epoch > Epoch(0)).then(|| self.layout.slots()),
            log: found.log,
            populated: found.populated,
            huge: found.huge,
            notes: std::mem::take(&mut self.notes),
            ..Frame::default()
        }
    }

    fn mappings(&self) -> Option<Vec<Mapping>> {
        let mut mappings = maps::read(self.pid).ok().filter(|mappings| !mappings.is_empty())?;
        if let Some(file) = &self.source {
            maps::mark_source(self.pid, &mut mappings, file);
        }
        Some(mappings)
    }

    fn note(&mut self, what: Happening) {
        self.notes.push(Note { time: self.events.now(), what });
    }

    /// Time since the epoch began.
    pub(crate) fn epoch_age(&self) -> Duration {
        Duration::from_nanos(self.events.now().since(self.start).0)
    }

    pub(crate) fn guest(&self) -> Option<&Guest> {
        self.guest.as_ref()
    }

    pub(crate) fn guest_mut(&mut self) -> Option<&mut Guest> {
        self.guest.as_mut()
    }

    /// How memory is armed.
    pub(crate) fn arming(&self) -> String {
        self.writes.name()
    }

    /// The slots as they are now.
    pub(crate) fn slots(&self) -> Vec<MemSlot> {
        self.layout.slots()
    }
}
