//! From an address to an event.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use pagesieve_ebpf_abi::{AccessEvent, MAX_SLOTS, PageWord, Slot};

use crate::maps::{self, EVENTS, PAGES, SLOTS, TABLE};

/// Wake nobody: user space polls. Waking for each event costs ten times the event.
pub const NO_WAKEUP: u64 = 1;

const PAGE_SHIFT: u64 = 12;
/// Halvings that find one of 128 slots.
const HALVINGS: u32 = 8;

/// Places an address in a slot, updates the page's word and emits an event.
#[inline(always)]
pub fn report(address: u64, kind: u8, origin: u8, tid: u32) {
    let Some(gfn) = frame_of(address) else {
        maps::count(|counters| counters.outside += 1);
        return;
    };
    let time = unsafe { bpf_ktime_get_ns() };
    match PAGES.get_ptr_mut(gfn as u32) {
        // SAFETY: the pointer is into the map. Two CPUs may race for one word; one access is then not counted, and both were at
        // about the same time.
        Some(word) if gfn <= u64::from(u32::MAX) => unsafe {
            *word = PageWord(*word).touched(time - maps::start(), kind, origin).0;
        },
        _ => maps::count(|counters| counters.beyond_table += 1),
    }
    let cpu = unsafe { bpf_get_smp_processor_id() };
    // A CPU without a ring loses its events, and counts them. Written in place: a copy through the stack costs a third more.
    match EVENTS.get(cpu).and_then(|ring| ring.reserve(0)) {
        Some(mut entry) => {
            entry.write(AccessEvent { time, gfn, tid, cpu: cpu as u16, kind, origin });
            entry.submit(NO_WAKEUP);
            maps::count(|counters| counters.events += 1);
        }
        None => maps::count(|counters| counters.lost += 1),
    }
}

/// Binary search in the table in use.
#[inline(always)]
fn frame_of(address: u64) -> Option<u64> {
    let table = *TABLE.get(0)?;
    let offset = (table >> 32) as u32 * MAX_SLOTS;
    let (mut low, mut high) = (0, (table as u32).min(MAX_SLOTS));
    for _ in 0..HALVINGS {
        if low >= high {
            break;
        }
        let middle = (low + high) / 2;
        let slot: &Slot = SLOTS.get(offset + middle)?;
        if address < slot.start {
            high = middle;
        } else if address >= slot.end {
            low = middle + 1;
        } else {
            return Some(slot.base + ((address - slot.start) >> PAGE_SHIFT));
        }
    }
    None
}
