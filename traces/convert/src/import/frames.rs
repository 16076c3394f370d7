//! Makes frames of accesses, epoch by epoch.

use std::io::Write;
use std::ops::Range;

use pagesieve_core::{Access, AccessKind, Epoch, Gfn, Nanos, PageBitmap};
use pagesieve_traces::{DirtyLog, Frame, Happening, Header, Lost, Note, UnknownReason, Writer};

use super::slots::{self, Layout};
use super::{ImportError, Imported, Seen, Told, Tool};

/// Events in one frame. An epoch with more is cut into several frames, so that its memory has a limit.
const MOST_EVENTS: usize = 1 << 20;
/// Epochs without any access, one after the other, that are believed.
const MOST_QUIET: u64 = 100_000;

/// Writes the frames of an import.
pub(super) struct Frames<'a, W: Write> {
    writer: Writer<W>,
    layout: &'a Layout,
    all: PageBitmap,
    tool: Tool,
    epoch_length: u64,
    /// Time of the tool's clock that is 0 in the trace.
    zero: u64,
    epoch: Epoch,
    /// When the epoch in progress began, and when the grid ends it.
    start: u64,
    due: u64,
    latest: u64,
    events: Vec<Access>,
    /// Pages that have an event of each kind already, for tools that name every access.
    seen: [PageBitmap; 3],
    written: PageBitmap,
    lost: Lost,
    imported: Imported,
}

impl<'a, W: Write> Frames<'a, W> {
    /// Writes the header and the baseline: an instant in which nothing is proven.
    pub(super) fn new(output: W, header: &Header, layout: &'a Layout, tool: Tool, zero: u64) -> Result<Self, ImportError> {
        let all = layout.all();
        let empty = PageBitmap::new(layout.pages());
        let epoch_length = header.epoch_length.0.max(1);
        let mut frames = Self {
            writer: Writer::new(output, header)?,
            layout,
            tool,
            epoch_length,
            zero,
            epoch: Epoch(0),
            start: 0,
            due: epoch_length,
            latest: 0,
            events: Vec::new(),
            seen: [empty.clone(), empty.clone(), empty.clone()],
            written: empty,
            all,
            lost: Lost::default(),
            imported: Imported::default(),
        };
        let note = Note { time: Nanos(0), what: Happening::Message(tool.note().to_owned()) };
        let baseline = Frame { log: frames.unknown(), notes: vec![note], ..Frame::default() };
        frames.write(baseline)?;
        Ok(frames)
    }

    /// The next thing that the tool told.
    pub(super) fn take(&mut self, told: Told) -> Result<(), ImportError> {
        match told {
            Told::Access(seen) => self.access(&seen),
            Told::Lost(events) => {
                self.imported.lost = self.imported.lost.saturating_add(events);
                self.lose(events);
                Ok(())
            }
        }
    }

    fn access(&mut self, seen: &Seen) -> Result<(), ImportError> {
        let Some(pages) = slots::pages(seen) else {
            self.lost.outside += 1;
            self.imported.outside += 1;
            return Ok(());
        };
        let time = seen.time.saturating_sub(self.zero);
        if time < self.start || seen.time < self.zero {
            // Its epoch is written already.
            self.imported.late += 1;
            self.lose(1);
            return Ok(());
        }
        self.advance(time)?;
        self.latest = self.latest.max(time);
        self.add(seen, time, pages)
    }

    fn lose(&mut self, events: u64) {
        self.lost.per_cpu.resize(1, 0);
        self.lost.per_cpu[0] = self.lost.per_cpu[0].saturating_add(events);
    }

    fn add(&mut self, seen: &Seen, time: u64, pages: Range<u64>) -> Result<(), ImportError> {
        for gfn in pages.filter_map(|page| self.layout.gfn(page)) {
            if self.tool == Tool::Lackey && seen.kind == AccessKind::Write {
                self.written.insert(gfn);
            }
            // perf's events are faults, each of them a fact; the other two tell of the same page again and again.
            if self.tool == Tool::Perf || self.seen[seen.kind as usize].insert(gfn) {
                self.push(seen, time, gfn)?;
            }
        }
        Ok(())
    }

    fn push(&mut self, seen: &Seen, time: u64, gfn: Gfn) -> Result<(), ImportError> {
        let Seen { kind, origin, cpu, tid, .. } = *seen;
        self.events.push(Access { time: Nanos(time), gfn, kind, origin, cpu, tid });
        if self.events.len() < MOST_EVENTS { Ok(()) } else { self.close(self.latest) }
    }

    /// Ends all epochs that are over at this time.
    fn advance(&mut self, time: u64) -> Result<(), ImportError> {
        let over = (time.saturating_sub(self.start)) / self.epoch_length;
        if over > MOST_QUIET {
            return Err(ImportError::Jump(over));
        }
        while time >= self.due {
            self.close(self.due)?;
            let Some(due) = self.due.checked_add(self.epoch_length) else { return Err(ImportError::Jump(over)) };
            self.due = due;
        }
        Ok(())
    }

    /// Writes the epoch in progress, which ends now.
    fn close(&mut self, end: u64) -> Result<(), ImportError> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|event| event.time);
        let log = match self.tool {
            Tool::Perf | Tool::Damo => self.unknown(),
            Tool::Lackey => DirtyLog { written: self.written.clone(), ..DirtyLog::default() },
        };
        let (start, end) = (Nanos(self.start), Nanos(end));
        let lost = std::mem::take(&mut self.lost);
        self.write(Frame { start, scan_start: end, end, events, log, lost, ..Frame::default() })?;
        self.start = end.0;
        self.written.clear();
        self.seen.iter_mut().for_each(PageBitmap::clear);
        Ok(())
    }

    fn unknown(&self) -> DirtyLog {
        let mut log = DirtyLog::default();
        log.add_unknown(UnknownReason::Unarmed, &self.all);
        log
    }

    fn write(&mut self, frame: Frame) -> Result<(), ImportError> {
        let frame = Frame { epoch: self.epoch, populated: self.all.clone(), ..frame };
        self.epoch = self.epoch.0.checked_add(1).map(Epoch).ok_or(ImportError::Jump(u64::from(u32::MAX)))?;
        self.imported.events += frame.events.len() as u64;
        self.writer.write_frame(&frame)?;
        Ok(())
    }

    /// Writes the last epoch, up to the end that the tool tells of or else to the last access, and the end of the file.
    pub(super) fn finish(mut self, end: Option<u64>) -> Result<Imported, ImportError> {
        let end = end.map_or(0, |end| end.saturating_sub(self.zero)).max(self.latest);
        self.advance(end)?;
        if end > self.start || !self.events.is_empty() || self.lost != Lost::default() {
            self.close(end)?;
        }
        self.imported.frames = self.writer.frames_written();
        self.imported.bytes = self.writer.finish()?;
        Ok(self.imported)
    }
}

#[cfg(test)]
mod tests {
    use pagesieve_core::Origin;
    use pagesieve_traces::Reader;
    use pagesieve_traces::check::Checker;

    use super::*;
    use crate::import::slots::Touched;
    use crate::import::{Counts, ImportOptions};

    /// The frames of these accesses: time, page, kind.
    fn frames(tool: Tool, epoch: u64, accesses: &[(u64, u64, AccessKind)], end: Option<u64>) -> (Vec<Frame>, Imported) {
        let mut touched = Touched::default();
        accesses.iter().for_each(|&(_, page, _)| touched.insert(page..page + 1).unwrap());
        let layout = Layout::of(touched).unwrap();
        let header = tool.header(&Counts::default(), &ImportOptions::default(), Nanos(epoch), layout.slots());
        let mut file = Vec::new();
        let mut frames = Frames::new(&mut file, &header, &layout, tool, 1000).unwrap();
        for &(time, page, kind) in accesses {
            let seen = Seen { time, start: page << 12, length: 8, kind, origin: Origin::User, cpu: 0, tid: 1 };
            frames.take(Told::Access(seen)).unwrap();
        }
        let imported = frames.finish(end).unwrap();
        let frames: Vec<_> = Reader::new(&file[..]).unwrap().frames().map(Result::unwrap).collect();
        let mut checker = Checker::new(&header);
        frames.iter().for_each(|frame| checker.check(frame));
        assert_eq!(checker.finish(), []);
        (frames, imported)
    }

    fn spans(frames: &[Frame]) -> Vec<(u64, u64, usize)> {
        frames.iter().map(|frame| (frame.start.0, frame.end.0, frame.events.len())).collect()
    }

    const READ: AccessKind = AccessKind::Read;
    const WRITE: AccessKind = AccessKind::Write;

    #[test]
    fn epochs_lie_on_a_grid_and_quiet_ones_are_there_too() {
        let (frames, imported) = frames(Tool::Perf, 10, &[(1000, 1, READ), (1009, 1, READ), (1030, 2, READ)], None);
        assert_eq!(spans(&frames), [(0, 0, 0), (0, 10, 2), (10, 20, 0), (20, 30, 0), (30, 30, 1)]);
        assert_eq!((imported.frames, imported.events), (5, 3));
        for frame in &frames {
            assert_eq!((frame.log.all().count(), frame.log.merely_unknown().count()), (2, 2), "nothing is proven");
            assert_eq!(frame.populated.count(), 2);
        }
    }

    #[test]
    fn lackeys_log_is_what_was_stored_and_each_page_has_one_event_of_a_kind() {
        let accesses = [(1000, 1, READ), (1001, 1, READ), (1002, 1, WRITE), (1003, 1, WRITE), (1012, 1, WRITE), (1013, 2, READ)];
        let (frames, _) = frames(Tool::Lackey, 10, &accesses, Some(1025));
        assert_eq!(spans(&frames), [(0, 0, 0), (0, 10, 2), (10, 20, 2), (20, 25, 0)]);
        let logs: Vec<_> = frames.iter().map(|frame| frame.log.written.count()).collect();
        assert_eq!(logs, [0, 1, 1, 0]);
        assert_eq!(frames[0].log.merely_unknown().count(), 2, "the baseline is unknown");
        assert!(frames[1..].iter().all(|frame| frame.log.unknown.is_empty()));
    }

    #[test]
    fn what_comes_late_counts_as_lost_and_small_disorder_is_sorted() {
        let accesses = [(1000, 1, READ), (1005, 1, READ), (1004, 2, READ), (1012, 1, READ), (1009, 1, READ), (900, 1, READ)];
        let (frames, imported) = frames(Tool::Perf, 10, &accesses, None);
        assert_eq!((imported.late, imported.events), (2, 4));
        assert_eq!(frames.iter().map(|frame| frame.lost.events()).sum::<u64>(), 2);
        assert_eq!(frames[1].events.iter().map(|event| event.time.0).collect::<Vec<_>>(), [0, 4, 5]);
    }

    #[test]
    fn an_epoch_with_very_many_events_is_cut_and_keeps_them_all() {
        let accesses: Vec<_> = (0..MOST_EVENTS as u64 + 10).map(|i| (1000 + i / 1000, i % 7, READ)).collect();
        let (frames, imported) = frames(Tool::Perf, 1_000_000, &accesses, None);
        assert_eq!((frames.len(), imported.events, imported.late), (3, accesses.len() as u64, 0));
        assert_eq!(frames[1].events.len(), MOST_EVENTS);
    }

    #[test]
    fn a_time_far_away_is_an_error_and_no_endless_row_of_frames() {
        let layout = Layout::of({
            let mut touched = Touched::default();
            touched.insert(1..2).unwrap();
            touched
        })
        .unwrap();
        let header = Tool::Perf.header(&Counts::default(), &ImportOptions::default(), Nanos(10), layout.slots());
        let mut frames = Frames::new(Vec::new(), &header, &layout, Tool::Perf, 0).unwrap();
        let seen = Seen { time: 0, start: 4096, length: 1, kind: READ, origin: Origin::User, cpu: 0, tid: 1 };
        frames.take(Told::Access(seen)).unwrap();
        for time in [10 * (MOST_QUIET + 2), u64::MAX] {
            let far = frames.take(Told::Access(Seen { time, ..seen }));
            assert!(matches!(far, Err(ImportError::Jump(_))), "{far:?}");
        }
    }
}
