//! How fast memory was dirtied over time, and where events were lost.

use plotters::coord::Shift;
use plotters::prelude::{AreaSeries, ChartBuilder, DrawingArea, DrawingBackend, LineSeries};
use plotters::style::Color;

use super::canvas::{Lettering, Pen};
use super::chart::{MOST_STEPS, mesh};
use super::ink::{DIRTY, Ink, LOST, UNKNOWN};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;
use pagesieve_core::series::Timeline;

/// The data of the figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirtyRate {
    /// The trace, for the title.
    pub subject: String,
    /// Intervals in order, without gaps.
    pub intervals: Vec<Interval>,
    /// Epochs in each interval; the last may hold fewer.
    pub epochs_each: usize,
}

/// One epoch, or several neighbours taken together. Counts are sums, except for `resident`, which is the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Start in nanoseconds.
    pub start: u64,
    /// End in nanoseconds.
    pub end: u64,
    /// Pages in the dirty log.
    pub dirty: u64,
    /// Of these, pages that could only not be proven clean.
    pub unknown: u64,
    /// Access events.
    pub events: u64,
    /// Events lost.
    pub lost: u64,
    /// Pages that held data at the end.
    pub resident: u64,
}

const HEIGHT: u32 = 300;
/// How many times higher than all others an interval must be to be cut off.
const CUT_FROM: f64 = 3.0;
const LEGEND_TOP: i32 = 268;
/// Room to the right of the plot.
const RIGHT: i32 = 8;

/// Left and right end of the time axis.
fn axis(format: Format) -> (i32, i32) {
    (if format.is_narrow() { 44 } else { 56 }, format.right() - RIGHT)
}

impl Interval {
    fn span(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Dirty memory per second in MiB.
    #[must_use]
    pub fn rate(&self) -> f64 {
        format::mib_per_second(self.dirty, self.span())
    }

    fn unknown_rate(&self) -> f64 {
        format::mib_per_second(self.unknown, self.span())
    }
}

impl DirtyRate {
    /// Takes the epochs of a timeline, joined in equal groups if there are too many.
    #[must_use]
    pub fn of(subject: &str, timeline: &Timeline) -> Self {
        let epochs_each = timeline.epochs.len().div_ceil(MOST_STEPS).max(1);
        let mut start = 0;
        let mut intervals = Vec::new();
        for group in timeline.epochs.chunks(epochs_each) {
            let mut interval = Interval { start, end: start, ..Interval::default() };
            for epoch in group {
                interval.end = interval.end.max(epoch.end_ns);
                interval.dirty = interval.dirty.saturating_add(epoch.dirty_pages);
                interval.unknown = interval.unknown.saturating_add(epoch.unknown_pages);
                interval.events = interval.events.saturating_add(epoch.events);
                interval.lost = interval.lost.saturating_add(epoch.lost);
                interval.resident = epoch.resident_pages;
            }
            start = interval.end;
            intervals.push(interval);
        }
        Self { subject: subject.into(), intervals, epochs_each }
    }

    fn end(&self) -> u64 {
        self.intervals.last().map_or(0, |interval| interval.end)
    }

    fn peak(&self) -> Option<&Interval> {
        self.intervals.iter().max_by(|a, b| a.rate().total_cmp(&b.rate()))
    }

    /// Upper end of the axis. One interval far above all others, such as a first epoch that holds the past, would press the
    /// rest flat: it is cut off and its height written beside it.
    fn top(&self) -> f64 {
        let mut rates: Vec<f64> = self.intervals.iter().map(Interval::rate).collect();
        rates.sort_by(|a, b| b.total_cmp(a));
        match rates[..] {
            [first, second, ..] if second > 0.0 && first > second * CUT_FROM => second * 1.5,
            [first, ..] if first > 0.0 => first * 1.12,
            _ => 1.0,
        }
    }

    fn total(&self, of: impl Fn(&Interval) -> u64) -> u64 {
        self.intervals.iter().map(of).fold(0, u64::saturating_add)
    }

    fn legend(&self) -> Vec<(Ink, &'static str)> {
        let mut entries = vec![(DIRTY, "dirty rate")];
        if self.total(|interval| interval.unknown) > 0 {
            entries.push((UNKNOWN, "of this: only not proven clean"));
        }
        if self.total(|interval| interval.lost) > 0 {
            entries.push((LOST, "events were lost"));
        }
        entries
    }

    /// A line with steps: a rate holds for a whole interval, nothing is known about its course inside.
    fn steps(&self, of: impl Fn(&Interval) -> f64, top: f64) -> Vec<(f64, f64)> {
        let step = |at: &Interval| [at.start, at.end].map(|time| (time as f64 / 1e9, of(at).min(top)));
        self.intervals.iter().flat_map(step).collect()
    }
}

impl Drawing for DirtyRate {
    fn title(&self) -> String {
        format!("Dirty rate over time: {}", self.subject)
    }

    fn description(&self) -> String {
        let Some(peak) = self.peak() else { return "The trace has no closed epoch.".into() };
        // The baseline says what was there, not what was written: it is no part of the mean, if there is anything else.
        let rest = if self.intervals.len() > 1 { &self.intervals[1..] } else { &self.intervals };
        let (from, dirty) = (rest[0].start, rest.iter().map(|interval| interval.dirty).sum());
        let mean = format::mib_per_second(dirty, self.end().saturating_sub(from));
        let lossy = self.intervals.iter().filter(|interval| interval.lost > 0).count();
        let lost = match self.total(|interval| interval.lost) {
            0 => "No event was lost.".into(),
            lost => format!(
                "{} lost, in {lossy} of {} intervals.",
                format::plural(lost, "event was", "events were"),
                self.intervals.len()
            ),
        };
        format!(
            "Line with one step for {}. From {} to {} the mean is {mean:.1} MiB/s; the highest step is {:.1} MiB/s, from {} to {}. {lost}",
            if self.epochs_each == 1 { "each epoch".into() } else { format!("each {} epochs", self.epochs_each) },
            format::duration(from),
            format::duration(self.end()),
            peak.rate(),
            format::duration(peak.start),
            format::duration(peak.end),
        )
    }

    fn table(&self) -> Table {
        let heads = [
            "from (s)",
            "to (s)",
            "dirty rate (MiB/s)",
            "dirty pages",
            "only not proven clean",
            "events",
            "lost events",
            "resident pages",
        ];
        let caption = match self.epochs_each {
            1 => "One row for each epoch.".into(),
            each => format!("One row for each {each} epochs. Every epoch by itself is in summary.json."),
        };
        let mut table = Table::new(caption, &heads);
        table.columns[0].numeric = true;
        table.rows = self
            .intervals
            .iter()
            .map(|at| {
                vec![
                    format::seconds(at.start),
                    format::seconds(at.end),
                    format!("{:.1}", at.rate()),
                    format::count(at.dirty),
                    format::count(at.unknown),
                    format::count(at.events),
                    format::count(at.lost),
                    format::count(at.resident),
                ]
            })
            .collect();
        table
    }

    fn time_axis(&self, format: Format) -> Option<(i32, i32)> {
        Some(axis(format))
    }

    fn height(&self, format: Format) -> u32 {
        u32::try_from(LEGEND_TOP + format.legend_height(&self.legend())).unwrap_or(HEIGHT)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let plot = area.margin(0, area.dim_in_pixel().1 as i32 - LEGEND_TOP + 12, 0, 0);
        let last = if self.end() == 0 { 1.0 } else { self.end() as f64 / 1e9 };
        let top = self.top();
        let mut chart = ChartBuilder::on(&plot)
            .margin_top(22)
            .margin_right(RIGHT)
            .x_label_area_size(40)
            .y_label_area_size(axis(format).0)
            .build_cartesian_2d(0.0..last, 0.0..top)?;
        mesh(&mut chart, format, 6)?;
        chart.draw_series(AreaSeries::new(self.steps(Interval::unknown_rate, top), 0.0, UNKNOWN.rgb().filled()))?;
        chart.draw_series(LineSeries::new(self.steps(Interval::rate, top), DIRTY.rgb().stroke_width(2)))?;
        // The chart counts pixels from the corner of the picture, the pen from that of the area.
        let (left, above) = area.get_pixel_range();
        let at = |(x, y): (i32, i32)| (x - left.start, y - above.start);
        for lossy in self.intervals.iter().filter(|interval| interval.lost > 0) {
            let middle = (lossy.start as f64 + lossy.end as f64) / 2e9;
            let (x, y) = at(chart.plotting_area().map_coordinate(&(middle, top)));
            pen.line(&[(x, y), (x, LEGEND_TOP - 52)], LOST, 1)?;
            pen.marker((x, y), LOST)?;
        }
        if let Some(peak) = self.peak().filter(|peak| peak.rate() > top) {
            let (x, y) = at(chart.plotting_area().map_coordinate(&(peak.end as f64 / 1e9, top)));
            let label = format!("↑ {:.1} MiB/s, cut off", peak.rate());
            let fits = x + 6 + format.text_width(&label) < format.right();
            let how = if fits { Lettering::PLAIN } else { Lettering::PLAIN.right() };
            pen.text(&label, (if fits { x + 6 } else { x - 6 }, y), how)?;
        }
        pen.text("MiB/s", (0, 2), Lettering::MUTED)?;
        pen.text("seconds since the start", (format.right() - 8, LEGEND_TOP - 26), Lettering::MUTED.right())?;
        pen.legend(&self.legend(), LEGEND_TOP)
    }
}
