//! Pages that the scan reported written against pages with a write event.

use pagesieve_core::{AccessKind, Gfn, Hva, MemSlot, MemSlots, Nanos, PAGE_SHIFT, PageBitmap};
use pagesieve_traces::{Frame, Header};

/// Bytes that one event speaks for where memory is mapped by huge entries.
const HUGE: u64 = 2 << 20;

/// Counts how many written pages had an event. Epochs in which events were lost are left out.
#[derive(Debug)]
pub(super) struct EventCoverage {
    slots: MemSlots,
    first: bool,
    /// Pages touched while the log of the epoch before was read: those writes may be in either log.
    carried: PageBitmap,
    /// Huge mappings at the end of the epoch before: one that was split since still took one fault for all.
    huge: PageBitmap,
    /// Pages with a write event, summed over epochs.
    pub(super) event_pages: u64,
    /// Pages written, and those of them with an event.
    pub(super) written: u64,
    pub(super) seen: u64,
}

impl EventCoverage {
    pub(super) fn new(header: &Header) -> Self {
        Self {
            slots: table(&header.slots),
            first: true,
            carried: PageBitmap::default(),
            huge: PageBitmap::default(),
            event_pages: 0,
            written: 0,
            seen: 0,
        }
    }

    pub(super) fn take(&mut self, frame: &Frame) {
        if let Some(slots) = &frame.slots {
            self.slots = table(slots);
        }
        let mut huge = std::mem::replace(&mut self.huge, frame.huge.clone());
        huge.union_with(&frame.huge);
        let mut touched = self.written_since(frame, &huge, Nanos(0));
        let during_scan = self.written_since(frame, &huge, frame.scan_start);
        let carried = std::mem::replace(&mut self.carried, during_scan);
        if std::mem::replace(&mut self.first, false) {
            return;
        }
        let mut pages = PageBitmap::new(self.slots.frame_end());
        let writes = frame.events.iter().filter(|event| event.kind == AccessKind::Write);
        self.event_pages += writes.filter(|event| pages.insert(event.gfn)).count() as u64;
        if frame.lost.any() {
            return;
        }
        touched.union_with(&carried);
        let mut seen = frame.log.written.clone();
        self.written += seen.count();
        seen.intersect_with(&touched);
        self.seen += seen.count();
    }

    /// Pages that a write event since `from` speaks for.
    fn written_since(&self, frame: &Frame, huge: &PageBitmap, from: Nanos) -> PageBitmap {
        let mut pages = PageBitmap::new(self.slots.frame_end());
        for event in frame.events.iter().filter(|event| event.kind == AccessKind::Write && event.time >= from) {
            match self.slots.slot_of(event.gfn) {
                Some(slot) if huge.contains(event.gfn) => pages.insert_range(huge_page(slot, event.gfn)),
                _ => _ = pages.insert(event.gfn),
            }
        }
        pages
    }
}

/// The frames of the slot that lie in the same 2 MiB of host addresses. Guest addresses may be aligned differently.
fn huge_page(slot: &MemSlot, gfn: Gfn) -> std::ops::Range<u64> {
    let start = slot.hva_of(gfn).0 / HUGE * HUGE;
    let frame = |hva: Hva| slot.base.0 + ((hva.0 - slot.hva.0) >> PAGE_SHIFT);
    frame(Hva(start.max(slot.hva.0)))..frame(Hva(start.saturating_add(HUGE).min(slot.hva_end().0)))
}

/// A table of slots that cannot be built is an error of the replay, which comes first: here it stays empty.
fn table(slots: &[MemSlot]) -> MemSlots {
    let mut table = MemSlots::new();
    for &slot in slots {
        if table.insert(slot).is_err() {
            return MemSlots::new();
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use pagesieve_core::Backing;

    use super::*;

    #[test]
    fn a_huge_page_is_cut_by_host_address_and_by_the_slot() {
        let slot = MemSlot { base: Gfn(1000), pages: 1024, hva: Hva(0x4030_0000), backing: Backing::Shared, numa_node: None };
        assert_eq!(huge_page(&slot, Gfn(1000)), 1000..1256, "0x40300000 lies in the middle of a huge page");
        assert_eq!(huge_page(&slot, Gfn(1256)), 1256..1768);
        assert_eq!(huge_page(&slot, Gfn(2023)), 1768..2024);
    }
}
