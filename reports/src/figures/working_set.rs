//! How much memory is in use together, beside how much holds data.

use pagesieve_core::PAGE_SIZE;
use pagesieve_core::series::{Timeline, WorkingSets};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::chart::{Course, MOST_STEPS, Panel};
use super::ink::{DIRTY, Ink, LINES, MUTED};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkingSet {
    /// The trace, for the title.
    pub subject: String,
    /// Length of the short and of the long window in nanoseconds.
    pub windows_ns: [u64; 2],
    /// Neighbouring epochs in order.
    pub steps: Vec<WorkingStep>,
    /// Epochs in each step; the last may hold fewer.
    pub epochs_each: usize,
}

/// One epoch, or the largest sets of several neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkingStep {
    /// Start in nanoseconds.
    pub start: u64,
    /// End in nanoseconds.
    pub end: u64,
    /// Pages written within the short and the long window.
    pub written: [u64; 2],
    /// Pages touched within the short and the long window.
    pub touched: [u64; 2],
    /// Pages that held data at the end.
    pub resident: u64,
}

const PLOT: i32 = 250;
const BELOW: i32 = 24;
/// Resident memory is drawn if it is at most so many times the largest set; otherwise it would press all else flat.
const DRAWN_UP_TO: u64 = 4;

impl WorkingSet {
    /// Takes the windows of a trace; epochs are joined in equal groups if there are too many. `None` if there are none.
    #[must_use]
    pub fn of(subject: &str, sets: &WorkingSets, timeline: &Timeline) -> Option<Self> {
        let epochs_each = sets.points.len().div_ceil(MOST_STEPS).max(1);
        let mut start = 0;
        let mut steps: Vec<WorkingStep> = Vec::new();
        for (group, points) in sets.points.chunks(epochs_each).enumerate() {
            let mut step = WorkingStep { start, end: start, ..WorkingStep::default() };
            for (at, point) in points.iter().enumerate() {
                let larger = |one: [u64; 2], other: [u64; 2]| [one[0].max(other[0]), one[1].max(other[1])];
                step.end = step.end.max(point.end_ns);
                step.written = larger(step.written, point.written);
                step.touched = larger(step.touched, point.touched);
                step.resident = timeline.epochs.get(group * epochs_each + at).map_or(0, |epoch| epoch.resident_pages);
            }
            start = step.end;
            steps.push(step);
        }
        (!steps.is_empty()).then(|| Self { subject: subject.into(), windows_ns: sets.windows_ns, steps, epochs_each })
    }

    fn window(&self, at: usize) -> String {
        format::duration(self.windows_ns[at]).replace(".0", "")
    }

    fn most(&self, of: impl Fn(&WorkingStep) -> u64) -> u64 {
        self.steps.iter().map(of).max().unwrap_or(0)
    }

    fn draws_resident(&self) -> bool {
        let largest = self.most(|step| step.touched[1].max(step.written[1]));
        self.most(|step| step.resident) <= largest.saturating_mul(DRAWN_UP_TO)
    }

    fn legend(&self) -> Vec<(Ink, String)> {
        let mut entries = vec![
            (DIRTY, format!("written within {}", self.window(0))),
            (LINES[2], format!("written within {}", self.window(1))),
            (LINES[3], format!("touched within {}", self.window(1))),
        ];
        let resident = format::bytes(self.most(|step| step.resident).saturating_mul(PAGE_SIZE));
        entries.push(if self.draws_resident() {
            (MUTED, "holds data".into())
        } else {
            (MUTED, format!("holds data: up to {resident}, above the plot"))
        });
        entries
    }
}

fn mib(pages: u64) -> f64 {
    pages as f64 * PAGE_SIZE as f64 / 1_048_576.0
}

impl Drawing for WorkingSet {
    fn title(&self) -> String {
        format!("Working set over time: {}", self.subject)
    }

    fn description(&self) -> String {
        let most = |of: fn(&WorkingStep) -> u64| format::bytes(self.most(of).saturating_mul(PAGE_SIZE));
        format!(
            "Lines over time. At most {} were written within {}, {} within {}; {} were touched within {}. Up to {} held data.",
            most(|step| step.written[0]),
            self.window(0),
            most(|step| step.written[1]),
            self.window(1),
            most(|step| step.touched[1]),
            self.window(1),
            most(|step| step.resident)
        )
    }

    fn table(&self) -> Table {
        let within = |what: &str, at: usize| format!("pages {what} within {}", self.window(at));
        let heads = [
            "from (s)".to_owned(),
            "to (s)".to_owned(),
            within("written", 0),
            within("written", 1),
            within("touched", 0),
            within("touched", 1),
            "resident pages".to_owned(),
        ];
        let caption = match self.epochs_each {
            1 => "Distinct pages in use within the windows that end with each epoch.".into(),
            each => format!("The largest sets of each {each} epochs. Every epoch by itself is in summary.json."),
        };
        let mut table = Table::new(caption, &heads.each_ref().map(String::as_str));
        table.columns[0].numeric = true;
        let row = |step: &WorkingStep| {
            let mut cells = vec![format::seconds(step.start), format::seconds(step.end)];
            cells.extend(step.written.into_iter().chain(step.touched).chain([step.resident]).map(format::count));
            cells
        };
        table.rows = self.steps.iter().map(row).collect();
        table
    }

    fn time_axis(&self, format: Format) -> Option<(i32, i32)> {
        Some(Panel::axis(format))
    }

    fn height(&self, format: Format) -> u32 {
        let legend = self.legend();
        let entries: Vec<(Ink, &str)> = legend.iter().map(|(ink, label)| (*ink, label.as_str())).collect();
        u32::try_from(PLOT + BELOW + format.legend_height(&entries)).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let course = |ink: Ink, of: &dyn Fn(&WorkingStep) -> u64| Course {
            ink,
            steps: self.steps.iter().map(|step| ((step.start, step.end), mib(of(step)))).collect(),
        };
        let mut courses = Vec::new();
        if self.draws_resident() {
            courses.push(course(MUTED, &|step| step.resident));
        }
        courses.push(course(LINES[3], &|step| step.touched[1]));
        courses.push(course(LINES[2], &|step| step.written[1]));
        courses.push(course(DIRTY, &|step| step.written[0]));
        let end = self.steps.last().map_or(0, |step| step.end);
        Panel::new("MiB", courses).draw(&pen, (0, PLOT), end)?;
        pen.text("seconds since the start", (format.right() - 8, PLOT), Lettering::MUTED.right())?;
        let legend = self.legend();
        let entries: Vec<(Ink, &str)> = legend.iter().map(|(ink, label)| (*ink, label.as_str())).collect();
        pen.legend(&entries, PLOT + BELOW)
    }
}
