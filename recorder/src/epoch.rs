//! Closing an epoch: the dirty log is everything that the epoch cannot prove clean.
//!
//! The first closing finds no slots, so all memory it finds is new, and new memory is unknown: that makes the baseline, frame 0,
//! without a special case. A target that replaces its address space (`exec`) is the same case again.

use std::io;
use std::ops::Range;
use std::time::Duration;

use pagesieve_core::{Access, AccessKind, Backing, Epoch, Gfn, MemSlot, Nanos, PageBitmap};
use pagesieve_traces::{Closing, DirtyLog, Frame, Happening, Lost, Note, UnknownReason};

use crate::content::Content;
use crate::control::{Control, Effects};
use crate::error::RecordError;
use crate::events::Events;
use crate::layout::{Layout, Tracked};
use crate::maps::{self, FileId, Mapping, Region};
use crate::process;
use crate::ptrace::Stopped;
use crate::qemu::Guest;
use crate::rest::{InFlight, Rest};
use crate::sharers::{self, DirectIo};
use crate::target::{Target, is_gone};
use crate::writes::{self, WriteLog};

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
        Ok(Some(Frame { scan_start: found.scan_start, end, closing, events: accesses, lost, ..self.frame(found) }))
    }

    fn publish_slots(&mut self) -> Result<(), RecordError> {
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

    /// Brings the target to rest if its content is to be read, if its writes can only be read so, or if direct I/O could land in
    /// a page after its scan. Where only the latter asks for it and we may not stop the target, its pages count as unknown instead.
    fn bring_to_rest(&mut self, direct: DirectIo) -> io::Result<Rest> {
        if let Some(stopped) = self.held.take() {
            return Ok(Rest::Threads(stopped));
        }
        let needs_stop = self.writes.needs_stop();
        if self.content.is_none() && direct == DirectIo::None && !needs_stop {
            return Ok(if self.stops_guest && self.stop_guest() { Rest::Drained(None) } else { Rest::None });
        }
        let drained = self.stop_guest();
        if drained && !needs_stop {
            return Ok(Rest::Drained(None));
        }
        match Stopped::all(self.pid) {
            Ok(stopped) if drained => Ok(Rest::Drained(Some(stopped))),
            Ok(stopped) => Ok(Rest::Threads(stopped)),
            Err(error) if self.content.is_none() && !needs_stop && error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Rest::None)
            }
            Err(error) => {
                self.resume_guest();
                Err(error)
            }
        }
    }

    /// Stops every thread of a process until [`Observer::release`].
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        if self.held.is_none() {
            self.held = Some(Stopped::all(self.pid)?);
        }
        Ok(())
    }

    /// Lets a process go on that was stopped by [`Observer::hold`].
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// Looks where the guest's memory is now, and what has become of the guest.
    fn refresh_guest(&mut self) {
        let lines = self.guest.as_mut().map(Guest::refresh).unwrap_or_default();
        lines.into_iter().for_each(|line| self.note(Happening::Message(line)));
    }

    /// Stops the guest by its monitor, if it has one.
    fn stop_guest(&mut self) -> bool {
        let stopped = self.guest.as_mut().map_or(Ok(false), Guest::stop);
        stopped.unwrap_or_else(|error| {
            tracing::debug!(%error, "the guest could not be stopped by its monitor");
            false
        })
    }

    fn resume_guest(&mut self) {
        if let Some(Err(error)) = self.guest.as_mut().map(Guest::resume) {
            tracing::warn!("failed to {error}; if the guest is stopped, let it go on with `cont`");
        }
    }

    /// Reads and re-arms all slots, takes up new memory, and looks which pages hold data.
    fn read_log(&mut self, mappings: &[Mapping], stopped: Option<&mut Stopped>) -> Result<Found, RecordError> {
        let mut found = Found { scan_start: self.events.now(), ..Found::default() };
        self.scan_known(mappings, &mut found);
        self.take_up_new(mappings, stopped, &mut found)?;
        self.writes.arm().map_err(|error| RecordError::System { what: "arm the target's memory", error })?;
        let end = self.layout.frame_end();
        for set in [&mut found.populated, &mut found.present, &mut found.huge, &mut found.log.written] {
            set.grow(end);
        }
        self.look(mappings, &mut found)?;
        let mut holes = self.populated.clone();
        holes.subtract(&found.populated);
        holes.intersect_with(&self.layout.pages());
        found.log.add_unknown(UnknownReason::BecameHole, &holes);
        Ok(found)
    }

    fn scan_known(&mut self, mappings: &[Mapping], found: &mut Found) {
        let end = self.layout.frame_end();
        found.log.written.grow(end);
        let (mut unarmed, mut failed) = (PageBitmap::new(end), PageBitmap::new(end));
        for tracked in self.layout.iter() {
            for part in tracked.shown(mappings) {
                let written = &mut found.log.written;
                let scanned = self.writes.take(part.clone(), &mut |range| written.insert_range(tracked.frames(&range)));
                match scanned {
                    Ok(()) => {}
                    // Another mapping took the place, or registering it failed before: what happened there is not known.
                    Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                        unarmed.insert_range(tracked.frames(&part));
                        self.writes.add(part);
                    }
                    // The address space was replaced; taking up new memory notices and starts again.
                    Err(error) if is_gone(&error) => unarmed.insert_range(tracked.frames(&part)),
                    Err(error) => {
                        tracing::debug!(%error, "a part could not be scanned");
                        failed.insert_range(tracked.frames(&part));
                    }
                }
            }
        }
        found.log.add_unknown(UnknownReason::Unarmed, &unarmed);
        found.log.add_unknown(UnknownReason::ScanFailed, &failed);
    }

    /// Adds what was written between the scan and the snapshot of the content: the target stands still, but another process may
    /// write into it (`process_vm_writev`, a vfork child). These pages are left unarmed, so the next epoch's log has them too,
    /// whichever content the snapshot saw.
    fn add_late_writes(&mut self, mappings: &[Mapping], log: &mut DirtyLog) {
        let mut failed = PageBitmap::new(self.layout.frame_end());
        for tracked in self.layout.iter() {
            for part in tracked.shown(mappings) {
                let looked = self.writes.peek(part.clone(), &mut |range| log.written.insert_range(tracked.frames(&range)));
                if looked.is_err() {
                    failed.insert_range(tracked.frames(&part));
                }
            }
        }
        log.add_unknown(UnknownReason::ScanFailed, &failed);
    }

    /// Adds slots for memory that came since the last closing. Their pages are unknown until the next.
    fn take_up_new(&mut self, mappings: &[Mapping], stopped: Option<&mut Stopped>, found: &mut Found) -> Result<(), RecordError> {
        if self.was_replaced(mappings) {
            self.note(Happening::Exec);
            self.writes.follow(stopped)?;
            self.layout.clear();
            found.slots_changed = true;
        }
        let wanted = match &self.guest {
            _ if self.source.is_some() => maps::of_source(mappings),
            Some(guest) => guest.wanted(mappings),
            None => maps::chosen(mappings, &self.regions).collect(),
        };
        let changes = self.layout.follow(self.pid, mappings, &wanted, self.page_limit);
        if changes.beyond_limit > 0 && !std::mem::replace(&mut self.limit_reached, true) {
            let mib = changes.beyond_limit >> 20;
            self.note(Happening::Message(format!("{mib} MiB left out: the limit of {} pages is reached", self.page_limit)));
        }
        // What was plugged in may be of a kind that the guest did not begin with.
        let untrackable = self.guest.as_ref().map_or(0, |guest| guest.untrackable(mappings));
        if std::mem::replace(&mut self.untrackable, untrackable) < untrackable {
            let mib = untrackable >> 20;
            self.note(Happening::Message(format!("{mib} MiB of guest memory left out: they cannot be tracked soundly")));
        }
        let mut new = PageBitmap::new(self.layout.frame_end());
        for slot in &changes.added {
            new.insert_range(slot.base.0..slot.end().0);
            self.writes.add(slot.hva.0..slot.hva_end().0);
        }
        found.log.add_unknown(UnknownReason::Unarmed, &new);
        found.slots_changed |= !changes.added.is_empty() || !changes.removed.is_empty();
        Ok(())
    }

    /// True if the descriptors we hold belong to an address space that the target has left.
    fn was_replaced(&mut self, mappings: &[Mapping]) -> bool {
        let probe = mappings.iter().find(|mapping| mapping.start < 1 << 47);
        probe.is_some_and(|mapping| {
            self.writes.mapped(mapping.start..mapping.start + 4096, &mut |_| ()).is_err_and(|error| is_gone(&error))
        })
    }

    /// Finds the pages that hold data, are mapped, and are mapped by huge entries.
    fn look(&mut self, mappings: &[Mapping], found: &mut Found) -> Result<(), RecordError> {
        for tracked in self.layout.iter() {
            for part in tracked.shown(mappings) {
                let shared = tracked.slot.backing == Backing::Shared;
                let (populated, present, huge) = (&mut found.populated, &mut found.present, &mut found.huge);
                let looked = self.writes.mapped(part.clone(), &mut |extent| {
                    let frames = tracked.frames(&(extent.start.0..extent.end.0));
                    if extent.holds_data && !shared {
                        populated.insert_range(frames.clone());
                    }
                    if extent.present {
                        present.insert_range(frames.clone());
                    }
                    if extent.huge {
                        huge.insert_range(frames);
                    }
                });
                looked.map_err(|error| RecordError::System { what: "look up the target's pages", error })?;
                if shared {
                    tracked.populated_of_file(&part, populated);
                }
            }
        }
        Ok(())
    }

    /// Takes the events of this epoch, and adds to the log what they say beyond the scan.
    fn take_events(&mut self, end: Nanos, found: &mut Found) -> (Vec<Access>, Lost) {
        self.events.drain();
        let (mut accesses, mut lost) = self.events.take_until(end);
        // Memory that went away in this epoch has no slot any more, so nobody could say where its events lie.
        let pages = self.layout.pages();
        let all = accesses.len();
        accesses.retain(|access| pages.contains(access.gfn));
        lost.outside += (all - accesses.len()) as u64;
        let shared = self.layout.pages_of(Backing::Shared);
        let mut dropped = self.dropped_unseen(&shared, found);
        let mut from_outside = PageBitmap::new(self.layout.frame_end());
        for access in &accesses {
            let was_mapped = self.present.contains(access.gfn) && shared.contains(access.gfn);
            if access.kind == AccessKind::Read && was_mapped {
                dropped.insert(access.gfn);
            }
            // The target stands still, but another process may write into it just before its marks are cleared.
            if access.kind == AccessKind::Write && access.time >= found.scan_start && self.writes.needs_stop() {
                from_outside.insert(access.gfn);
            }
        }
        found.log.add_unknown(UnknownReason::MappingDropped, &dropped);
        found.log.add_unknown(UnknownReason::OtherMapper, &from_outside);
        let events = self.events.take_control_until(end);
        let Effects { discarded, others, notes } = self.control.apply(events, &self.layout);
        found.log.discarded.union_with(&discarded);
        if others {
            found.log.add_unknown(UnknownReason::OtherMapper, &shared);
        }
        self.notes.extend(notes);
        (accesses, lost)
    }

    /// Shared pages of which a write may have been forgotten, because their mapping is or may have been dropped since.
    fn dropped_unseen(&mut self, shared: &PageBitmap, found: &Found) -> PageBitmap {
        if !self.writes.forgets_dropped_mappings() {
            return PageBitmap::new(self.layout.frame_end());
        }
        let may_drop = writes::may_drop_shared();
        let mut pages = shared.clone();
        pages.intersect_with(&found.populated);
        if !std::mem::replace(&mut self.may_drop, may_drop) && !may_drop {
            pages.intersect_with(&self.present);
            pages.subtract(&found.present);
        }
        pages
    }

    /// Adds what this epoch cannot know, or, where all content was compared, what the comparison found.
    fn settle(
        &mut self,
        log: &mut DirtyLog,
        direct: DirectIo,
        lost: &Lost,
        rest: &Rest,
        differs: Option<&PageBitmap>,
    ) -> Closing {
        let blind_to_discards = self.layout.has_shared() && (!self.events.sees_control() || lost.control > 0);
        let in_flight = self.in_flight.close(rest, direct);
        let gaps = [
            (blind_to_discards, UnknownReason::LostControl, self.layout.pages_of(Backing::Shared)),
            (in_flight, UnknownReason::DirectIo, self.layout.pages()),
        ];
        let mut closing = if matches!(rest, Rest::None) { Closing::Running } else { Closing::Quiescent };
        for (open, reason, mut pages) in gaps {
            if !open {
                continue;
            }
            if let Some(differs) = differs {
                closing = Closing::Rechecked;
                pages.intersect_with(differs);
                pages.subtract(&log.all());
            }
            log.add_unknown(reason, &pages);
        }
        closing
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

    /// Pages written since the last closing, which stay as they are. Pages that cannot be told count as written.
    pub(crate) fn written_since(&mut self) -> PageBitmap {
        let mut log = DirtyLog { written: PageBitmap::new(self.layout.frame_end()), ..DirtyLog::default() };
        match self.mappings() {
            Some(mappings) => self.add_late_writes(&mappings, &mut log),
            None => log.written.union_with(&self.layout.pages()),
        }
        log.all()
    }

    /// Copies frames of one slot. Holes read as zeros and stay holes.
    pub(crate) fn read_frames(&mut self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "these frames are in no memory slot");
        let (first, end) = (Gfn(frames.start), Gfn(frames.end));
        let holds = |tracked: &&Tracked| tracked.slot.base <= first && end <= tracked.slot.end();
        let tracked = self.layout.iter().find(holds).ok_or_else(gone)?;
        if tracked.read_file(first, into)? {
            return Ok(());
        }
        let start = tracked.slot.hva_of(first).0;
        if tracked.slot.backing == Backing::Shared {
            // Without the file nobody can tell a hole from a page that is only not mapped.
            return process::read_memory(self.pid, start, into);
        }
        into.fill(0);
        let mut parts = Vec::new();
        self.writes.mapped(start..start + into.len() as u64, &mut |extent| {
            if extent.holds_data {
                parts.push((extent.start.0 - start) as usize..(extent.end.0 - start) as usize);
            }
        })?;
        parts.into_iter().try_for_each(|part| process::read_memory(self.pid, start + part.start as u64, &mut into[part]))
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
