//! Discards, remappings and forks: what they do to the dirty log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use pagesieve_core::{Nanos, PageBitmap};
use pagesieve_ebpf::abi::{self, ControlEvent};
use pagesieve_traces::{Happening, Note};

use crate::layout::Layout;
use crate::maps::FileId;
use crate::sharers;

/// What is under way while an epoch closes.
#[derive(Default)]
pub(crate) struct Control {
    /// Discards that have begun and not returned, by thread.
    open: BTreeMap<u32, PageBitmap>,
    /// Children of the target that may still share its memory.
    family: BTreeSet<u32>,
}

/// What the control events of one epoch mean.
pub(crate) struct Effects {
    /// Pages that may have lost their data.
    pub(crate) discarded: PageBitmap,
    /// True if a child could write to shared memory at any time of the epoch.
    pub(crate) others: bool,
    pub(crate) notes: Vec<Note>,
}

impl Control {
    /// Applies the events of an epoch, in order.
    pub(crate) fn apply(&mut self, events: Vec<(Nanos, ControlEvent)>, layout: &Layout) -> Effects {
        let mut effects =
            Effects { discarded: PageBitmap::new(layout.frame_end()), others: !self.family.is_empty(), notes: Vec::new() };
        for pages in self.open.values() {
            effects.discarded.union_with(pages);
        }
        // A fixed mapping reports no return, so it stays open for one more epoch and no longer.
        self.open.retain(|&thread, _| thread != FIXED_MAPPINGS);
        for (time, event) in events {
            match event.op {
                abi::FORK => {
                    self.family.insert(event.argument);
                    effects.others = true;
                    effects.notes.push(Note { time, what: Happening::Forked { child: event.argument } });
                }
                abi::EXECUTED | abi::EXITED => {
                    // It could write until now.
                    self.family.remove(&event.tgid);
                }
                _ if event.returned != 0 => {
                    self.open.remove(&event.tid);
                }
                _ => self.begin(&event, layout, &mut effects.discarded),
            }
        }
        // Should the report of a child's end be lost, /proc still knows.
        self.family.retain(|&child| sharers::maps_shared(child, layout));
        effects
    }

    fn begin(&mut self, event: &ControlEvent, layout: &Layout, discarded: &mut PageBitmap) {
        let range = event.start..event.start.saturating_add(event.length);
        let pages = match event.op {
            abi::FALLOCATE => pages_of_descriptor(event, &range, layout),
            // Sent only for processes on the target's page tables.
            _ => sharers::pages_of_addresses(layout, &range),
        };
        if pages.is_empty() {
            return;
        }
        discarded.union_with(&pages);
        let thread = if event.op == abi::MMAP_FIXED { FIXED_MAPPINGS } else { event.tid };
        self.open.entry(thread).or_default().union_with(&pages);
    }
}

/// Stands for all threads in fixed mappings. Thread 0 is the idle task and makes no system calls.
const FIXED_MAPPINGS: u32 = 0;

/// The pages behind a range of an open file. A descriptor that is closed by now could have been any file.
fn pages_of_descriptor(event: &ControlEvent, range: &std::ops::Range<u64>, layout: &Layout) -> PageBitmap {
    match fs::metadata(format!("/proc/{}/fd/{}", event.tgid, event.argument)) {
        Ok(meta) => sharers::pages_of_file(layout, &FileId::of(&meta), range),
        Err(_) => layout.pages_of(pagesieve_core::Backing::Shared),
    }
}
