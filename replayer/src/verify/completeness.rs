//! Changed pages against the dirty log.

use pagesieve_core::summary::share;
use pagesieve_core::{Epoch, Gfn, MemSlot, PageBitmap};
use pagesieve_traces::{Closing, ContentId, Frame, Header};

/// Follows the content of every page and looks for changes that the log does not know.
#[derive(Debug)]
pub(super) struct Completeness {
    by_content: bool,
    first: bool,
    slots: Vec<MemSlot>,
    content: Vec<ContentId>,
    populated: PageBitmap,
    /// Everything logged since content was looked at last.
    logged: PageBitmap,
    changed: u64,
    /// Of the changed pages, those in epochs whose log was not made by comparing contents; and of these, those in the log.
    judged: u64,
    found: u64,
    missed: u64,
    first_missed: Option<(Epoch, Gfn)>,
}

impl Completeness {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            by_content: header.fingerprints,
            first: true,
            slots: header.slots.clone(),
            content: Vec::new(),
            populated: PageBitmap::default(),
            logged: PageBitmap::default(),
            changed: 0,
            judged: 0,
            found: 0,
            missed: 0,
            first_missed: None,
        }
    }

    pub(super) fn take(&mut self, frame: &Frame) {
        if !self.by_content {
            return;
        }
        let fresh = self.take_slots(frame);
        self.logged.union_with(&frame.log.all());
        let Some(summaries) = &frame.summaries else { return };
        let mut changed = PageBitmap::new(self.end());
        for summary in summaries.iter().filter(|summary| frame.populated.contains(summary.gfn)) {
            self.set(summary.gfn, summary.content, &mut changed);
        }
        // A page without data reads as zero, whether or not somebody wrote that down.
        let mut dropped = self.populated.clone();
        dropped.subtract(&frame.populated);
        for gfn in dropped.iter() {
            self.set(gfn, ContentId(0), &mut changed);
        }
        self.populated = frame.populated.clone();
        changed.subtract(&fresh);
        self.judge(frame, &changed);
        self.logged.clear();
        self.first = false;
    }

    fn set(&mut self, gfn: Gfn, content: ContentId, changed: &mut PageBitmap) {
        if let Some(before) = self.content.get_mut(gfn.index())
            && std::mem::replace(before, content) != content
        {
            changed.insert(gfn);
        }
    }

    fn judge(&mut self, frame: &Frame, changed: &PageBitmap) {
        if self.first {
            return;
        }
        let mut missed = changed.clone();
        missed.subtract(&self.logged);
        let (all, out) = (changed.count(), missed.count());
        self.changed += all;
        if frame.closing != Closing::Rechecked {
            self.judged += all;
            self.found += all - out;
        }
        self.missed += out;
        if let Some(gfn) = missed.iter().next() {
            self.first_missed.get_or_insert((frame.epoch, gfn));
        }
    }

    /// Makes room for the slots of the frame. Returns the pages whose content before is not known, because their slot is new.
    fn take_slots(&mut self, frame: &Frame) -> PageBitmap {
        let before = match &frame.slots {
            Some(slots) => std::mem::replace(&mut self.slots, slots.clone()),
            None => self.slots.clone(),
        };
        let end = self.end();
        let mut fresh = PageBitmap::new(end);
        for slot in self.slots.iter().filter(|slot| !before.contains(slot)) {
            fresh.insert_range(slot.base.0..slot.end().0);
        }
        for slot in before.iter().filter(|slot| !self.slots.contains(slot)) {
            // Memory that went away did not change.
            self.populated.remove_range(slot.base.0..slot.end().0);
            let pages = slot.base.index()..slot.end().index().min(self.content.len());
            self.content[pages].fill(ContentId(0));
        }
        self.content.resize(self.content.len().max(end as usize), ContentId(0));
        self.logged.grow(end);
        fresh
    }

    fn end(&self) -> u64 {
        self.slots.iter().map(|slot| slot.end().0).max().unwrap_or(0)
    }

    /// Pages that changed, over all epochs but the first.
    pub(super) fn changed(&self) -> Option<u64> {
        self.by_content.then_some(self.changed)
    }

    pub(super) fn recall(&self) -> Option<f64> {
        let share = if self.judged == 0 { 1.0 } else { share(self.found, self.judged) };
        self.by_content.then_some(share)
    }

    pub(super) fn violation(&self) -> Option<String> {
        let (epoch, gfn) = self.first_missed?;
        Some(format!("{} changed pages are not in the dirty log of their epoch, first page {gfn} in epoch {epoch}", self.missed))
    }
}
