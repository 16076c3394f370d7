//! Joins recordings of one guest that were made one after the other.
//!
//! What the guest did between two recordings is unknowable. So the baseline of the second one becomes an epoch of the joined trace
//! that begins where the first one ended and in which every page is unknown: whatever was known of a page before is not believed
//! behind it. Numbers of contents count anew in each recording; they are moved apart, so that pages of two recordings never count
//! as equal. That costs a block that is sent once too often, and never a page.
//!
//! A trace of several machines side by side would be another thing, and is not made: a trace has one clock, one table of slots and
//! one dirty log, and every reader relies on it. `replay` and `report` take several traces at once.

use std::io::{Read, Write};

use pagesieve_core::{Epoch, MemSlot, Nanos};
use pagesieve_traces::{Frame, Header, ReadError, Reader, UnknownReason, WriteError, Writer};
use serde::Serialize;

use crate::whole::{TOOL, add_message, all_pages, is_cut_off, seconds};

/// Numbers of contents stay below this; a replay uses higher ones for its own purposes.
const MOST_CONTENTS: u32 = 1 << 31;

/// One of the recordings.
#[derive(Debug)]
pub struct Part<R: Read> {
    /// What to call it in messages and notes.
    pub name: String,
    /// It, before its first frame.
    pub reader: Reader<R>,
}

/// What was joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// The recordings, in the order of their time.
    pub parts: Vec<String>,
    /// Frames written.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// From the start to the end of the joined trace, in nanoseconds.
    pub duration_ns: u64,
    /// Bytes written.
    pub bytes: u64,
    /// What is missing of a part, if it was read to a damaged or missing place.
    pub incomplete: Vec<String>,
    /// True if one of the parts is damaged, not merely cut off.
    #[serde(skip)]
    pub damaged: bool,
}

/// Why recordings cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A part cannot be read.
    #[error("join {name}: {error}")]
    Read {
        /// The part.
        name: String,
        /// Why.
        #[source]
        error: ReadError,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Fewer than two parts.
    #[error("join recordings: there is one only; name two or more")]
    TooFew,
    /// A part without a frame.
    #[error("join {name}: it holds no whole frame; leave it out")]
    NoFrames {
        /// The part.
        name: String,
    },
    /// Two parts are not of the same guest, or not recorded in the same way.
    #[error(
        "join {name}: {what} differs from that of {before}: {found} and not {expected}; only recordings of one guest can be joined"
    )]
    Differs {
        /// The part.
        name: String,
        /// The part before.
        before: String,
        /// What differs.
        what: &'static str,
        /// In this part.
        found: String,
        /// In the part before.
        expected: String,
    },
    /// Two parts were recorded at the same time.
    #[error(
        "join {name}: it begins at {begins}, before {before} ends at {ends}; only recordings one after the other can be joined"
    )]
    Overlap {
        /// The part.
        name: String,
        /// The part before.
        before: String,
        /// When it begins, from the start of the first part, in words.
        begins: String,
        /// When the part before ends, in words.
        ends: String,
    },
    /// Too many contents, epochs or frames.
    #[error("join {name}: {what} do not fit into one trace; join fewer recordings")]
    TooMuch {
        /// The part.
        name: String,
        /// What does not fit.
        what: &'static str,
    },
}

/// Writes the recordings as one trace. They are put in the order in which they were made; recordings that do not say when (such as
/// synthetic ones) stay in the order given. `progress` is told the bytes that were read in all.
///
/// # Errors
/// See [`MergeError`]. A part that was cut off is no error: what is whole of it is joined.
pub fn merge<R: Read, W: Write>(mut parts: Vec<Part<R>>, output: W, progress: &mut dyn FnMut(u64)) -> Result<Merged, MergeError> {
    if parts.len() < 2 {
        return Err(MergeError::TooFew);
    }
    if parts.iter().all(|part| part.reader.header().created > 0) {
        parts.sort_by_key(|part| part.reader.header().created);
    }
    check_headers(&parts)?;
    let mut joiner = Joiner::new(&parts, output)?;
    let mut read = 0;
    for part in parts {
        read += joiner.part(part, &mut |bytes| progress(read + bytes))?;
    }
    joiner.finish()
}

/// What must be the same in all parts.
fn check_headers<R: Read>(parts: &[Part<R>]) -> Result<(), MergeError> {
    for pair in parts.windows(2) {
        let [a, b] = [pair[0].reader.header(), pair[1].reader.header()];
        let facts = |header: &Header| {
            [
                ("the target", format!("{} {} ({})", header.target.kind, header.target.pid, header.target.command)),
                ("the source of events", format!("{:?}", header.source)),
                ("the machine", format!("{}, {} CPUs", header.machine.cpu, header.machine.cpus)),
                ("the use of page contents", header.fingerprints.to_string()),
            ]
        };
        let differs = facts(a).into_iter().zip(facts(b)).find(|(a, b)| a != b);
        if let Some(((what, expected), (_, found))) = differs {
            let (name, before) = (pair[1].name.clone(), pair[0].name.clone());
            return Err(MergeError::Differs { name, before, what, found, expected });
        }
    }
    Ok(())
}

/// The header of the whole: what holds for all parts.
fn header_of_all<R: Read>(parts: &[Part<R>]) -> Header {
    let headers = || parts.iter().map(|part| part.reader.header());
    let mut header = parts[0].reader.header().clone();
    header.tool = TOOL.to_owned();
    // A hook speaks for what its absence in an event means, so it must have been there all the time.
    header.hooks.retain(|hook| headers().all(|other| other.hooks.contains(hook)));
    if headers().any(|other| other.class != header.class) {
        header.class = None;
    }
    if headers().any(|other| other.arming != header.arming) {
        header.arming = "mixed".to_owned();
    }
    // One key cannot speak for numbers that were given out in several recordings.
    header.fingerprint_key = None;
    header
}

struct Joiner<W: Write> {
    writer: Writer<W>,
    created: u64,
    slots: Vec<MemSlot>,
    before: Option<String>,
    end: Nanos,
    epoch: u32,
    contents: u32,
    merged: Merged,
}

/// What is added to the numbers of one part.
struct Moved {
    time: u64,
    contents: u32,
}

impl<W: Write> Joiner<W> {
    fn new<R: Read>(parts: &[Part<R>], output: W) -> Result<Self, MergeError> {
        let header = header_of_all(parts);
        let parts = parts.iter().map(|part| part.name.clone()).collect();
        let merged = Merged { parts, frames: 0, events: 0, duration_ns: 0, bytes: 0, incomplete: Vec::new(), damaged: false };
        Ok(Self {
            writer: Writer::new(output, &header)?,
            created: header.created,
            slots: header.slots,
            before: None,
            end: Nanos(0),
            epoch: 0,
            contents: 0,
            merged,
        })
    }

    /// Appends a part. Returns its bytes.
    fn part<R: Read>(&mut self, part: Part<R>, progress: &mut dyn FnMut(u64)) -> Result<u64, MergeError> {
        let Part { name, mut reader } = part;
        let created = reader.header().created;
        self.check_slots(&name, &reader.header().slots)?;
        let mut moved = None;
        while let Some(mut frame) = reader.next_frame().map_err(|error| MergeError::Read { name: name.clone(), error })? {
            let first = moved.is_none();
            let moved = match &moved {
                Some(moved) => moved,
                None => moved.insert(Moved { time: self.offset(&name, created, &frame)?, contents: self.contents }),
            };
            self.shift(&name, &mut frame, moved)?;
            if let (true, Some(before)) = (first, self.before.clone()) {
                self.open_gap(&name, &before, &mut frame)?;
            }
            self.write(&name, frame)?;
            progress(reader.position());
        }
        if moved.is_none() {
            return Err(MergeError::NoFrames { name });
        }
        self.merged.damaged |= matches!(reader.end(), Some(pagesieve_traces::End::Damaged { .. }));
        self.merged.incomplete.extend(is_cut_off(reader.end()).map(|what| format!("{name}: {what}")));
        self.before = Some(name);
        Ok(reader.position())
    }

    fn check_slots(&self, name: &str, slots: &[MemSlot]) -> Result<(), MergeError> {
        let Some(before) = self.before.clone() else { return Ok(()) };
        let ordered = |slots: &[MemSlot]| {
            let mut slots = slots.to_vec();
            slots.sort_by_key(|slot| slot.base);
            slots
        };
        let (ours, theirs) = (ordered(&self.slots), ordered(slots));
        if ours == theirs {
            return Ok(());
        }
        let only = |these: &[MemSlot], others: &[MemSlot]| {
            let slot = these.iter().find(|slot| !others.contains(slot));
            slot.map_or("no other".to_owned(), |slot| format!("{}..{} at {}", slot.base, slot.end(), slot.hva))
        };
        let (found, expected) = (only(&theirs, &ours), only(&ours, &theirs));
        Err(MergeError::Differs { name: name.to_owned(), before, what: "a memory slot", found, expected })
    }

    /// Nanoseconds from the start of the whole to the start of a part: by the clock, whose seconds were rounded down.
    fn offset(&self, name: &str, created: u64, first: &Frame) -> Result<u64, MergeError> {
        let Some(before) = self.before.clone() else { return Ok(0) };
        if created == 0 || self.created == 0 {
            return Ok(self.end.since(first.start).0);
        }
        let second = Nanos::SECOND.0;
        let begins = created.saturating_sub(self.created).saturating_mul(second);
        if begins.saturating_add(second).saturating_add(first.start.0) < self.end.0 {
            let (begins, ends) = (seconds(begins), seconds(self.end.0));
            return Err(MergeError::Overlap { name: name.to_owned(), before, begins, ends });
        }
        Ok(begins.max(self.end.since(first.start).0))
    }

    fn shift(&mut self, name: &str, frame: &mut Frame, moved: &Moved) -> Result<(), MergeError> {
        let too_much = |what| MergeError::TooMuch { name: name.to_owned(), what };
        frame.epoch = Epoch(self.epoch);
        self.epoch = self.epoch.checked_add(1).ok_or_else(|| too_much("the epochs"))?;
        let times = [&mut frame.start, &mut frame.scan_start, &mut frame.end];
        let times = times.into_iter().chain(frame.events.iter_mut().map(|event| &mut event.time));
        for time in times.chain(frame.notes.iter_mut().map(|note| &mut note.time)) {
            time.0 = time.0.checked_add(moved.time).ok_or_else(|| too_much("the times"))?;
        }
        for page in frame.summaries.iter_mut().flatten().filter(|page| page.content.0 > 0) {
            let number = page.content.0.checked_add(moved.contents).filter(|&number| number < MOST_CONTENTS);
            page.content.0 = number.ok_or_else(|| too_much("the numbers of contents"))?;
            self.contents = self.contents.max(page.content.0);
        }
        Ok(())
    }

    /// The first frame of a later part covers the time in which nobody looked.
    fn open_gap(&mut self, name: &str, before: &str, frame: &mut Frame) -> Result<(), MergeError> {
        let too_much = |_| MergeError::TooMuch { name: name.to_owned(), what: "the guest's pages" };
        let all = all_pages(frame.slots.as_ref().unwrap_or(&self.slots)).map_err(too_much)?;
        frame.log.add_unknown(UnknownReason::Unarmed, &all);
        let gap = frame.start.since(self.end);
        frame.start = self.end;
        // There is no content before that a difference could refer to.
        frame.summaries.iter_mut().flatten().for_each(|page| page.delta = None);
        let text = format!("{name} begins, {} after the end of {before}; all pages are unknown until here", seconds(gap.0));
        add_message(&mut frame.notes, frame.start, text);
        Ok(())
    }

    fn write(&mut self, name: &str, mut frame: Frame) -> Result<(), MergeError> {
        if let Some(slots) = &frame.slots {
            self.slots = slots.clone();
        }
        if self.merged.frames == 0 {
            let text = format!("joined by pagesieve {TOOL} of {}; {name} begins", self.merged.parts.join(", "));
            add_message(&mut frame.notes, frame.start, text);
        }
        self.end = frame.end;
        self.merged.frames += 1;
        self.merged.events += frame.events.len() as u64;
        self.writer.write_frame(&frame)?;
        Ok(())
    }

    fn finish(self) -> Result<Merged, MergeError> {
        let bytes = self.writer.finish()?;
        Ok(Merged { bytes, duration_ns: self.end.0, ..self.merged })
    }
}
