//! What the scans say: which pages were written, which hold data, and which memory is new.

use pagesieve_core::{Backing, PageBitmap};
use pagesieve_traces::{DirtyLog, Happening, UnknownReason};

use super::{Found, Observer};
use crate::error::RecordError;
use crate::maps::{self, Mapping};
use crate::ptrace::Stopped;
use crate::target::is_gone;

impl Observer {
    /// Reads and re-arms all slots, takes up new memory, and looks which pages hold data.
    pub(super) fn read_log(&mut self, mappings: &[Mapping], stopped: Option<&mut Stopped>) -> Result<Found, RecordError> {
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
    pub(super) fn add_late_writes(&mut self, mappings: &[Mapping], log: &mut DirtyLog) {
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
}
