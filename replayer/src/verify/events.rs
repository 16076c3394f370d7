//! The dirty log against the events: which pages of it had a write event, and why the others had none.

use std::collections::BTreeMap;

use pagesieve_core::{AccessKind, Gfn, Hva, MemSlot, MemSlots, Nanos, PAGE_SHIFT, PageBitmap};
use pagesieve_traces::{Frame, Header};

/// Bytes that one event speaks for where memory is mapped by huge entries.
const HUGE: u64 = 2 << 20;

/// Name of the hook that sees pages which the kernel takes by itself, in the names of hooks.
const KERNEL_TAKEN: &str = "handle_mm_fault";

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
    /// Pages of the dirty log without a write event, by cause, summed over epochs.
    pub(super) without: BTreeMap<String, u64>,
    sees_kernel_taken: bool,
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
            without: BTreeMap::new(),
            sees_kernel_taken: header.hooks.iter().any(|hook| hook.contains(KERNEL_TAKEN)),
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
        touched.union_with(&carried);
        self.explain(frame, &touched);
        if frame.lost.any() {
            return;
        }
        let mut seen = frame.log.written.clone();
        self.written += seen.count();
        seen.intersect_with(&touched);
        self.seen += seen.count();
    }

    /// Sorts the pages of the log that had no write event by why they had none.
    fn explain(&mut self, frame: &Frame, touched: &PageBitmap) {
        let mut without = frame.log.all();
        without.subtract(touched);
        let mut written = frame.log.written.clone();
        written.subtract(touched);
        let mut discarded = frame.log.discarded.clone();
        discarded.subtract(touched);
        discarded.subtract(&written);
        let (all, written, discarded) = (without.count(), written.count(), discarded.count());
        let cause = match (frame.lost.any(), self.sees_kernel_taken) {
            (true, _) => "lost",
            (false, false) => "taken_by_kernel",
            (false, true) => "unexplained",
        };
        for (cause, pages) in [(cause, written), ("discarded", discarded), ("unknown", all - written - discarded)] {
            if pages > 0 {
                *self.without.entry(cause.to_owned()).or_default() += pages;
            }
        }
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

    use pagesieve_core::{Access, Epoch, Origin};
    use pagesieve_traces::{DirtyLog, Lost, Machine, Target, UnknownReason};

    use super::*;

    /// Pages 1 and 2 written, 1 of them with an event; 3 discarded; 4 unknown.
    fn frame(epoch: u32, lost: u64) -> Frame {
        let pages = |all: &[u64]| {
            let mut pages = PageBitmap::new(8);
            all.iter().for_each(|&page| _ = pages.insert(Gfn(page)));
            pages
        };
        let mut log = DirtyLog { written: pages(&[1, 2]), discarded: pages(&[2, 3]), ..DirtyLog::default() };
        log.add_unknown(UnknownReason::DirectIo, &pages(&[1, 4]));
        let kind = AccessKind::Write;
        let event = Access { time: Nanos(1), gfn: Gfn(1), kind, origin: Origin::User, cpu: 0, tid: 1 };
        let lost = Lost { per_cpu: vec![lost], ..Lost::default() };
        let (scan_start, end) = (Nanos(5), Nanos(6));
        Frame { epoch: Epoch(epoch), scan_start, end, events: vec![event], log, lost, ..Frame::default() }
    }

    fn header(hooks: &[&str]) -> Header {
        let slot = MemSlot { base: Gfn(0), pages: 8, hva: Hva(0x1000), backing: Backing::Shared, numa_node: None };
        Header {
            tool: String::new(),
            created: 0,
            clock: String::new(),
            machine: Machine::default(),
            source: pagesieve_traces::EventSource::Ebpf,
            hooks: hooks.iter().map(|&hook| hook.to_owned()).collect(),
            arming: String::new(),
            target: Target::default(),
            class: None,
            epoch_length: Nanos(1),
            fingerprints: false,
            fingerprint_key: None,
            slots: vec![slot],
        }
    }

    #[test]
    fn a_page_without_an_event_has_one_cause() {
        let causes = |hooks: &[&str], lost| {
            let mut coverage = EventCoverage::new(&header(hooks));
            coverage.take(&frame(0, 0));
            assert!(coverage.without.is_empty(), "the baseline is not looked at");
            coverage.take(&frame(1, lost));
            coverage.without.into_iter().collect::<Vec<_>>()
        };
        let expected =
            |cause: &str| [(cause, 1), ("discarded", 1), ("unknown", 1)].map(|(cause, pages)| (cause.to_owned(), pages));
        let sorted = |mut all: Vec<(String, u64)>| {
            all.sort_by_key(|(cause, _)| (cause == "unknown", cause == "discarded"));
            all
        };
        assert_eq!(sorted(causes(&["tp_btf/page_fault_user"], 0)), expected("taken_by_kernel"));
        assert_eq!(sorted(causes(&["fentry/handle_mm_fault"], 0)), expected("unexplained"));
        assert_eq!(sorted(causes(&["tp_btf/page_fault_user"], 3)), expected("lost"));
    }

    #[test]
    fn a_write_during_the_scan_speaks_for_the_next_epoch_as_well_and_a_split_huge_page_for_all_its_pages() {
        let seen = |change: &dyn Fn(&mut Frame, &mut Frame)| {
            let mut coverage = EventCoverage::new(&header(&[]));
            let (mut before, mut frame) = (frame(0, 0), frame(1, 0));
            before.events.clear();
            frame.events.clear();
            change(&mut before, &mut frame);
            coverage.take(&before);
            coverage.take(&frame);
            (coverage.written, coverage.seen)
        };
        let event = |time, gfn| Access { time: Nanos(time), gfn: Gfn(gfn), ..self::frame(0, 0).events[0] };
        let huge = |frame: &mut Frame| frame.huge = frame.log.written.clone();
        assert_eq!(seen(&|_, _| ()), (2, 0));
        assert_eq!(seen(&|before, _| before.events.push(event(5, 1))), (2, 1), "the scan began at 5");
        assert_eq!(seen(&|before, _| before.events.push(event(4, 1))), (2, 0));
        assert_eq!(seen(&|_, frame| frame.events.push(event(7, 1))), (2, 1));
        let touched = |frame: &mut Frame| frame.events.push(event(7, 2));
        assert_eq!(seen(&|_, frame| (huge(frame), touched(frame)).1), (2, 2));
        assert_eq!(seen(&|before, frame| (huge(before), touched(frame)).1), (2, 2), "it was split since");
    }

    #[test]
    fn a_huge_page_is_cut_by_host_address_and_by_the_slot() {
        let slot = MemSlot { base: Gfn(1000), pages: 1024, hva: Hva(0x4030_0000), backing: Backing::Shared, numa_node: None };
        assert_eq!(huge_page(&slot, Gfn(1000)), 1000..1256, "0x40300000 lies in the middle of a huge page");
        assert_eq!(huge_page(&slot, Gfn(1256)), 1256..1768);
        assert_eq!(huge_page(&slot, Gfn(2023)), 1768..2024);
    }
}
