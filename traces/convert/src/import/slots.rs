//! Which pages there are, and the memory slots made of them.

use std::collections::BTreeMap;
use std::ops::Range;

use pagesieve_core::{Backing, Blocks, Gfn, Hva, MemSlot, PAGE_SHIFT, PageBitmap};

use super::{ImportError, Seen};

/// Ranges this many pages apart or less are one slot.
const NEAR: u64 = 16;
/// Slots that are made at most; where more ranges lie apart, the nearest are joined.
const MOST_SLOTS: usize = 256;
/// From here on addresses belong to the kernel.
const USER_END: u64 = 1 << 63;

const CHUNK: u64 = 512;

/// The pages, by their address, that an access touches; `None` if no program has such addresses.
pub(super) fn pages(seen: &Seen) -> Option<Range<u64>> {
    let last = seen.start.checked_add(seen.length.checked_sub(1)?)?;
    (last < USER_END).then(|| seen.start >> PAGE_SHIFT..(last >> PAGE_SHIFT) + 1)
}

/// A set of pages by their address. Memory is that of the parts of 2 MiB that hold one.
#[derive(Debug, Default)]
pub(super) struct Touched {
    chunks: BTreeMap<u64, [u64; 8]>,
    count: u64,
    /// The page that was added last: most accesses are near the one before.
    last: Option<u64>,
}

impl Touched {
    pub(super) fn insert(&mut self, pages: Range<u64>) -> Result<(), ImportError> {
        if pages.end - pages.start > Blocks::MAX_FRAMES {
            return Err(ImportError::TooLarge);
        }
        if pages.end - pages.start == 1 && self.last.replace(pages.start) == Some(pages.start) {
            return Ok(());
        }
        let mut at = pages.start;
        while at < pages.end {
            let stop = pages.end.min((at / 64 + 1) * 64);
            let bits = (u64::MAX >> (64 - (stop - at))) << (at % 64);
            let word = &mut self.chunks.entry(at / CHUNK).or_default()[(at % CHUNK / 64) as usize];
            self.count += u64::from((bits & !*word).count_ones());
            *word |= bits;
            at = stop;
        }
        if self.count > Blocks::MAX_FRAMES { Err(ImportError::TooLarge) } else { Ok(()) }
    }

    /// The pages as maximal ranges in the order of their addresses.
    fn ranges(&self) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (chunk, words) in &self.chunks {
            for at in (0..CHUNK).filter(|at| words[(at / 64) as usize] & 1 << (at % 64) != 0) {
                let page = chunk * CHUNK + at;
                match ranges.last_mut() {
                    Some(range) if range.end == page => range.end += 1,
                    _ => ranges.push(page..page + 1),
                }
            }
        }
        ranges
    }
}

/// The memory slots, and where each address lies in them.
#[derive(Debug)]
pub(super) struct Layout {
    slots: Vec<MemSlot>,
    pages: u64,
}

impl Layout {
    pub(super) fn of(touched: Touched) -> Result<Self, ImportError> {
        let mut slots = Vec::new();
        let mut base = 0;
        for range in joined(touched.ranges()) {
            let pages = range.end - range.start;
            let hva = Hva(range.start << PAGE_SHIFT);
            // Nobody says what the memory is made of; shared memory is where more can go wrong.
            slots.push(MemSlot { base: Gfn(base), pages, hva, backing: Backing::Shared, numa_node: None });
            base += pages;
            if base > Blocks::MAX_FRAMES {
                return Err(ImportError::TooLarge);
            }
        }
        Ok(Self { slots, pages: base })
    }

    pub(super) fn slots(&self) -> &[MemSlot] {
        &self.slots
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    pub(super) fn all(&self) -> PageBitmap {
        let mut all = PageBitmap::new(self.pages);
        all.insert_range(0..self.pages);
        all
    }

    /// The frame of a page, by its address.
    pub(super) fn gfn(&self, page: u64) -> Option<Gfn> {
        let hva = Hva(page << PAGE_SHIFT);
        let after = self.slots.partition_point(|slot| slot.hva <= hva);
        let slot = self.slots[..after].last().filter(|slot| hva < slot.hva_end())?;
        Some(Gfn(slot.base.0 + (page - (slot.hva.0 >> PAGE_SHIFT))))
    }
}

/// Joins ranges that lie near each other, and as many more as it takes to be few, the nearest first.
fn joined(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut gaps: Vec<u64> = ranges.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    gaps.sort_unstable();
    // This many gaps may stay.
    let near = gaps.len().checked_sub(MOST_SLOTS).map_or(NEAR, |at| gaps[at].max(NEAR));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start - last.end <= near => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use pagesieve_core::{AccessKind, MemSlots, Origin};

    use super::*;

    fn layout(pages: &[u64]) -> Layout {
        let mut touched = Touched::default();
        pages.iter().for_each(|&page| touched.insert(page..page + 1).unwrap());
        Layout::of(touched).unwrap()
    }

    #[test]
    fn near_ranges_become_one_slot_and_frames_count_without_gaps() {
        let layout = layout(&[1000, 1001, 1017, 1034, 511, 512, 1001]);
        let slots: Vec<_> = layout.slots().iter().map(|slot| (slot.base.0, slot.pages, slot.hva.0 >> 12)).collect();
        assert_eq!(slots, [(0, 2, 511), (2, 35, 1000)], "16 pages between is near");
        assert_eq!(layout.pages(), 37);
        let gfns: Vec<_> = [510, 511, 512, 513, 999, 1000, 1034, 1035].map(|page| layout.gfn(page).map(|gfn| gfn.0)).into();
        assert_eq!(gfns, [None, Some(0), Some(1), None, None, Some(2), Some(36), None]);
        let far = self::layout(&[1, 19]);
        assert_eq!(far.slots().len(), 2, "17 pages between is far");
    }

    #[test]
    fn however_many_ranges_there_are_slots_are_few_and_every_page_has_a_frame() {
        // Pairs of ranges at growing distances.
        let pages: Vec<u64> = (0..1000).flat_map(|i| [i * i * 100 + i, i * i * 100 + i + 20 + i / 10]).collect();
        let layout = layout(&pages);
        assert!((2..=MOST_SLOTS).contains(&layout.slots().len()), "{}", layout.slots().len());
        MemSlots::from_slots(layout.slots().iter().copied()).unwrap();
        assert!(pages.iter().all(|&page| layout.gfn(page).is_some()));
    }

    #[test]
    fn an_access_is_of_every_page_that_it_touches() {
        let seen = |start, length| Seen { time: 0, start, length, kind: AccessKind::Read, origin: Origin::User, cpu: 0, tid: 0 };
        assert_eq!(pages(&seen(0x1fff, 1)), Some(1..2));
        assert_eq!(pages(&seen(0x1ffc, 8)), Some(1..3));
        assert_eq!(pages(&seen(0x1000, 0)), None);
        assert_eq!(pages(&seen(0xffff_ffff_8100_0000, 8)), None);
        assert_eq!(pages(&seen(u64::MAX, 8)), None);
    }

    #[test]
    fn more_memory_than_a_replay_holds_is_an_error() {
        let mut touched = Touched::default();
        assert!(matches!(touched.insert(0..Blocks::MAX_FRAMES + 1), Err(ImportError::TooLarge)));
    }
}
