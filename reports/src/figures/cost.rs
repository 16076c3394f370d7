//! What the recording itself did to the target, as far as the trace shows it.

use pagesieve_core::series::Timeline;
use pagesieve_core::summary::share;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::chart::{Course, MOST_STEPS, Panel, Step};
use super::ink::{DIRTY, Ink, LINES, MUTED};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The trace, for the title.
    pub subject: String,
    /// Neighbouring epochs in order.
    pub steps: Vec<CostStep>,
    /// Epochs in each step; the last may hold fewer.
    pub epochs_each: usize,
}

/// One epoch, or several neighbours taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CostStep {
    /// Start in nanoseconds.
    pub start: u64,
    /// End in nanoseconds.
    pub end: u64,
    /// Time in which epochs were closed.
    pub scan_ns: u64,
    /// Epochs at whose end the target stood still.
    pub stopped: u64,
    /// Write events.
    pub writes: u64,
    /// All events.
    pub events: u64,
    /// Events lost.
    pub lost: u64,
}

const PANEL: i32 = 150;
const BELOW: i32 = 24;

impl CostStep {
    fn span(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    fn per_second(&self, count: u64) -> f64 {
        if self.span() == 0 { 0.0 } else { count as f64 / (self.span() as f64 / 1e9) }
    }

    fn scan_share(&self) -> f64 {
        share(self.scan_ns, self.span())
    }
}

impl Cost {
    /// Takes the epochs of a timeline, joined in equal groups if there are too many. `None` if there are none.
    #[must_use]
    pub fn of(subject: &str, timeline: &Timeline) -> Option<Self> {
        let epochs_each = timeline.epochs.len().div_ceil(MOST_STEPS).max(1);
        let mut start = 0;
        let mut steps: Vec<CostStep> = Vec::new();
        for group in timeline.epochs.chunks(epochs_each) {
            let mut step = CostStep { start, end: start, ..CostStep::default() };
            for epoch in group {
                step.end = step.end.max(epoch.end_ns);
                step.scan_ns = step.scan_ns.saturating_add(epoch.scan_ns);
                step.stopped += u64::from(epoch.stopped);
                step.writes = step.writes.saturating_add(epoch.write_events);
                step.events = step.events.saturating_add(epoch.events);
                step.lost = step.lost.saturating_add(epoch.lost);
            }
            start = step.end;
            steps.push(step);
        }
        (!steps.is_empty()).then(|| Self { subject: subject.into(), steps, epochs_each })
    }

    /// All epochs taken together.
    #[must_use]
    pub fn whole(&self) -> CostStep {
        let mut whole = CostStep::default();
        for step in &self.steps {
            whole.end = whole.end.max(step.end);
            whole.scan_ns = whole.scan_ns.saturating_add(step.scan_ns);
            whole.stopped = whole.stopped.saturating_add(step.stopped);
            whole.writes = whole.writes.saturating_add(step.writes);
            whole.events = whole.events.saturating_add(step.events);
            whole.lost = whole.lost.saturating_add(step.lost);
        }
        whole
    }

    /// The totals for people: name and value.
    #[must_use]
    pub fn facts(&self, epochs: u64, trace_bytes: u64) -> Vec<(String, String)> {
        let whole = self.whole();
        let of_time = format::percent(whole.scan_share());
        let stopped = format!("{} of {}", format::count(whole.stopped), format::count(epochs));
        let mut facts = vec![
            ("Closing epochs".into(), format!("{} ({of_time} of the time)", format::duration(whole.scan_ns))),
            ("Epochs closed while the target stood still".into(), stopped),
            ("First writes to armed pages".into(), format::per_second(whole.per_second(whole.writes))),
            ("All events".into(), format::per_second(whole.per_second(whole.events))),
            ("Lost events".into(), format::count(whole.lost)),
        ];
        if trace_bytes > 0 {
            let rate = whole.per_second(trace_bytes);
            let size = format!("{} ({}/s)", format::bytes(trace_bytes), format::bytes(rate as u64));
            facts.push(("Size of the trace".into(), size));
        }
        facts
    }

    fn legend() -> [(Ink, &'static str); 3] {
        [(LINES[2], "closing epochs"), (DIRTY, "first writes to armed pages"), (MUTED, "all events")]
    }

    fn course(&self, ink: Ink, of: impl Fn(&CostStep) -> f64) -> Course {
        let step = |step: &CostStep| -> Step { ((step.start, step.end), of(step)) };
        Course { ink, steps: self.steps.iter().map(step).collect() }
    }
}

impl Drawing for Cost {
    fn title(&self) -> String {
        format!("What the recording did: {}", self.subject)
    }

    fn description(&self) -> String {
        let whole = self.whole();
        let busiest = self.steps.iter().map(|step| step.per_second(step.writes)).fold(0.0, f64::max);
        let longest = self.steps.iter().map(CostStep::scan_share).fold(0.0, f64::max);
        format!(
            "Two plots over time. Closing epochs took {} of the time, {} where it took longest. There were {} first writes to \
             armed pages, {} at most, each a fault of the target.",
            format::percent(whole.scan_share()),
            format::percent(longest),
            format::per_second(whole.per_second(whole.writes)),
            format::per_second(busiest)
        )
    }

    fn table(&self) -> Table {
        let heads = [
            "from (s)",
            "to (s)",
            "closed in (ms)",
            "share of the time",
            "epochs closed standing still",
            "write events per second",
            "events per second",
            "lost events",
        ];
        let caption = match self.epochs_each {
            1 => "One row for each epoch.".into(),
            each => format!("One row for each {each} epochs. Every epoch by itself is in summary.json."),
        };
        let mut table = Table::new(caption, &heads);
        table.columns[0].numeric = true;
        let row = |step: &CostStep| {
            vec![
                format::seconds(step.start),
                format::seconds(step.end),
                format!("{:.2}", step.scan_ns as f64 / 1e6),
                format::percent(step.scan_share()),
                format::count(step.stopped),
                format!("{:.0}", step.per_second(step.writes)),
                format!("{:.0}", step.per_second(step.events)),
                format::count(step.lost),
            ]
        };
        table.rows = self.steps.iter().map(row).collect();
        table
    }

    fn time_axis(&self, format: Format) -> Option<(i32, i32)> {
        Some(Panel::axis(format))
    }

    fn height(&self, format: Format) -> u32 {
        u32::try_from(2 * PANEL + BELOW + format.legend_height(&Self::legend())).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let end = self.whole().end;
        let scan = self.course(LINES[2], |step| step.scan_share() * 100.0);
        let events = self.course(MUTED, |step| step.per_second(step.events));
        let writes = self.course(DIRTY, |step| step.per_second(step.writes));
        Panel::new("% of the time", vec![scan]).draw(&pen, (0, PANEL), end)?;
        Panel::new("per second", vec![events, writes]).draw(&pen, (PANEL, 2 * PANEL), end)?;
        pen.text("seconds since the start", (format.right() - 8, 2 * PANEL), Lettering::MUTED.right())?;
        pen.legend(&Self::legend(), 2 * PANEL + BELOW)
    }
}
