//! Cuts a part of a trace out: some of its epochs, some of its pages.
//!
//! A trace begins with a baseline. A cut that begins in the middle makes one: the state at the end of the epoch before the first
//! one that is kept. Nothing in it is proven (every page is unknown), and its content is what the trace told so far. From there on
//! each epoch says what it said before, so a replay of the cut proves and loses exactly what the epochs themselves do.
//!
//! Two things could go wrong and are seen to here. The scan that closed the epoch before may share events with the first epoch
//! that is kept, so the baseline keeps the events of that scan. And where content was not compared in the epochs before, the next
//! comparison tells changes that those epochs logged; their logs are added to the first epoch that is kept, as unknown.

mod content;
mod pages;

use std::io::{Read, Write};

use pagesieve_core::{Epoch, MemSlot, Nanos};
use pagesieve_traces::{DirtyLog, End, Frame, Header, ReadError, Reader, UnknownReason, WriteError, Writer};
use serde::Serialize;

use crate::whole::{TOOL, add_message, all_pages, is_cut_off, seconds};
use content::Content;
use pages::Pages;

/// Which part of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The first epoch is the one that this time of the recording falls into. `None`: the first of all.
    pub from: Option<Nanos>,
    /// The last epoch is the last one that begins before this time. `None`: the last of all.
    pub to: Option<Nanos>,
    /// Ranges of guest frames. `None`: all.
    pub pages: Option<Vec<std::ops::Range<u64>>>,
}

/// What was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// Frames written, the baseline included.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Guest frames in the slots at the start.
    pub pages: u64,
    /// Memory slots at the start.
    pub slots: u64,
    /// Nanoseconds that all times are less than in the input.
    pub shift_ns: u64,
    /// Bytes written.
    pub bytes: u64,
    /// What is missing of the input, if it was read to a damaged or missing part.
    pub incomplete: Option<String>,
    /// How the input ended, if the cut reaches there.
    #[serde(skip)]
    pub end: Option<End>,
}

/// Why nothing can be cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The part has no length.
    #[error("select a part: it ends at {to}, before it begins at {from}; give a --to that is later than --from")]
    Reversed {
        /// Its start, in words.
        from: String,
        /// Its end, in words.
        to: String,
    },
    /// The trace is over before, or not begun.
    #[error("select a part: no epoch lies there; the trace goes from {from} to {to}")]
    NoSuchTime {
        /// Start of the trace, in words.
        from: String,
        /// Its end, in words.
        to: String,
    },
    /// No memory slot meets the ranges of frames.
    #[error("select pages: no memory slot holds any of them at the start of the part; the slots are {slots}")]
    NoSuchPages {
        /// The slots, in words.
        slots: String,
    },
    /// A range of pages is empty.
    #[error("select pages: {start:#x}..{end:#x} holds none; write the first frame and one past the last")]
    EmptyRange {
        /// As given.
        start: u64,
        /// As given.
        end: u64,
    },
    /// There is no frame.
    #[error("cut the trace: it holds no whole frame; record again, for at least one epoch")]
    NoFrames,
    /// The slots reach too far for a baseline.
    #[error("cut the trace: guest memory reaches frame {0:#x}, more than a replay can hold; select fewer pages with --gfn")]
    TooManyFrames(u64),
    /// More epochs than a trace can number.
    #[error("cut the trace: it has too many epochs")]
    TooManyEpochs,
}

/// Writes the selected part as a trace of its own. `progress` is told the bytes of the input that were read.
///
/// # Errors
/// See [`CutError`]. Nothing is written if the selection is empty. An input that was cut off is no error: see [`Cut::end`].
pub fn cut<R: Read, W: Write>(
    reader: &mut Reader<R>,
    output: W,
    selection: &Selection,
    progress: &mut dyn FnMut(u64),
) -> Result<Cut, CutError> {
    let from = selection.from.unwrap_or_default();
    if let Some(to) = selection.to.filter(|&to| to <= from) {
        return Err(CutError::Reversed { from: seconds(from.0), to: seconds(to.0) });
    }
    let header = reader.header().clone();
    let mut past = Past::new(&header);
    let mut cutter = Cutter::new(output, header, Pages::new(selection)?);
    let mut current = reader.next_frame()?.ok_or(CutError::NoFrames)?;
    let begin = current.start;
    loop {
        progress(reader.position());
        let next = reader.next_frame()?;
        if next.as_ref().is_some_and(|next| next.start <= from) {
            past.absorb(current);
        } else if next.is_none() && from >= current.end && from > begin {
            return Err(CutError::NoSuchTime { from: seconds(begin.0), to: seconds(current.end.0) });
        } else {
            let ends_before = |frame: &Frame| selection.to.is_some_and(|to| frame.start >= to);
            if ends_before(&current) {
                return Err(CutError::NoSuchTime { from: seconds(begin.0), to: seconds(current.end.0) });
            }
            if cutter.writer.is_none() {
                cutter.begin(&mut past, &mut current, selection)?;
            }
            cutter.write(current)?;
            if next.as_ref().is_some_and(ends_before) {
                return cutter.finish(None);
            }
        }
        match next {
            Some(frame) => current = frame,
            None => return cutter.finish(reader.end().cloned()),
        }
    }
}

/// The epochs before the first one that is kept.
struct Past {
    slots: Vec<MemSlot>,
    /// `None` if the trace tells nothing of content.
    content: Option<Content>,
    last: Option<Frame>,
}

impl Past {
    fn new(header: &Header) -> Self {
        Self { slots: header.slots.clone(), content: header.fingerprints.then(Content::default), last: None }
    }

    fn absorb(&mut self, mut frame: Frame) {
        if let Some(slots) = frame.slots.take() {
            self.slots = slots;
        }
        if let Some(content) = &mut self.content {
            content.absorb(&frame, &self.slots);
        }
        frame.summaries = None;
        self.last = Some(frame);
    }
}

/// Writes frames with their times, numbers and pages changed.
struct Cutter<W: Write> {
    output: Option<W>,
    writer: Option<Writer<W>>,
    header: Header,
    pages: Pages,
    slots: Vec<MemSlot>,
    shift: u64,
    epoch: u32,
    events: u64,
    first_slots: (u64, u64),
}

impl<W: Write> Cutter<W> {
    fn new(output: W, header: Header, pages: Pages) -> Self {
        let (slots, first_slots) = (Vec::new(), (0, 0));
        Self { output: Some(output), writer: None, header, pages, slots, shift: 0, epoch: 0, events: 0, first_slots }
    }

    /// Writes the header and, unless the first epoch of all is kept, a baseline.
    fn begin(&mut self, past: &mut Past, first: &mut Frame, selection: &Selection) -> Result<(), CutError> {
        let header = &mut self.header;
        header.tool = TOOL.to_owned();
        header.slots = self.pages.of_slots(&past.slots);
        if header.slots.is_empty() && selection.pages.is_some() {
            return Err(CutError::NoSuchPages { slots: names(&past.slots) });
        }
        self.slots = header.slots.clone();
        self.first_slots = (self.slots.len() as u64, self.slots.iter().map(|slot| slot.pages).sum());
        let baseline = past.last.take().map(|before| baseline(before, &self.slots)).transpose()?;
        self.shift = baseline.as_ref().map_or(0, |baseline| baseline.start.0);
        if header.created > 0 {
            header.created += self.shift / Nanos::SECOND.0;
        }
        let text = self.told(selection);
        let Some(output) = self.output.take() else { return Ok(()) };
        self.writer = Some(Writer::new(output, &self.header)?);
        let Some(mut baseline) = baseline else {
            add_message(&mut first.notes, first.start, text);
            return Ok(());
        };
        if let Some(content) = &past.content {
            baseline.summaries = Some(content.summaries(&baseline.populated));
            // These changes will be told by the next comparison, and the epochs that logged them are gone.
            let mut unseen = content.unseen().clone();
            pages::keep_only(&mut unseen, first.slots.as_ref().unwrap_or(&past.slots));
            first.log.add_unknown(UnknownReason::Unarmed, &unseen);
        }
        add_message(&mut baseline.notes, baseline.start, text);
        self.write(baseline)
    }

    /// What the note in the first frame says.
    fn told(&self, selection: &Selection) -> String {
        let time = |time: Option<Nanos>, none: &str| time.map_or(none.to_owned(), |time| seconds(time.0));
        let mut text = format!(
            "cut by pagesieve {TOOL}: from {} to {} of a longer recording",
            time(selection.from, "the start"),
            time(selection.to, "the end")
        );
        if self.shift > 0 {
            text += &format!("; times here are {} ns less than there", self.shift);
        }
        if let Some(pages) = &selection.pages {
            let ranges: Vec<_> = pages.iter().map(|range| format!("{:#x}..{:#x}", range.start, range.end)).collect();
            text += &format!("; only pages {}, what lies outside of them was left out", ranges.join(","));
        }
        text
    }

    fn write(&mut self, mut frame: Frame) -> Result<(), CutError> {
        frame.epoch = Epoch(self.epoch);
        self.epoch = self.epoch.checked_add(1).ok_or(CutError::TooManyEpochs)?;
        let shift = |time: &mut Nanos| time.0 = time.0.saturating_sub(self.shift);
        [&mut frame.start, &mut frame.scan_start, &mut frame.end].into_iter().for_each(shift);
        frame.events.iter_mut().for_each(|event| shift(&mut event.time));
        frame.notes.iter_mut().for_each(|note| shift(&mut note.time));
        if let Some(slots) = frame.slots.take() {
            let slots = self.pages.of_slots(&slots);
            if slots != self.slots {
                frame.slots = Some(slots.clone());
                self.slots = slots;
            }
        }
        self.pages.restrict(&mut frame, &self.slots);
        self.events += frame.events.len() as u64;
        if let Some(writer) = &mut self.writer {
            writer.write_frame(&frame)?;
        }
        Ok(())
    }

    fn finish(self, end: Option<End>) -> Result<Cut, CutError> {
        let bytes = self.writer.map(Writer::finish).transpose()?.unwrap_or_default();
        Ok(Cut {
            frames: self.epoch.into(),
            events: self.events,
            slots: self.first_slots.0,
            pages: self.first_slots.1,
            shift_ns: self.shift,
            bytes,
            incomplete: is_cut_off(end.as_ref()),
            end,
        })
    }
}

/// The end of an epoch as the start of a trace: an interval of the length of its scan, in which nothing is proven.
fn baseline(before: Frame, slots: &[MemSlot]) -> Result<Frame, CutError> {
    let all = all_pages(slots).map_err(CutError::TooManyFrames)?;
    let mut log = DirtyLog::default();
    log.add_unknown(UnknownReason::Unarmed, &all);
    Ok(Frame {
        start: before.scan_start,
        scan_start: before.scan_start,
        end: before.end,
        closing: before.closing,
        events: before.events.into_iter().filter(|event| event.time >= before.scan_start).collect(),
        log,
        populated: before.populated,
        huge: before.huge,
        ..Frame::default()
    })
}

fn names(slots: &[MemSlot]) -> String {
    const MOST: usize = 8;
    let mut names: Vec<_> = slots.iter().take(MOST).map(|slot| format!("{}..{}", slot.base, slot.end())).collect();
    if slots.len() > MOST {
        names.push(format!("and {} more", slots.len() - MOST));
    }
    names.join(", ")
}
