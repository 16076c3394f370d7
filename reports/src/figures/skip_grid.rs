//! How the skip rate depends on block size and on the time between two syncs, beside the claimed range.

use pagesieve_core::summary::{BlockCounts, share};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::ink::{BAND, GRID, Ink, LINES};
use super::{DrawResult, Drawing, Format, Table};
use crate::claims::Claim;
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, PartialEq)]
pub struct SkipGrid {
    /// What was synced, for the title.
    pub subject: String,
    /// The claimed range, if there is one.
    pub claim: Option<&'static Claim>,
    /// One for each block size and interval, in any order.
    pub cells: Vec<GridCell>,
}

/// Syncs with one block size at one interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridCell {
    /// Transfer unit in bytes.
    pub block_size: u64,
    /// Time between two syncs in nanoseconds.
    pub interval_ns: u64,
    /// Verdicts on blocks.
    pub blocks: BlockCounts,
}

/// Which blocks a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    All,
    Resident,
}

const HEADING: i32 = 24;
const PLOT: i32 = 200;
const AXIS: i32 = 44;
const GUTTER: i32 = 50;
const BETWEEN: i32 = 36;

impl GridCell {
    /// The rate from 0 to 1, if anything was counted.
    fn rate(&self, count: Count) -> Option<f64> {
        let (part, whole) = match count {
            Count::All => (self.blocks.skipped.total(), self.blocks.total),
            Count::Resident => (self.blocks.skipped_resident, self.blocks.resident),
        };
        (whole > 0).then(|| share(part, whole).clamp(0.0, 1.0))
    }
}

impl Count {
    fn words(self) -> &'static str {
        match self {
            Count::All => "all blocks",
            Count::Resident => "only blocks that hold data",
        }
    }
}

impl SkipGrid {
    fn sizes(&self) -> Vec<u64> {
        distinct(self.cells.iter().map(|cell| cell.block_size))
    }

    fn intervals(&self) -> Vec<u64> {
        distinct(self.cells.iter().map(|cell| cell.interval_ns))
    }

    fn rate(&self, size: u64, interval: u64, count: Count) -> Option<f64> {
        self.cells.iter().find(|cell| (cell.block_size, cell.interval_ns) == (size, interval))?.rate(count)
    }

    fn legend(&self) -> Vec<(Ink, String)> {
        let line = |(at, size)| (LINES[at % LINES.len()], format!("blocks of {}", format::round_bytes(size)));
        let mut entries: Vec<_> = self.sizes().into_iter().enumerate().map(line).collect();
        entries.extend(self.claim.map(|claim| (BAND, format!("claimed {}", claim.range()))));
        entries
    }

    /// Panels stand side by side where there is room, else one below the other. Left edge, top, and the width of both.
    fn places(format: Format) -> [(i32, i32, i32); 2] {
        let panel = HEADING + PLOT + AXIS;
        if format.is_narrow() {
            return [(0, 0, format.right() - 8), (0, panel, format.right() - 8)];
        }
        let width = (format.right() - 8 - BETWEEN) / 2;
        [(0, 0, width), (width + BETWEEN, 0, width)]
    }

    fn plot_height(format: Format) -> i32 {
        (HEADING + PLOT + AXIS) * if format.is_narrow() { 2 } else { 1 }
    }

    /// The lowest and highest rate with the point where it is, in words.
    fn extremes(&self, count: Count) -> String {
        let rates = || self.cells.iter().filter_map(|cell| Some((cell.rate(count)?, cell)));
        let place = |cell: &GridCell| {
            format!("with blocks of {} every {}", format::round_bytes(cell.block_size), format::duration(cell.interval_ns))
        };
        let low = rates().min_by(|a, b| a.0.total_cmp(&b.0));
        let high = rates().max_by(|a, b| a.0.total_cmp(&b.0));
        match (low, high) {
            (Some((low, at)), Some((high, other))) => format!(
                "Of {}: from {} ({}) to {} ({}).",
                count.words(),
                format::percent(low),
                place(at),
                format::percent(high),
                place(other)
            ),
            _ => format!("Of {}: nothing was counted.", count.words()),
        }
    }
}

fn distinct(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}

impl Drawing for SkipGrid {
    fn title(&self) -> String {
        format!("Skip rate by block size and interval: {}", self.subject)
    }

    fn description(&self) -> String {
        let claim = self.claim.map_or_else(String::new, |claim| format!(" The claimed range is {}.", claim.range()));
        format!(
            "Two plots of the share of blocks that repeated syncs with proof skip, over the time between two syncs; one line for each block size. {} {}{claim}",
            self.extremes(Count::All),
            self.extremes(Count::Resident)
        )
    }

    fn table(&self) -> Table {
        let heads = ["block", "every", "skipped, all blocks", "skipped, resident blocks", "all blocks", "resident blocks"];
        let mut table = Table::new("Verdicts summed over all syncs, and the shares that were skipped.", &heads);
        let shown = |rate: Option<f64>| rate.map_or_else(|| format::NONE.into(), format::percent);
        let mut cells: Vec<&GridCell> = self.cells.iter().collect();
        cells.sort_by_key(|cell| (cell.block_size, cell.interval_ns));
        table.rows = cells
            .into_iter()
            .map(|cell| {
                vec![
                    format::round_bytes(cell.block_size),
                    format::duration(cell.interval_ns),
                    shown(cell.rate(Count::All)),
                    shown(cell.rate(Count::Resident)),
                    format::count(cell.blocks.total),
                    format::count(cell.blocks.resident),
                ]
            })
            .collect();
        table
    }

    fn height(&self, format: Format) -> u32 {
        let legend = self.legend();
        let entries: Vec<(Ink, &str)> = legend.iter().map(|(ink, label)| (*ink, label.as_str())).collect();
        u32::try_from(Self::plot_height(format) + format.legend_height(&entries)).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        for (count, place) in [Count::All, Count::Resident].into_iter().zip(Self::places(format)) {
            self.draw_panel(&pen, count, place)?;
        }
        let legend = self.legend();
        let entries: Vec<(Ink, &str)> = legend.iter().map(|(ink, label)| (*ink, label.as_str())).collect();
        pen.legend(&entries, Self::plot_height(format))
    }
}

impl SkipGrid {
    fn draw_panel<DB: DrawingBackend>(
        &self,
        pen: &Pen<'_, DB>,
        count: Count,
        (left, top, width): (i32, i32, i32),
    ) -> DrawResult<DB> {
        let (from, to) = (left + GUTTER, left + width);
        let (high, low) = (top + HEADING, top + HEADING + PLOT);
        let y = |rate: f64| low - (rate * f64::from(PLOT)).round() as i32;
        pen.text(&format!("skipped, of {}", count.words()), (left, top), Lettering::BOLD)?;
        if let Some(claim) = self.claim {
            pen.fill((from, y(f64::from(claim.high) / 100.0)), (to, y(f64::from(claim.low) / 100.0)), BAND)?;
        }
        for fifth in 0..=5 {
            let at = low - (low - high) * fifth / 5;
            pen.line(&[(from, at), (to, at)], GRID, 1)?;
            let how = Lettering::MUTED.right();
            pen.text(&format!("{}\u{a0}%", fifth * 20), (from - 6, at - pen.format.text / 2), how)?;
        }
        let intervals = self.intervals();
        let last = intervals.len().saturating_sub(1).max(1) as i32;
        // Points keep clear of the edges, so that the labels below them fit.
        let x = |at: usize| from + 24 + (to - from - 48) * at as i32 / last;
        for (at, interval) in intervals.iter().enumerate() {
            pen.text(&format::duration(*interval).replace(".0", ""), (x(at), low + 6), Lettering::MUTED.center())?;
        }
        pen.text("time between two syncs", (to, low + 24), Lettering::MUTED.right())?;
        for (line, size) in self.sizes().into_iter().enumerate() {
            let ink = LINES[line % LINES.len()];
            let rates = intervals.iter().enumerate().map(|(at, &interval)| Some((x(at), y(self.rate(size, interval, count)?))));
            let points: Vec<(i32, i32)> = rates.flatten().collect();
            pen.line(&points, ink, 2)?;
            points.into_iter().try_for_each(|point| pen.dot(point, 4, ink))?;
        }
        Ok(())
    }
}
