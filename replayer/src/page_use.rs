//! Which pages are in use together, and how long a page rests between two writes.

use std::collections::VecDeque;

use pagesieve_core::series::{RedirtyIntervals, WorkingSetPoint, WorkingSets};
use pagesieve_core::{Blocks, Epoch, Gfn, Nanos, PageBitmap};
use pagesieve_traces::Frame;

/// The short and the long window.
const WINDOWS: [Nanos; 2] = [Nanos(10 * Nanos::SECOND.0), Nanos(60 * Nanos::SECOND.0)];
/// Mark of a page that was written in an epoch before its last one.
const AGAIN: u32 = 1 << 31;

/// Collects [`WorkingSets`] and [`RedirtyIntervals`] frame by frame. It takes 8 bytes for each page of the guest, and some for each
/// epoch; how many events there are does not matter.
///
/// A page counts as written in an epoch whose scan reported it, or in which it was discarded. What is in the dirty log only
/// because nothing could be proven is left out: it is no observation of a write. So is all of the first frame.
#[derive(Clone, Debug, Default)]
pub struct PageUseBuilder {
    written: Marks,
    touched: Marks,
    /// Ends of the epochs in the long window; the last one has the number `epoch`.
    ends: VecDeque<Nanos>,
    epoch: u32,
    sets: WorkingSets,
    redirty: RedirtyIntervals,
    populated: PageBitmap,
}

/// The last epoch of each page, and how many pages have it as their last one.
#[derive(Clone, Debug, Default)]
struct Marks {
    /// Number of the page's last epoch, from 1 on; 0 for none. [`AGAIN`] may be added.
    last: Vec<u32>,
    /// Pages whose last epoch this is, for the epochs of the long window; the first one has the number `first`.
    pages: VecDeque<u64>,
    first: u32,
    /// The first epoch of each window, and the pages whose last epoch lies in it.
    starts: [u32; 2],
    sums: [u64; 2],
}

impl Marks {
    fn open(&mut self, epoch: u32) {
        if self.pages.is_empty() {
            self.first = epoch;
        }
        self.pages.push_back(0);
    }

    /// Marks a page; returns what was there. Pages beyond what an engine could hold are left out.
    fn mark(&mut self, gfn: Gfn, epoch: u32) -> u32 {
        if gfn.0 >= Blocks::MAX_FRAMES {
            return epoch;
        }
        if gfn.index() >= self.last.len() {
            self.last.resize(gfn.index() + 1, 0);
        }
        let entry = &mut self.last[gfn.index()];
        let before = *entry;
        let last = before & !AGAIN;
        if last == epoch {
            return before;
        }
        *entry = if last == 0 { epoch } else { epoch | AGAIN };
        self.add(last, -1);
        self.add(epoch, 1);
        before
    }

    fn add(&mut self, epoch: u32, pages: i64) {
        let Some(at) = epoch.checked_sub(self.first) else { return };
        if let Some(count) = self.pages.get_mut(at as usize) {
            *count = count.wrapping_add_signed(pages);
        }
        for (start, sum) in self.starts.iter().zip(&mut self.sums) {
            if epoch >= *start && epoch >= self.first {
                *sum = sum.wrapping_add_signed(pages);
            }
        }
    }

    /// Moves the start of a window.
    fn start(&mut self, window: usize, start: u32) {
        while self.starts[window] < start {
            let gone = self.starts[window].checked_sub(self.first).and_then(|at| self.pages.get(at as usize));
            self.sums[window] -= gone.copied().unwrap_or(0);
            self.starts[window] += 1;
        }
    }

    /// Forgets the epochs before this one, which lie in no window any more.
    fn forget(&mut self, start: u32) {
        while self.first < start && self.pages.pop_front().is_some() {
            self.first += 1;
        }
    }
}

impl PageUseBuilder {
    /// Takes the next frame.
    pub fn observe(&mut self, frame: &Frame) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.written.open(epoch);
        self.touched.open(epoch);
        self.ends.push_back(frame.end);
        if frame.epoch > Epoch(0) {
            self.redirty.epochs += 1;
            let mut seen = frame.log.written.clone();
            seen.union_with(&frame.log.discarded);
            for gfn in seen.iter() {
                self.write(gfn);
            }
        }
        for event in &frame.events {
            self.touched.mark(event.gfn, epoch);
        }
        self.slide(frame.end);
        self.sets.points.push(WorkingSetPoint { end_ns: frame.end.0, written: self.written.sums, touched: self.touched.sums });
        self.populated.clone_from(&frame.populated);
    }

    fn write(&mut self, gfn: Gfn) {
        let before = self.written.mark(gfn, self.epoch);
        self.touched.mark(gfn, self.epoch);
        let last = before & !AGAIN;
        match self.epoch - last {
            0 => (),
            _ if last == 0 => self.redirty.once += 1,
            interval => {
                let bucket = interval.ilog2() as usize;
                if bucket >= self.redirty.intervals.len() {
                    self.redirty.intervals.resize(bucket + 1, 0);
                }
                self.redirty.intervals[bucket] += 1;
                if before & AGAIN == 0 {
                    self.redirty.once -= 1;
                    self.redirty.again += 1;
                }
            }
        }
    }

    /// Lets the windows end now.
    fn slide(&mut self, now: Nanos) {
        for (window, length) in WINDOWS.into_iter().enumerate() {
            let outside = self.ends.partition_point(|end| end.after(length) <= now) as u32;
            let start = self.epoch + 1 - self.ends.len() as u32 + outside;
            self.written.start(window, start);
            self.touched.start(window, start);
        }
        let oldest = self.written.starts[1];
        while self.epoch + 1 - (self.ends.len() as u32) < oldest && self.ends.pop_front().is_some() {}
        self.written.forget(oldest);
        self.touched.forget(oldest);
    }

    /// What was collected of all frames taken.
    #[must_use]
    pub fn finish(mut self) -> (WorkingSets, RedirtyIntervals) {
        self.sets.windows_ns = WINDOWS.map(|window| window.0);
        let never = |gfn: &Gfn| self.written.last.get(gfn.index()).is_none_or(|&last| last == 0);
        self.redirty.never = self.populated.iter().filter(never).count() as u64;
        (self.sets, self.redirty)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use pagesieve_core::{Access, AccessKind, Origin};

    use super::*;

    fn set(pages: &[u64]) -> PageBitmap {
        let mut set = PageBitmap::new(64);
        for &page in pages {
            set.insert(Gfn(page));
        }
        set
    }

    fn frame(epoch: u32, end: u64, written: &[u64], touched: &[u64]) -> Frame {
        let time = Nanos(end * Nanos::SECOND.0);
        let event = |&page: &u64| Access { time, gfn: Gfn(page), kind: AccessKind::Read, origin: Origin::User, cpu: 0, tid: 1 };
        let mut frame = Frame { epoch: Epoch(epoch), end: time, populated: set(&[0, 1, 2, 3, 4, 5]), ..Frame::default() };
        frame.log.written = set(written);
        frame.events = touched.iter().map(event).collect();
        frame
    }

    #[test]
    fn intervals_are_counted_between_neighbouring_writes() {
        let mut builder = PageUseBuilder::default();
        // The first frame is no observation; page 1 rests 1, 2 and 4 epochs, page 2 is written once.
        let epochs: [&[u64]; 9] = [&[0, 1, 2], &[1], &[1], &[], &[1, 2], &[], &[], &[], &[1]];
        for (at, written) in epochs.into_iter().enumerate() {
            builder.observe(&frame(at as u32, at as u64 + 1, written, &[]));
        }
        let (_, redirty) = builder.finish();
        assert_eq!(redirty.intervals, [1, 1, 1]);
        assert_eq!((redirty.epochs, redirty.never, redirty.once, redirty.again), (8, 4, 1, 1));
    }

    #[test]
    fn a_discard_is_a_write_and_doubt_is_none() {
        use pagesieve_traces::{UnknownPages, UnknownReason};
        let mut builder = PageUseBuilder::default();
        builder.observe(&frame(0, 1, &[], &[]));
        let mut second = frame(1, 2, &[1], &[]);
        second.log.discarded = set(&[1, 2]);
        second.log.unknown = vec![UnknownPages { reason: UnknownReason::DirectIo, pages: set(&[3]) }];
        builder.observe(&second);
        let (sets, redirty) = builder.finish();
        assert_eq!((redirty.once, redirty.again, redirty.never), (2, 0, 4));
        assert_eq!((sets.points[1].written, sets.points[1].touched), ([2, 2], [2, 2]));
    }

    /// Against the plainest way to count: all epochs of a window anew for each.
    #[test]
    fn windows_hold_each_page_once_however_epochs_are_spaced() {
        let mut builder = PageUseBuilder::default();
        let (mut seed, mut end) = (7_u64, 0);
        let mut next = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % limit
        };
        let (mut written, mut touched) = (BTreeMap::new(), BTreeMap::new());
        let mut expected = Vec::new();
        for epoch in 0..200 {
            end += 1 + next(if epoch % 50 == 49 { 90 } else { 6 });
            let pages: Vec<u64> = (0..next(5)).map(|_| next(60)).collect();
            let seen: Vec<u64> = (0..next(5)).map(|_| next(60)).collect();
            builder.observe(&frame(epoch, end, &pages, &seen));
            let pages = if epoch == 0 { Vec::new() } else { pages };
            touched.insert(end, seen.into_iter().chain(pages.iter().copied()).collect::<BTreeSet<u64>>());
            written.insert(end, pages.into_iter().collect::<BTreeSet<u64>>());
            let within = |sets: &BTreeMap<u64, BTreeSet<u64>>, seconds: u64| {
                let inside = sets.range((end + 1).saturating_sub(seconds)..);
                inside.flat_map(|(_, pages)| pages).collect::<BTreeSet<_>>().len() as u64
            };
            let both = |sets| [within(sets, 10), within(sets, 60)];
            expected.push(WorkingSetPoint { end_ns: end * Nanos::SECOND.0, written: both(&written), touched: both(&touched) });
        }
        let (sets, _) = builder.finish();
        assert_eq!(sets.points, expected);
    }
}
