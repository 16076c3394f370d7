//! What the scans cannot see: pages that events, discards, other processes and I/O in flight put in doubt.

use pagesieve_core::{Access, AccessKind, Backing, Nanos, PageBitmap};
use pagesieve_traces::{Closing, DirtyLog, Lost, UnknownReason};

use super::{Found, Observer};
use crate::control::Effects;
use crate::rest::Rest;
use crate::sharers::DirectIo;
use crate::writes;

impl Observer {
    /// Takes the events of this epoch, and adds to the log what they say beyond the scan.
    pub(super) fn take_events(&mut self, end: Nanos, found: &mut Found) -> (Vec<Access>, Lost) {
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
    pub(super) fn settle(
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
}
