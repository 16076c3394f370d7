//! Checks what a trace says: whether its facts can be true together.

use std::collections::BTreeMap;
use std::io::Read;

use pagesieve_core::{Access, Epoch, Gfn, MemSlots, Nanos, PageBitmap};
use serde::Serialize;

use crate::codec;
use crate::error::ReadError;
use crate::model::{Frame, Header};
use crate::reader::{End, Reader};

/// What a check of a whole trace found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// Frames checked.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// True if the recorder finished the file.
    pub complete: bool,
    /// What contradicts the format's rules; the first of each kind.
    pub problems: Vec<Problem>,
}

impl Validation {
    /// True if nothing contradicts the rules. A file that was cut can be valid.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }
}

/// A rule that a trace breaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Epoch in which it was seen first.
    pub epoch: Epoch,
    /// Which rule, and what was found.
    pub what: String,
    /// How often it was seen in all.
    pub times: u64,
}

/// Reads the rest of a trace and checks structure and meaning.
///
/// # Errors
/// The trace cannot be read to its end; see [`ReadError`]. Broken rules of meaning are no error but [`Validation::problems`].
pub fn validate<R: Read>(reader: &mut Reader<R>) -> Result<Validation, ReadError> {
    let mut checker = Checker::new(reader.header());
    let mut events = 0;
    let mut frames = 0;
    while let Some(frame) = reader.next_frame()? {
        checker.check(&frame);
        events += frame.events.len() as u64;
        frames += 1;
    }
    let complete = reader.end() == Some(&End::Complete);
    Ok(Validation { frames, events, complete, problems: checker.finish() })
}

/// Checks frames one after the other against the rules that `FORMAT.md` lists under "What must be true".
#[derive(Debug)]
pub struct Checker {
    slots: MemSlots,
    fingerprints: bool,
    before: Option<Before>,
    epoch: Epoch,
    problems: BTreeMap<&'static str, Problem>,
}

/// What the next frame is compared with.
#[derive(Debug)]
struct Before {
    epoch: Epoch,
    scan_start: Nanos,
    end: Nanos,
}

impl Checker {
    /// A checker for the frames behind this header.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        // Reader and writer have refused a contradictory table already.
        let slots = codec::slot_table(&header.slots).unwrap_or_default();
        Self { slots, fingerprints: header.fingerprints, before: None, epoch: Epoch(0), problems: BTreeMap::new() }
    }

    /// Checks the next frame.
    pub fn check(&mut self, frame: &Frame) {
        self.epoch = frame.epoch;
        if let Some(slots) = &frame.slots {
            match codec::slot_table(slots) {
                Ok(table) => self.slots = table,
                Err(damage) => self.report("memory slots", || damage.to_string()),
            }
        }
        self.check_times(frame);
        self.check_events(frame);
        self.check_sets(frame);
        self.check_summaries(frame);
        self.check_notes(frame);
        self.before = Some(Before { epoch: frame.epoch, scan_start: frame.scan_start, end: frame.end });
    }

    /// What was found, in the order of the epochs.
    #[must_use]
    pub fn finish(self) -> Vec<Problem> {
        let mut problems: Vec<_> = self.problems.into_values().collect();
        problems.sort_by_key(|problem| problem.epoch);
        problems
    }

    fn report(&mut self, rule: &'static str, what: impl FnOnce() -> String) {
        let epoch = self.epoch;
        let first = || Problem { epoch, what: format!("{rule}: {}", what()), times: 0 };
        self.problems.entry(rule).or_insert_with(first).times += 1;
    }

    fn check_times(&mut self, frame: &Frame) {
        let expected = self.before.as_ref().map_or(Epoch(0), |before| Epoch(before.epoch.0.wrapping_add(1)));
        if frame.epoch != expected {
            self.report("epochs count up from 0 without gaps", || format!("{} where {expected} was due", frame.epoch));
        }
        if frame.start > frame.scan_start || frame.scan_start > frame.end {
            self.report("a frame starts, is scanned, ends", || {
                format!("start {}, scan {}, end {}", frame.start.0, frame.scan_start.0, frame.end.0)
            });
        }
        let end = self.before.as_ref().map_or(Nanos(0), |before| before.end);
        if frame.start < end {
            self.report("a frame starts after the end of the one before", || format!("{} before {}", frame.start.0, end.0));
        }
    }

    fn check_events(&mut self, frame: &Frame) {
        if !frame.events.is_sorted_by_key(|event| event.time) {
            self.report("events are in the order of their time", String::new);
        }
        // An event inside the scan that closed the frame before may have missed that frame.
        let from = self.before.as_ref().map_or(frame.start, |before| before.scan_start.min(frame.start));
        let early = |event: &&Access| event.time < from || event.time > frame.end;
        if let Some(event) = frame.events.iter().find(early) {
            self.report("events lie inside their epoch", || format!("{} is not in {}..={}", event.time.0, from.0, frame.end.0));
        }
        if let Some(gfn) = frame.events.iter().map(|event| event.gfn).find(|&gfn| self.slots.slot_of(gfn).is_none()) {
            self.report("events lie in a memory slot", || format!("page {gfn}"));
        }
    }

    fn check_sets(&mut self, frame: &Frame) {
        let log = &frame.log;
        let sets = [&log.written, &log.discarded, &frame.populated, &frame.huge];
        for set in sets.into_iter().chain(log.unknown.iter().map(|set| &set.pages)) {
            if set.end() > self.slots.frame_end() {
                let (end, limit) = (set.end(), self.slots.frame_end());
                self.report("sets of pages end with the memory", || format!("{end:#x} is beyond {limit:#x}"));
            }
            if let Some(page) = first_outside(set, &self.slots) {
                self.report("sets of pages lie in memory slots", || format!("page {page}"));
            }
        }
        let mut huge = frame.huge.clone();
        huge.subtract(&frame.populated);
        if let Some(page) = huge.iter().next() {
            self.report("huge pages are populated", || format!("page {page}"));
        }
    }

    fn check_summaries(&mut self, frame: &Frame) {
        let Some(summaries) = &frame.summaries else { return };
        if !self.fingerprints {
            self.report("only a trace with fingerprints has page summaries", String::new);
        }
        if !summaries.is_sorted_by(|a, b| a.gfn < b.gfn) {
            self.report("page summaries are in the order of their pages", String::new);
        }
        for summary in summaries {
            let gfn = summary.gfn;
            if self.slots.slot_of(gfn).is_none() {
                self.report("page summaries lie in a memory slot", || format!("page {gfn}"));
            }
            if summary.compressed > 4096 || summary.delta.is_some_and(|delta| delta > 4096) {
                self.report("a page takes at most 4096 bytes", || format!("page {gfn}"));
            }
            if summary.content.0 != 0 && !frame.populated.contains(gfn) {
                self.report("only populated pages hold data", || format!("page {gfn}"));
            }
        }
    }

    fn check_notes(&mut self, frame: &Frame) {
        if !frame.notes.is_sorted_by_key(|note| note.time) {
            self.report("notes are in the order of their time", String::new);
        }
    }
}

fn first_outside(set: &PageBitmap, slots: &MemSlots) -> Option<Gfn> {
    let inside: u64 = slots.iter().map(|slot| set.count_range(slot.base.0..slot.end().0)).sum();
    if inside == set.count() {
        return None;
    }
    set.iter().find(|&gfn| slots.slot_of(gfn).is_none())
}
