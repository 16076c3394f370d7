//! Which pages were dirty when: address from top to bottom, time from left to right.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::ink::{GRID, HEAT, MUTED};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;
use pagesieve_core::series::{Heatmap, HeatmapSlot};
use pagesieve_core::summary::share;

/// The data of the figure.
#[derive(Clone, Debug, PartialEq)]
pub struct PageHeatmap {
    /// The trace, for the title.
    pub subject: String,
    rows: usize,
    cols: usize,
    cells: Vec<u64>,
    start_ns: u64,
    end_ns: u64,
    pages_per_row: u64,
    slots: Vec<HeatmapSlot>,
    left_out: u64,
}

/// Rows and columns of the table beside the figure.
const TABLE: (usize, usize) = (8, 16);
const PLOT_TOP: i32 = 4;
const AXIS: i32 = 44;
const LEGEND: i32 = 44;
/// Room for the numbers of the slots, left of the plot.
const GUTTER: i32 = 22;
const SLOT_LINE: i32 = 18;
/// Slots named below the plot; a guest with more has mostly tiny ones.
const SLOTS_NAMED: usize = 8;

impl PageHeatmap {
    /// Takes a heatmap. One whose cells do not fit its rows and columns is treated as empty.
    #[must_use]
    pub fn of(subject: &str, map: &Heatmap) -> Self {
        let (rows, cols) = (map.rows as usize, map.cols as usize);
        let sound = rows > 0 && cols > 0 && rows.checked_mul(cols) == Some(map.cells.len());
        let (rows, cols) = if sound { (rows, cols) } else { (0, 0) };
        Self {
            subject: subject.into(),
            rows,
            cols,
            cells: if sound { map.cells.iter().map(|&pages| u64::from(pages)).collect() } else { Vec::new() },
            start_ns: map.start_ns,
            end_ns: map.end_ns.max(map.start_ns),
            pages_per_row: map.pages_per_row,
            slots: map
                .slots
                .iter()
                .filter(|slot| slot.start_row < slot.end_row && (slot.end_row as usize) <= rows)
                .cloned()
                .collect(),
            left_out: 0,
        }
    }

    /// The map, which is told how many dirty pages it would hold if it had all slots: each epoch's dirty log, added up.
    #[must_use]
    pub fn out_of(self, dirty_pages: u64) -> Self {
        Self { left_out: dirty_pages.saturating_sub(self.cells.iter().sum()), ..self }
    }

    /// What the map does not show, in a sentence; empty if it shows everything.
    #[must_use]
    pub fn note(&self) -> String {
        match self.left_out {
            0 => String::new(),
            pages => {
                let all = pages.saturating_add(self.cells.iter().sum());
                let share = format::percent(share(pages, all));
                format!(
                    "{} of {} dirty pages ({share}) lie in slots that were added later: they are not in the map.",
                    format::count(pages),
                    format::count(all)
                )
            }
        }
    }

    /// True if there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The same map with at most so many columns and rows; neighbours are added up.
    fn coarser(&self, (most_cols, most_rows): (usize, usize)) -> Self {
        let (by_row, by_col) = (self.rows.div_ceil(most_rows).max(1), self.cols.div_ceil(most_cols).max(1));
        let (rows, cols) = (self.rows.div_ceil(by_row), self.cols.div_ceil(by_col));
        let mut cells = vec![0_u64; rows * cols];
        for (at, pages) in self.cells.iter().enumerate() {
            cells[at / self.cols / by_row * cols + at % self.cols / by_col] += pages;
        }
        let pages_per_row = self.pages_per_row.saturating_mul(by_row as u64);
        // The last column may stand for less time than the others, but is as wide as they are.
        let end_ns = self.time_at(cols * by_col, self.cols);
        Self { rows, cols, cells, pages_per_row, end_ns, ..self.clone() }
    }

    fn for_format(&self, format: Format) -> Self {
        self.coarser((format.cells.0 as usize, format.cells.1 as usize))
    }

    fn most(&self) -> u64 {
        self.cells.iter().copied().max().unwrap_or(0)
    }

    /// Size of a cell and of the whole plot in pixels. Rows are a few pixels high, however few there are.
    fn plot(&self, format: Format) -> (i32, i32) {
        let rows = i32::try_from(self.rows).unwrap_or(1);
        let row = (if format.is_narrow() { 240 } else { 320 } / rows.max(1)).clamp(4, 24);
        (row, row * rows)
    }

    fn time_at(&self, part: usize, whole: usize) -> u64 {
        let span = u128::from(self.end_ns - self.start_ns) * part as u128 / whole.max(1) as u128;
        self.start_ns.saturating_add(u64::try_from(span).unwrap_or(u64::MAX))
    }
}

/// The step of a count from 0 (none) to 6, where each step down halves the count.
fn step(pages: u64, most: u64) -> usize {
    if pages == 0 {
        return 0;
    }
    (1..HEAT.len()).rev().find(|&step| u128::from(pages) << (HEAT.len() - step) > u128::from(most)).map_or(1, |step| step + 1)
}

/// The lowest and highest count of a step; `None` if no whole number falls into it.
fn bounds(step: usize, most: u64) -> Option<(u64, u64)> {
    let high = most >> (HEAT.len() - step);
    let low = if step == 1 { 1 } else { (most >> (HEAT.len() + 1 - step)) + 1 };
    (low <= high).then_some((low, high))
}

impl Drawing for PageHeatmap {
    fn title(&self) -> String {
        format!("Dirty pages by address and time: {}", self.subject)
    }

    fn description(&self) -> String {
        if self.is_empty() {
            return "There is no heatmap for this trace.".into();
        }
        let touched =
            (0..self.rows).filter(|row| self.cells[row * self.cols..][..self.cols].iter().any(|&pages| pages > 0)).count();
        let busiest =
            (0..self.rows).max_by_key(|row| (self.cells[row * self.cols..][..self.cols].iter().sum::<u64>(), self.rows - row));
        let place = busiest
            .map_or_else(String::new, |row| format!(" The busiest row is number {}, counted from the lowest address.", row + 1));
        let note = if self.left_out == 0 { String::new() } else { format!(" {}", self.note()) };
        format!(
            "Map of {} rows, each {} of guest memory from low addresses at the top to high ones at the bottom, by {} columns of time \
             from {} to {}. {touched} rows were dirty at some time.{place}{note}",
            self.rows,
            format::round_bytes(self.pages_per_row.saturating_mul(pagesieve_core::PAGE_SIZE)),
            self.cols,
            format::duration(self.start_ns),
            format::duration(self.end_ns),
        )
    }

    fn table(&self) -> Table {
        let map = self.coarser(TABLE);
        let mut heads = vec!["rows".to_owned()];
        heads.extend((0..map.cols).map(|col| format!("from {} s", format::seconds(map.time_at(col, map.cols)))));
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let caption = "Dirty pages, neighbouring rows and columns added up. The whole map is in summary.json.";
        let mut table = Table::new(caption, if self.is_empty() { &[] } else { &heads });
        let by_row = self.rows.div_ceil(map.rows.max(1)).max(1);
        table.rows = (0..map.rows)
            .map(|row| {
                let name = format!("{}–{}", row * by_row + 1, ((row + 1) * by_row).min(self.rows));
                let counts = map.cells[row * map.cols..][..map.cols].iter().map(|&pages| format::count(pages));
                std::iter::once(name).chain(counts).collect()
            })
            .collect();
        table
    }

    fn height(&self, format: Format) -> u32 {
        let map = self.for_format(format);
        let names = i32::try_from(self.slots.len().min(SLOTS_NAMED)).unwrap_or(0) * SLOT_LINE;
        u32::try_from(PLOT_TOP + map.plot(format).1 + AXIS + LEGEND + names).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let map = self.for_format(format);
        let (row_height, height) = map.plot(format);
        let bottom = PLOT_TOP + height;
        let right = format.right() - 1;
        map.draw_cells(&pen, row_height)?;
        let frame = [(GUTTER, PLOT_TOP), (right, PLOT_TOP), (right, bottom), (GUTTER, bottom), (GUTTER, PLOT_TOP)];
        pen.line(&frame, GRID, 1)?;
        self.draw_slots(&pen, &map, height)?;
        map.draw_time(&pen, bottom)?;
        map.draw_legend(&pen, bottom + AXIS)?;
        self.draw_slot_names(&pen, bottom + AXIS + LEGEND)
    }
}

impl PageHeatmap {
    /// Draws step by step, and neighbours in a row as one box: both keep the SVG small.
    fn draw_cells<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, row_height: i32) -> DrawResult<DB> {
        let most = self.most();
        for (at, ink) in HEAT.into_iter().enumerate() {
            for (row, cells) in self.cells.chunks(self.cols.max(1)).enumerate() {
                let top = PLOT_TOP + i32::try_from(row).unwrap_or(0) * row_height;
                let mut col = 0;
                while col < cells.len() {
                    let from = col;
                    while col < cells.len() && step(cells[col], most) == at + 1 {
                        col += 1;
                    }
                    if col > from {
                        pen.fill((self.x(from, pen.format), top), (self.x(col, pen.format), top + row_height), ink)?;
                    }
                    col += usize::from(col == from);
                }
            }
        }
        Ok(())
    }

    fn x(&self, col: usize, format: Format) -> i32 {
        let width = i64::from(format.right() - 1 - GUTTER);
        GUTTER + i32::try_from(width * col as i64 / self.cols.max(1) as i64).unwrap_or(0)
    }

    /// Lines between slots, and each slot's number beside the plot where it has room for one.
    fn draw_slots<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, drawn: &Self, height: i32) -> DrawResult<DB> {
        let right = pen.format.right() - 1;
        // The last drawn row may stand for fewer rows than the others, but is as high as they are.
        let rows = drawn.rows * self.rows.div_ceil(drawn.rows.max(1));
        let y = |row: u32| PLOT_TOP + (f64::from(row) / rows.max(1) as f64 * f64::from(height)).round() as i32;
        for (at, slot) in self.slots.iter().enumerate() {
            let (top, bottom) = (y(slot.start_row), y(slot.end_row));
            if slot.start_row > 0 {
                pen.line(&[(0, top), (right, top)], MUTED, 1)?;
            }
            if bottom - top >= pen.format.text {
                let middle = (top + bottom - pen.format.text) / 2;
                pen.text(&(at + 1).to_string(), (GUTTER - 8, middle), Lettering::MUTED.right())?;
            }
        }
        Ok(())
    }

    fn draw_slot_names<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, top: i32) -> DrawResult<DB> {
        for (at, slot) in self.slots.iter().take(SLOTS_NAMED).enumerate() {
            let label = format!("slot {}: {}", at + 1, slot.label);
            let label = format::shorten(&label, pen.format.chars_in(pen.format.right()));
            let line = i32::try_from(at).unwrap_or(0) * SLOT_LINE;
            pen.text(&label, (0, top + line), Lettering::MUTED)?;
        }
        Ok(())
    }

    fn draw_time<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, bottom: i32) -> DrawResult<DB> {
        let right = pen.format.right() - 1;
        let parts = if pen.format.is_narrow() { 4 } else { 8 };
        for part in 0..=parts {
            let x = GUTTER + (right - GUTTER) * part / parts;
            let how = match part {
                0 => Lettering::MUTED,
                part if part == parts => Lettering::MUTED.right(),
                _ => Lettering::MUTED.center(),
            };
            pen.line(&[(x, bottom), (x, bottom + 4)], MUTED, 1)?;
            pen.text(&format::seconds(self.time_at(part as usize, parts as usize)), (x, bottom + 7), how)?;
        }
        pen.text("seconds since the start", (right, bottom + 24), Lettering::MUTED.right())
    }

    fn draw_legend<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, top: i32) -> DrawResult<DB> {
        let most = self.most();
        let width = pen.format.right().min(480) / i32::try_from(HEAT.len()).unwrap_or(1);
        let heading = if pen.format.is_narrow() { "dirty pages in a cell" } else { "dirty pages in a cell (no colour: none)" };
        pen.text(heading, (0, top - 20), Lettering::MUTED)?;
        let mut x = 0;
        for (at, ink) in HEAT.into_iter().enumerate() {
            let Some((low, high)) = bounds(at + 1, most) else { continue };
            pen.fill((x, top), (x + width - 2, top + 10), ink)?;
            let label = if low == high { format::count(low) } else { format!("{}–{}", tight(low), tight(high)) };
            pen.text(&label, (x, top + 14), Lettering::MUTED)?;
            x += width;
        }
        Ok(())
    }
}

/// A count in few characters, for the narrow fields of a legend.
fn tight(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..10_000 => format!("{:.1}k", count as f64 / 1_000.0),
        10_000..10_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_their_bounds_agree() {
        for most in [1, 2, 5, 31, 64, 1000, u64::from(u32::MAX)] {
            for pages in (1..=most.min(1000)).chain([most]) {
                let step = step(pages, most);
                let (low, high) = bounds(step, most).expect("a step in use has bounds");
                assert!((low..=high).contains(&pages), "{pages} of {most}: step {step} is {low}..={high}");
            }
        }
        assert_eq!((step(0, 9), step(9, 9), step(5, 9)), (0, 6, 6));
    }

    #[test]
    fn a_coarser_map_keeps_every_page() {
        let map = Heatmap { rows: 5, cols: 7, cells: (0..35).collect(), end_ns: 7, pages_per_row: 4, ..Heatmap::default() };
        let fine = PageHeatmap::of("t", &map);
        let coarse = fine.coarser((3, 2));
        assert_eq!((coarse.rows, coarse.cols), (2, 3));
        assert_eq!(coarse.cells.iter().sum::<u64>(), (0..35).sum::<u64>());
        assert_eq!(coarse.cells[0], (0..3).flat_map(|row| (0..3).map(move |col| row * 7 + col)).sum::<u64>());
        assert_eq!(coarse.pages_per_row, 12);
        assert_eq!(coarse.end_ns, 9, "three columns of three nanoseconds, though there were seven of one");
        assert_eq!(fine.table().columns[3].head, "from 0.0 s");
    }

    #[test]
    fn a_map_says_what_it_leaves_out() {
        let map = Heatmap { rows: 1, cols: 2, cells: vec![3, 0], end_ns: 2, pages_per_row: 4, ..Heatmap::default() };
        let figure = PageHeatmap::of("t", &map);
        assert_eq!(figure.clone().out_of(3).note(), "");
        let note = figure.out_of(12).note();
        assert!(note.starts_with("9 of 12 dirty pages (75.0\u{a0}%)"), "{note}");
    }

    #[test]
    fn a_map_with_the_wrong_number_of_cells_is_empty() {
        let map = Heatmap { rows: 2, cols: 2, cells: vec![1; 3], ..Heatmap::default() };
        assert!(PageHeatmap::of("t", &map).is_empty());
    }
}
