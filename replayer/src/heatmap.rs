//! Dirty pages over address and time, in a grid of bounded size.

use pagesieve_core::series::{Heatmap, HeatmapSlot};
use pagesieve_core::{Gfn, MemSlot, Nanos};
use pagesieve_traces::{Frame, Header};

/// Rows at most.
pub const MAX_ROWS: u32 = 96;
/// Columns at most.
pub const MAX_COLS: u32 = 128;

/// Collects a [`Heatmap`] frame by frame, without knowing how long the trace is: when the columns run out, each two become one.
///
/// Rows follow the slots of the trace's header; pages of slots that appear later are left out. A trace with more slots than
/// rows is drawn as one stretch of frames.
#[derive(Clone, Debug)]
pub struct HeatmapBuilder {
    /// Ranges of frames, each with its first row.
    spans: Vec<(std::ops::Range<u64>, u32)>,
    rows: u32,
    pages_per_row: u64,
    start: Option<Nanos>,
    width: u64,
    used: u32,
    cells: Vec<u32>,
}

impl HeatmapBuilder {
    /// An empty heatmap of a trace.
    #[must_use]
    pub fn of(header: &Header) -> Self {
        Self::new(&header.slots, header.epoch_length)
    }

    fn new(slots: &[MemSlot], epoch: Nanos) -> Self {
        let mut ranges: Vec<_> = slots.iter().map(|slot| slot.base.0..slot.base.0.saturating_add(slot.pages)).collect();
        ranges.sort_by_key(|range| range.start);
        if ranges.len() > MAX_ROWS as usize {
            let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
            ranges.truncate(1);
            ranges[0].end = end;
        }
        let rows_at =
            |pages: u64| ranges.iter().map(|range| (range.end - range.start).div_ceil(pages)).fold(0, u64::saturating_add);
        let mut pages_per_row = 1;
        while rows_at(pages_per_row) > MAX_ROWS.into() {
            pages_per_row *= 2;
        }
        let mut rows = 0;
        let mut spans = Vec::with_capacity(ranges.len());
        for range in ranges {
            let first = rows;
            rows += (range.end - range.start).div_ceil(pages_per_row) as u32;
            spans.push((range, first));
        }
        let cells = vec![0; (rows * MAX_COLS) as usize];
        Self { spans, rows, pages_per_row, start: None, width: epoch.0.max(1), used: 0, cells }
    }

    /// Takes the next frame. An epoch belongs to the column in which it ends.
    pub fn observe(&mut self, frame: &Frame) {
        let start = *self.start.get_or_insert(frame.start);
        let since = frame.end.since(start).0.saturating_sub(1);
        while since / self.width >= MAX_COLS.into() {
            self.halve();
        }
        let col = (since / self.width) as u32;
        self.used = self.used.max(col + 1);
        let dirty = frame.log.all();
        for (range, first) in &self.spans {
            for (row, page) in (*first..).zip(range.clone().step_by(self.pages_per_row as usize)) {
                let count = dirty.count_range(page..range.end.min(page + self.pages_per_row));
                let cell = &mut self.cells[(row * MAX_COLS + col) as usize];
                *cell = cell.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
    }

    fn halve(&mut self) {
        for row in self.cells.chunks_mut(MAX_COLS as usize) {
            for col in 0..row.len() {
                row[col] = match row.get(2 * col..2 * col + 2) {
                    Some(pair) => pair[0].saturating_add(pair[1]),
                    None => 0,
                };
            }
        }
        self.used = self.used.div_ceil(2);
        self.width = self.width.saturating_mul(2);
    }

    /// The heatmap of all frames taken.
    #[must_use]
    pub fn finish(self) -> Heatmap {
        let start = self.start.map_or(0, |start| start.0);
        let rows_of = |range: &std::ops::Range<u64>| (range.end - range.start).div_ceil(self.pages_per_row) as u32;
        Heatmap {
            rows: self.rows,
            cols: self.used,
            start_ns: start,
            end_ns: start.saturating_add(self.width.saturating_mul(self.used.into())),
            pages_per_row: self.pages_per_row,
            slots: self.spans.iter().map(|(range, first)| slot(range, *first, rows_of(range))).collect(),
            cells: self.cells.chunks(MAX_COLS as usize).flat_map(|row| &row[..self.used as usize]).copied().collect(),
        }
    }
}

fn slot(range: &std::ops::Range<u64>, first: u32, rows: u32) -> HeatmapSlot {
    let address = |gfn: u64| Gfn(gfn).0.saturating_mul(pagesieve_core::PAGE_SIZE);
    let label = format!("{:#x}-{:#x}", address(range.start), address(range.end));
    HeatmapSlot { label, start_row: first, end_row: first + rows }
}

#[cfg(test)]
mod tests {
    use pagesieve_core::{Backing, Hva, PageBitmap};

    use super::*;

    fn slots(sizes: &[u64]) -> Vec<MemSlot> {
        let slot = |at: usize, &pages: &u64| MemSlot {
            base: Gfn(at as u64 * 0x10_0000),
            pages,
            hva: Hva(0),
            backing: Backing::Shared,
            numa_node: None,
        };
        sizes.iter().enumerate().map(|(at, pages)| slot(at, pages)).collect()
    }

    fn frame(second: u64, pages: std::ops::Range<u64>) -> Frame {
        let mut frame = Frame { start: Nanos(second), end: Nanos(second + 1), ..Frame::default() };
        frame.log.written = PageBitmap::new(0x40_0000);
        frame.log.written.insert_range(pages);
        frame
    }

    #[test]
    fn every_dirty_page_is_counted_once_for_each_epoch_however_long_the_trace() {
        let mut map = HeatmapBuilder::new(&slots(&[1000, 70]), Nanos(1));
        for epoch in 0..300 {
            map.observe(&frame(epoch, 990..1000));
            map.observe(&frame(epoch, 0x10_0000..0x10_0001));
        }
        let map = map.finish();
        assert_eq!((map.pages_per_row, map.rows, map.cols), (16, 63 + 5, 75));
        assert_eq!((map.start_ns, map.end_ns), (0, 300));
        assert_eq!(map.cells.len() as u32, map.rows * map.cols);
        let sum = |rows: std::ops::Range<u32>| -> u32 {
            map.cells[(rows.start * map.cols) as usize..(rows.end * map.cols) as usize].iter().sum()
        };
        assert_eq!((sum(0..61), sum(61..63), sum(63..64), sum(64..68)), (0, 3000, 300, 0));
        assert_eq!((map.slots[1].start_row, map.slots[1].end_row), (63, 68));
        assert_eq!(map.slots[1].label, "0x100000000-0x100046000");
    }

    #[test]
    fn more_slots_than_rows_become_one_stretch() {
        let map = HeatmapBuilder::new(&slots(&[1; 100]), Nanos(1)).finish();
        assert_eq!(map.slots.len(), 1);
        assert!(map.rows <= MAX_ROWS);
    }
}
