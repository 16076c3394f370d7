//! The user-space twin of the kernel's page table: when each page was last touched, how often, and whether it was written.
//!
//! This is evidence about *use*. It orders and defers; only `aging-literal` reads "not used" as "need not be sent".

use alloc::vec;
use alloc::vec::Vec;

use crate::summary::{TrackerStats, share};
use crate::{Access, AccessKind, Gfn, MemSlots, Nanos};

/// Last access, access count and two flags of every page, a word of 8 bytes each: recording an access changes one word.
///
/// ```text
///  63                 20 19       2    1       0
/// +---------------------+----------+-------+--------+
/// | last access         | count    | wrote | marked |
/// +---------------------+----------+-------+--------+
/// ```
/// *Last access* counts units of 1024 ns: 208 days. *Count* is 0 for a page without an entry and stops at its largest value.
/// *Wrote*: one of the accesses was a write. *Marked*: [`Tracker::mark_unused`] found it aged out, and it was not touched since.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    words: Vec<u64>,
    threshold: Nanos,
    min_access: u32,
    outside: u64,
}

const MARKED: u64 = 1;
const WROTE: u64 = 1 << 1;
const COUNT_SHIFT: u32 = 2;
const COUNT_MAX: u64 = (1 << 18) - 1;
const TIME_SHIFT: u32 = 20;
const TIME_MAX: u64 = (1 << 44) - 1;
/// log2 of the nanoseconds in a unit of time.
const UNIT_SHIFT: u32 = 10;

/// What is known about the use of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// Time of the last access, rounded down to 1024 ns.
    pub last_access: Nanos,
    /// Accesses seen; stays at 2^18 - 1 instead of wrapping.
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
        Self { words: vec![0; frame_end as usize], threshold, min_access, outside: 0 }
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
        self.words.resize((frame_end as usize).max(self.words.len()), 0);
    }

    /// Forgets the pages of a range, whose memory went away.
    pub fn forget(&mut self, pages: core::ops::Range<u64>) {
        let end = pages.end.min(self.words.len() as u64);
        self.words[pages.start.min(end) as usize..end as usize].fill(0);
    }

    /// Records one access. A frame beyond the table is counted, see [`Tracker::outside`].
    pub fn record(&mut self, access: Access) {
        let Some(word) = self.words.get_mut(access.gfn.index()) else {
            self.outside += 1;
            return;
        };
        // Events of different CPUs may come slightly out of order.
        let time = (access.time.0 >> UNIT_SHIFT).min(TIME_MAX).max(*word >> TIME_SHIFT);
        let count = ((*word >> COUNT_SHIFT & COUNT_MAX) + 1).min(COUNT_MAX);
        let wrote = *word & WROTE | if access.kind == AccessKind::Write { WROTE } else { 0 };
        *word = time << TIME_SHIFT | count << COUNT_SHIFT | wrote;
    }

    /// The entry of a page, or `None` if it was never touched.
    #[must_use]
    pub fn page_info(&self, gfn: Gfn) -> Option<PageInfo> {
        let word = *self.words.get(gfn.index())?;
        (word != 0).then_some(PageInfo {
            last_access: Nanos(word >> TIME_SHIFT << UNIT_SHIFT),
            count: (word >> COUNT_SHIFT & COUNT_MAX) as u32,
            written: word & WROTE != 0,
            aged_out: word & MARKED != 0,
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
        for word in self.words.iter_mut().filter(|word| **word != 0 && **word & MARKED == 0) {
            if now.since(Nanos(*word >> TIME_SHIFT << UNIT_SHIFT)) > self.threshold {
                *word |= MARKED;
                marked += 1;
            }
        }
        marked
    }

    /// The words, by frame, as they would be if the clock stood at `then` instead of `now`: what [`Tracker::restore`] takes.
    #[must_use]
    pub fn saved(&self, now: Nanos, then: Nanos) -> Vec<u64> {
        self.words.iter().map(|&word| rebased(word, now, then)).collect()
    }

    /// Takes over saved words, by a clock that stands at `then` when this tracker's stands at `now`. Ages are kept. Pages that
    /// have an entry here already keep it.
    pub fn restore(&mut self, words: &[u64], then: Nanos, now: Nanos) {
        for (word, &old) in self.words.iter_mut().zip(words).filter(|(word, _)| **word == 0) {
            *word = rebased(old, then, now);
        }
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
            dirty_pages: frames().filter(|&gfn| self.page_info(gfn).is_some_and(|page| page.written)).count() as u64,
            used_pages: total - unused,
            unused_percent: share(unused, total) * 100.0,
        }
    }
}

/// The word of a page whose age is the same by another clock. A page older than that clock counts as old as the clock.
fn rebased(word: u64, from: Nanos, to: Nanos) -> u64 {
    if word == 0 {
        return 0;
    }
    let age = from.since(Nanos(word >> TIME_SHIFT << UNIT_SHIFT));
    let time = (to.since(age).0 >> UNIT_SHIFT).min(TIME_MAX);
    time << TIME_SHIFT | word & ((1 << TIME_SHIFT) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backing, Hva, MemSlot, Origin};

    /// A time in units of the table.
    fn at(units: u64) -> Nanos {
        Nanos(units << UNIT_SHIFT)
    }

    fn access(gfn: u64, time: u64, kind: AccessKind) -> Access {
        Access { time: at(time), gfn: Gfn(gfn), kind, origin: Origin::User, cpu: 0, tid: 1 }
    }

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(4, at(10), 2);
        tracker.record(access(1, 5, AccessKind::Write));
        tracker.record(access(1, 3, AccessKind::Read));
        tracker.record(access(2, 0, AccessKind::Read));
        tracker.record(access(9, 0, AccessKind::Read));
        tracker
    }

    #[test]
    fn the_three_ways_to_be_unused() {
        let tracker = tracker();
        assert!(tracker.is_page_unused(Gfn(0), at(5)), "no entry");
        assert!(tracker.is_page_unused(Gfn(2), at(5)), "fewer accesses than the minimum");
        assert!(!tracker.is_page_unused(Gfn(1), at(15)), "exactly the threshold is not beyond it");
        assert!(tracker.is_page_unused(Gfn(1), at(16)), "aged out");
        assert_eq!(tracker.outside(), 1);
        let info = tracker.page_info(Gfn(1)).unwrap();
        assert_eq!((info.last_access, info.count, info.written), (at(5), 2, true));
        assert_eq!(tracker.page_info(Gfn(2)).unwrap().last_access, at(0), "time 0 is an entry too");
    }

    #[test]
    fn a_mark_lasts_until_the_next_access() {
        let mut tracker = tracker();
        tracker.set_min_access_count(1);
        assert_eq!(tracker.mark_unused(at(12)), 1, "only page 2: pages without an entry are not counted");
        assert_eq!(tracker.mark_unused(at(12)), 0);
        assert!(tracker.page_info(Gfn(2)).unwrap().aged_out);
        tracker.set_aging_threshold(at(1000));
        assert!(tracker.is_page_unused(Gfn(2), at(12)));
        tracker.record(access(2, 13, AccessKind::Read));
        assert!(tracker.is_hot(Gfn(2), at(13)));
    }

    #[test]
    fn a_table_grows_forgets_and_never_shrinks() {
        let mut tracker = tracker();
        tracker.grow(2);
        assert!(tracker.page_info(Gfn(2)).is_some());
        tracker.grow(10);
        tracker.record(access(9, 7, AccessKind::Read));
        tracker.forget(2..9);
        assert_eq!([1, 2, 9].map(|page| tracker.page_info(Gfn(page)).is_some()), [true, false, true]);
        tracker.forget(9..100);
        assert_eq!(tracker.page_info(Gfn(9)), None, "frames beyond the table are none");
    }

    #[test]
    fn an_earlier_table_keeps_its_ages() {
        let mut later = Tracker::new(3, at(10), 2);
        later.record(access(2, 103, AccessKind::Write));
        later.restore(&tracker().saved(at(7), at(1007)), at(1010), at(107));
        assert_eq!(later.page_info(Gfn(0)), None);
        let info = later.page_info(Gfn(1)).unwrap();
        assert_eq!(
            (info.last_access, info.count, info.written),
            (at(102), 2, true),
            "5 units old: 2 when it was saved, and 3 since"
        );
        assert_eq!(later.page_info(Gfn(2)).unwrap().last_access, at(103), "the younger entry wins");
    }

    #[test]
    fn counts_and_times_stop_at_their_largest() {
        let mut tracker = Tracker::new(1, at(10), 2);
        for _ in 0..=COUNT_MAX {
            tracker.record(access(0, u64::MAX >> UNIT_SHIFT, AccessKind::Read));
        }
        let info = tracker.page_info(Gfn(0)).unwrap();
        assert_eq!((info.count, info.last_access, info.written), (COUNT_MAX as u32, at(TIME_MAX), false));
    }

    #[test]
    fn statistics_cover_the_slots_only() {
        let mut slots = MemSlots::new();
        let slot = MemSlot { base: Gfn(1), pages: 3, hva: Hva(0x1000), backing: Backing::Shared, numa_node: None };
        slots.insert(slot).unwrap();
        let stats = tracker().stats(&slots, at(5));
        assert_eq!((stats.total_pages, stats.unused_pages, stats.used_pages, stats.dirty_pages), (3, 2, 1, 1));
        assert!((stats.unused_percent - 66.666).abs() < 0.01);
    }
}
