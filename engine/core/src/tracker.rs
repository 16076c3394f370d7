//! The user-space twin of the kernel's page table: when each page was last touched, how often, and whether it was written.
//!
//! This is evidence about *use*. It orders and defers; only `aging-literal` reads "not used" as "need not be sent".

use alloc::vec;
use alloc::vec::Vec;

use crate::summary::{TrackerStats, share};
use crate::{Access, AccessKind, Gfn, MemSlots, Nanos, PageBitmap};

/// Last access and access count of every page, as arrays indexed by frame: recording an access writes two words and two bits.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// Nanoseconds + 1 of the last access; 0 for a page without an entry, so that untouched memory stays untouched here too.
    last: Vec<u64>,
    count: Vec<u32>,
    written: PageBitmap,
    /// Pages that `mark_unused` found aged out and that were not touched since.
    aged_out: PageBitmap,
    threshold: Nanos,
    min_access: u32,
    outside: u64,
}

/// What is known about the use of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// Time of the last access.
    pub last_access: Nanos,
    /// Accesses seen; stays at its maximum instead of wrapping.
    pub count: u32,
    /// True if one of them was a write.
    pub written: bool,
    /// True if [`Tracker::mark_unused`] found it aged out and it was not touched since.
    pub aged_out: bool,
}

impl Tracker {
    /// A table without entries for frames `0..frame_end`, with the seed's two knobs.
    #[must_use]
    pub fn new(frame_end: u64, threshold: Nanos, min_access: u32) -> Self {
        let frames = frame_end as usize;
        Self {
            last: vec![0; frames],
            count: vec![0; frames],
            written: PageBitmap::new(frame_end),
            aged_out: PageBitmap::new(frame_end),
            threshold,
            min_access,
            outside: 0,
        }
    }

    /// Sets how long a page must rest before it counts as unused.
    pub fn set_aging_threshold(&mut self, threshold: Nanos) {
        self.threshold = threshold;
    }

    /// Sets how many accesses a page needs at least to count as used.
    pub fn set_min_access_count(&mut self, count: u32) {
        self.min_access = count;
    }

    /// Makes room for frames up to `frame_end`; entries stay.
    pub fn grow(&mut self, frame_end: u64) {
        let frames = (frame_end as usize).max(self.last.len());
        self.last.resize(frames, 0);
        self.count.resize(frames, 0);
        self.written.grow(frame_end);
        self.aged_out.grow(frame_end);
    }

    /// Forgets the pages of a range, whose memory went away.
    pub fn forget(&mut self, pages: core::ops::Range<u64>) {
        let end = pages.end.min(self.last.len() as u64);
        let range = pages.start.min(end) as usize..end as usize;
        self.last[range.clone()].fill(0);
        self.count[range].fill(0);
        self.written.remove_range(pages.clone());
        self.aged_out.remove_range(pages);
    }

    /// Records one access. A frame beyond the table is counted, see [`Tracker::outside`].
    pub fn record(&mut self, access: Access) {
        let at = access.gfn.index();
        let Some(last) = self.last.get_mut(at) else {
            self.outside += 1;
            return;
        };
        // Events of different CPUs may come slightly out of order.
        *last = (*last).max(access.time.0.saturating_add(1));
        self.count[at] = self.count[at].saturating_add(1);
        self.aged_out.remove(access.gfn);
        if access.kind == AccessKind::Write {
            self.written.insert(access.gfn);
        }
    }

    /// The entry of a page, or `None` if it was never touched.
    #[must_use]
    pub fn page_info(&self, gfn: Gfn) -> Option<PageInfo> {
        let last = *self.last.get(gfn.index())?;
        Some(PageInfo {
            last_access: Nanos(last.checked_sub(1)?),
            count: self.count[gfn.index()],
            written: self.written.contains(gfn),
            aged_out: self.aged_out.contains(gfn),
        })
    }

    /// The seed's rule: unused if there is no entry, if the last access is longer ago than the threshold, or if there were fewer
    /// accesses than the minimum. It proves nothing.
    #[must_use]
    pub fn is_page_unused(&self, gfn: Gfn, now: Nanos) -> bool {
        match self.page_info(gfn) {
            None => true,
            Some(page) => page.aged_out || now.since(page.last_access) > self.threshold || page.count < self.min_access,
        }
    }

    /// True if the page was touched within the threshold, and often enough: it will probably change again soon.
    #[must_use]
    pub fn is_hot(&self, gfn: Gfn, now: Nanos) -> bool {
        !self.is_page_unused(gfn, now)
    }

    /// Marks every page that has an entry and has aged out, until it is touched again; returns how many are newly marked.
    pub fn mark_unused(&mut self, now: Nanos) -> u64 {
        let mut marked = 0;
        for (at, &last) in self.last.iter().enumerate() {
            if last != 0 && now.since(Nanos(last - 1)) > self.threshold {
                marked += u64::from(self.aged_out.insert(Gfn(at as u64)));
            }
        }
        marked
    }

    /// Accesses to frames beyond the table.
    #[must_use]
    pub fn outside(&self) -> u64 {
        self.outside
    }

    /// The seed's statistics over the pages of all slots.
    #[must_use]
    pub fn stats(&self, slots: &MemSlots, now: Nanos) -> TrackerStats {
        let total = slots.pages();
        let frames = || slots.iter().flat_map(|slot| slot.base.0..slot.end().0).map(Gfn);
        let unused = frames().filter(|&gfn| self.is_page_unused(gfn, now)).count() as u64;
        TrackerStats {
            total_pages: total,
            unused_pages: unused,
            dirty_pages: slots.iter().map(|slot| self.written.count_range(slot.base.0..slot.end().0)).sum(),
            used_pages: total - unused,
            unused_percent: share(unused, total) * 100.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backing, Hva, MemSlot, Origin};

    fn access(gfn: u64, time: u64, kind: AccessKind) -> Access {
        Access { time: Nanos(time), gfn: Gfn(gfn), kind, origin: Origin::User, cpu: 0, tid: 1 }
    }

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(4, Nanos(10), 2);
        tracker.record(access(1, 5, AccessKind::Write));
        tracker.record(access(1, 3, AccessKind::Read));
        tracker.record(access(2, 0, AccessKind::Read));
        tracker.record(access(9, 0, AccessKind::Read));
        tracker
    }

    #[test]
    fn the_three_ways_to_be_unused() {
        let tracker = tracker();
        assert!(tracker.is_page_unused(Gfn(0), Nanos(5)), "no entry");
        assert!(tracker.is_page_unused(Gfn(2), Nanos(5)), "fewer accesses than the minimum");
        assert!(!tracker.is_page_unused(Gfn(1), Nanos(15)), "exactly the threshold is not beyond it");
        assert!(tracker.is_page_unused(Gfn(1), Nanos(16)), "aged out");
        assert_eq!(tracker.outside(), 1);
        let info = tracker.page_info(Gfn(1)).unwrap();
        assert_eq!((info.last_access, info.count, info.written), (Nanos(5), 2, true));
        assert_eq!(tracker.page_info(Gfn(2)).unwrap().last_access, Nanos(0), "time 0 is an entry too");
    }

    #[test]
    fn a_mark_lasts_until_the_next_access() {
        let mut tracker = tracker();
        tracker.set_min_access_count(1);
        assert_eq!(tracker.mark_unused(Nanos(12)), 1, "only page 2: pages without an entry are not counted");
        assert_eq!(tracker.mark_unused(Nanos(12)), 0);
        assert!(tracker.page_info(Gfn(2)).unwrap().aged_out);
        tracker.set_aging_threshold(Nanos(1000));
        assert!(tracker.is_page_unused(Gfn(2), Nanos(12)));
        tracker.record(access(2, 13, AccessKind::Read));
        assert!(tracker.is_hot(Gfn(2), Nanos(13)));
    }

    #[test]
    fn statistics_cover_the_slots_only() {
        let mut slots = MemSlots::new();
        let slot = MemSlot { base: Gfn(1), pages: 3, hva: Hva(0x1000), backing: Backing::Shared, numa_node: None };
        slots.insert(slot).unwrap();
        let stats = tracker().stats(&slots, Nanos(5));
        assert_eq!((stats.total_pages, stats.unused_pages, stats.used_pages, stats.dirty_pages), (3, 2, 1, 1));
        assert!((stats.unused_percent - 66.666).abs() < 0.01);
    }
}
