//! Restricts slots and frames to some guest frames.

use std::ops::Range;

use pagesieve_core::{Gfn, Hva, MemSlot, PAGE_SIZE, PageBitmap};
use pagesieve_traces::Frame;

use super::{CutError, Selection};

/// The guest frames that are kept.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// In order and apart from each other; `None` keeps all.
    ranges: Option<Vec<Range<u64>>>,
}

impl Pages {
    pub(super) fn new(selection: &Selection) -> Result<Self, CutError> {
        let Some(mut ranges) = selection.pages.clone() else { return Ok(Self::default()) };
        if let Some(range) = ranges.iter().find(|range| range.is_empty()) {
            return Err(CutError::EmptyRange { start: range.start, end: range.end });
        }
        ranges.sort_by_key(|range| range.start);
        let mut apart: Vec<Range<u64>> = Vec::new();
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Ok(Self { ranges: Some(apart) })
    }

    fn contains(&self, gfn: Gfn) -> bool {
        let Some(ranges) = &self.ranges else { return true };
        let after = ranges.partition_point(|range| range.start <= gfn.0);
        ranges[..after].last().is_some_and(|range| gfn.0 < range.end)
    }

    /// The parts of the slots that are kept; their addresses move along.
    pub(super) fn of_slots(&self, slots: &[MemSlot]) -> Vec<MemSlot> {
        let Some(ranges) = &self.ranges else { return slots.to_vec() };
        let part = |slot: &MemSlot, range: &Range<u64>| {
            let (start, end) = (range.start.max(slot.base.0), range.end.min(slot.base.0.saturating_add(slot.pages)));
            let hva = Hva(slot.hva.0.saturating_add(start.saturating_sub(slot.base.0).saturating_mul(PAGE_SIZE)));
            (start < end).then(|| MemSlot { base: Gfn(start), pages: end - start, hva, ..*slot })
        };
        slots.iter().flat_map(|slot| ranges.iter().filter_map(move |range| part(slot, range))).collect()
    }

    /// Drops from a frame what does not belong to the pages. `slots` are those in force, restricted already.
    pub(super) fn restrict(&self, frame: &mut Frame, slots: &[MemSlot]) {
        if self.ranges.is_none() {
            return;
        }
        frame.events.retain(|event| self.contains(event.gfn));
        let log = &mut frame.log;
        let sets = [&mut log.written, &mut log.discarded, &mut frame.populated, &mut frame.huge];
        sets.into_iter().chain(log.unknown.iter_mut().map(|set| &mut set.pages)).for_each(|set| keep_only(set, slots));
        log.unknown.retain(|set| !set.pages.is_empty());
        if let Some(summaries) = &mut frame.summaries {
            summaries.retain(|page| self.contains(page.gfn));
        }
    }
}

/// Removes the pages that lie in no slot. The set ends where the last slot does.
pub(super) fn keep_only(set: &mut PageBitmap, slots: &[MemSlot]) {
    let mut inside: Vec<_> = slots.iter().map(|slot| slot.base.0..slot.end().0).collect();
    inside.sort_by_key(|range| range.start);
    let mut at = 0;
    for range in inside {
        set.remove_range(at..range.start);
        at = range.end;
    }
    set.shrink(at);
}

#[cfg(test)]
mod tests {
    use pagesieve_core::{Backing, MemSlots};

    use super::*;

    fn slot(base: u64, pages: u64, hva: u64) -> MemSlot {
        MemSlot { base: Gfn(base), pages, hva: Hva(hva), backing: Backing::Shared, numa_node: Some(1) }
    }

    fn pages(ranges: &[Range<u64>]) -> Pages {
        Pages::new(&Selection { pages: Some(ranges.to_vec()), ..Selection::default() }).unwrap()
    }

    #[test]
    fn slots_are_narrowed_and_split_and_keep_their_addresses() {
        let whole = [slot(0, 100, 0x10_0000), slot(200, 100, 0x90_0000)];
        let kept = pages(&[250..260, 10..20, 90..210, 15..30, 400..500]).of_slots(&whole);
        let table = MemSlots::from_slots(kept.iter().copied()).unwrap();
        let ranges: Vec<_> = table.iter().map(|slot| (slot.base.0, slot.end().0)).collect();
        assert_eq!(ranges, [(10, 30), (90, 100), (200, 210), (250, 260)]);
        for part in &kept {
            let from = whole.iter().find(|slot| slot.base <= part.base && part.end() <= slot.end()).unwrap();
            assert_eq!((part.hva, part.numa_node), (from.hva_of(part.base), Some(1)));
        }
        assert!(pages(&[110..200, 300..301]).of_slots(&whole).is_empty(), "the hole belongs to no slot");
    }

    #[test]
    fn sets_keep_what_lies_in_slots_and_end_with_them() {
        let mut set = PageBitmap::new(1000);
        set.insert_range(0..1000);
        keep_only(&mut set, &[slot(200, 10, 0), slot(64, 64, 0x900_0000)]);
        assert_eq!((set.ranges().collect::<Vec<_>>(), set.end()), (vec![64..128, 200..210], 210));
        keep_only(&mut set, &[]);
        assert_eq!((set.count(), set.end()), (0, 0));
    }

    #[test]
    fn a_range_without_pages_is_an_error() {
        let selection = Selection { pages: Some(vec![1..2, 5..5]), ..Selection::default() };
        assert!(matches!(Pages::new(&selection), Err(CutError::EmptyRange { start: 5, end: 5 })));
    }
}
