//! Step lines over time, several panels one below the other.

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{Cartesian2d, ChartBuilder, ChartContext, DrawingBackend, LineSeries};
use plotters::style::Color;

use super::canvas::{Lettering, Pen};
use super::ink::{GRID, Ink};
use super::{DrawResult, Format};
use crate::format;

/// A chart of numbers over seconds.
pub(crate) type TimeChart<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// More steps than this can neither be told apart on a screen nor read in a table.
pub(crate) const MOST_STEPS: usize = 300;

/// Height of the labels below a panel.
const LABELS: i32 = 26;
/// Height of the line above a panel.
const HEAD: i32 = 22;
/// Room to the right of a panel.
const RIGHT: i32 = 12;

/// A span of time in nanoseconds with a value that holds for all of it.
pub(crate) type Step = ((u64, u64), f64);

/// A line.
pub(crate) struct Course {
    pub(crate) ink: Ink,
    pub(crate) steps: Vec<Step>,
}

/// Lines that share an axis.
pub(crate) struct Panel {
    /// What the axis counts, as a heading.
    pub(crate) heading: String,
    /// Upper end of the axis.
    pub(crate) top: f64,
    pub(crate) courses: Vec<Course>,
}

impl Panel {
    /// A panel that is as high as its highest line.
    pub(crate) fn new(heading: impl Into<String>, courses: Vec<Course>) -> Self {
        let values = courses.iter().flat_map(|course| &course.steps).map(|step| step.1);
        let highest = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        Self { heading: heading.into(), top: if highest > 0.0 { highest * 1.12 } else { 1.0 }, courses }
    }

    /// Left and right end of the time axis.
    pub(crate) fn axis(format: Format) -> (i32, i32) {
        (if format.is_narrow() { 58 } else { 64 }, format.right() - RIGHT)
    }

    /// Draws the panel between two heights of the area; the time axis ends at `end`.
    pub(crate) fn draw<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, y: (i32, i32), end: u64) -> DrawResult<DB> {
        let whole = pen.area.dim_in_pixel().1 as i32;
        let plot = pen.area.margin(y.0, whole - y.1, 0, 0);
        let last = if end == 0 { 1.0 } else { end as f64 / 1e9 };
        let mut chart = ChartBuilder::on(&plot)
            .margin_top(HEAD)
            .margin_right(RIGHT)
            .x_label_area_size(LABELS)
            .y_label_area_size(Self::axis(pen.format).0)
            .build_cartesian_2d(0.0..last, 0.0..self.top)?;
        mesh(&mut chart, pen.format, 5)?;
        for course in &self.courses {
            let points = course.steps.iter().flat_map(|(span, value)| {
                let value = if value.is_finite() { value.min(self.top) } else { 0.0 };
                [span.0, span.1].map(|time| (time as f64 / 1e9, value))
            });
            chart.draw_series(LineSeries::new(points, course.ink.rgb().stroke_width(2)))?;
        }
        pen.text(&self.heading, (0, y.0 + 2), Lettering::MUTED)
    }
}

/// Lines across and labels of both axes, of which the upright one has about so many.
pub(crate) fn mesh<DB: DrawingBackend>(chart: &mut TimeChart<'_, DB>, format: Format, labels: usize) -> DrawResult<DB> {
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(GRID.rgb().mix(0.0))
        .bold_line_style(GRID.rgb())
        .axis_style(GRID.rgb())
        .x_labels(if format.is_narrow() { 5 } else { 10 })
        .y_labels(labels)
        .x_label_formatter(&|seconds| short(*seconds))
        .y_label_formatter(&|value| short(*value))
        .label_style(Lettering::MUTED.style(format.text))
        .draw()
}

/// A number on an axis: no decimals where none are needed, thousands with commas.
pub(crate) fn short(number: f64) -> String {
    if !(0.0..1e15).contains(&number) {
        return String::new();
    }
    if number >= 10_000.0 {
        return format::count(number.round() as u64);
    }
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
