//! Migrations over links of several speeds: what was foretold, and what came.

use pagesieve_core::forecast::Rate;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::ink::{CLAIM, DIRTY, FORETOLD, GRID, Ink, LOST};
use super::{DrawResult, Drawing, Format, Table};
use crate::LinkOutcome;
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Links {
    /// The trace, for the title.
    pub subject: String,
    /// In the order of the rows.
    pub outcomes: Vec<LinkOutcome>,
}

const TOP: i32 = 24;
const ROW: i32 = 30;
const LABEL: i32 = 20;
const AXIS: i32 = 30;
const NS_PER_MS: f64 = 1e6;
/// The axis ends at 28 hours; marks beyond stand at its end.
const LAST_DECADE: i32 = 8;

impl Links {
    /// The drawing of a trace; `None` if nothing was migrated.
    #[must_use]
    pub fn of(subject: &str, outcomes: &[LinkOutcome]) -> Option<Self> {
        (!outcomes.is_empty()).then(|| Self { subject: subject.into(), outcomes: outcomes.to_vec() })
    }

    /// Both ends of the axis as powers of ten of milliseconds.
    fn decades(&self) -> (i32, i32) {
        let times = self.outcomes.iter().flat_map(|at| {
            let foretold = at.forecast.map(|foretold| [foretold.total_time.0, foretold.downtime.0]);
            [at.total_time_ns, at.downtime_ns].into_iter().chain(foretold.into_iter().flatten())
        });
        // Times beyond a year are no times of a migration: nothing moves there.
        let exponents = times.filter(|&ns| ns > 0 && ns < YEAR).map(|ns| (ns as f64 / NS_PER_MS).log10());
        let (low, high) = exponents.fold((2.0_f64, 3.0_f64), |(low, high), at| (low.min(at), high.max(at)));
        // A millisecond is less than anybody notices.
        ((low.floor() as i32).max(0), (high.ceil() as i32).clamp(1, LAST_DECADE))
    }

    fn limit(&self) -> Option<u64> {
        self.outcomes.iter().find_map(|at| at.forecast.map(|foretold| foretold.link.downtime_limit.0))
    }

    /// How good the forecasts were, in a sentence or two.
    #[must_use]
    pub fn verdict(&self) -> String {
        let (right, all) = self.judged();
        if all == 0 {
            return "Nothing was foretold: no epoch after the first had ended when the migration began.".into();
        }
        let factors = self.outcomes.iter().filter_map(|at| {
            let (foretold, came) = (at.forecast?.total_time.0, at.total_time_ns);
            (foretold > 0 && came > 0 && foretold < YEAR).then(|| foretold as f64 / came as f64)
        });
        let (low, high) = factors.fold((f64::INFINITY, 0.0_f64), |(low, high), at| (low.min(at), high.max(at)));
        let times = if high > 0.0 {
            format!(" The time foretold was {low:.1} to {high:.1} times the time that it took.")
        } else {
            String::new()
        };
        format!("Whether it converges was foretold rightly in {right} of {all} cases.{times}")
    }

    /// Forecasts that were right about converging, and all of them.
    fn judged(&self) -> (usize, usize) {
        let forecasts = self.outcomes.iter().filter_map(|at| at.forecast.map(|foretold| foretold.converges == at.converged));
        (forecasts.clone().filter(|right| *right).count(), forecasts.count())
    }

    fn legend(&self) -> Vec<(Ink, &'static str)> {
        vec![(FORETOLD, "foretold"), (DIRTY, "came; circle: the whole migration, square: the downtime")]
    }
}

const YEAR: u64 = 365 * 86_400 * 1_000_000_000;

fn name(at: &LinkOutcome) -> String {
    format!("{} · {}", Rate(at.bandwidth), at.policy)
}

fn ending(converged: bool) -> &'static str {
    if converged { "converged" } else { "did not converge" }
}

/// How it ended, and a note if something else was foretold.
fn judged_ending(at: &LinkOutcome) -> String {
    let other = at.forecast.is_some_and(|foretold| foretold.converges != at.converged);
    format!("{}{}", ending(at.converged), if other { ", not as foretold" } else { "" })
}

/// A power of ten of a millisecond in few characters.
fn tick(ns: u64) -> String {
    match ns / 1_000_000_000 {
        0..120 => format::duration(ns).replace(".0", ""),
        seconds @ 120..7_200 => format!("{:.0}\u{a0}min", seconds as f64 / 60.0),
        seconds @ 7_200..36_000 => format!("{:.1}\u{a0}h", seconds as f64 / 3_600.0),
        seconds => format!("{:.0}\u{a0}h", seconds as f64 / 3_600.0),
    }
}

/// A time, or that there is none.
fn time(ns: u64) -> String {
    if ns >= YEAR { "never".into() } else { format::duration(ns) }
}

impl Drawing for Links {
    fn title(&self) -> String {
        format!("Migration by link speed, foretold and come: {}", self.subject)
    }

    fn description(&self) -> String {
        let row = |at: &LinkOutcome| {
            let foretold = at.forecast.map_or_else(
                || "nothing was foretold".into(),
                |foretold| {
                    format!(
                        "foretold {} with a downtime of {}, {}",
                        time(foretold.total_time.0),
                        time(foretold.downtime.0),
                        if foretold.converges { "converging" } else { "not converging" }
                    )
                },
            );
            let came = format!("{} with {}, it {}", time(at.total_time_ns), time(at.downtime_ns), ending(at.converged));
            format!("{}: {foretold}; took {came}.", name(at))
        };
        let rows: Vec<String> = self.outcomes.iter().map(row).collect();
        format!("Times on a logarithmic axis, two pairs of marks for each link and policy. {} {}", rows.join(" "), self.verdict())
    }

    fn table(&self) -> Table {
        let heads = [
            "link and policy",
            "foretold: converges",
            "came: converged",
            "foretold: time",
            "came: time",
            "foretold: downtime",
            "came: downtime",
            "foretold: on the wire",
            "came: on the wire",
            "sent",
            "of this again",
            "lost pages",
        ];
        let caption = "What was foretold before the first round, uncompressed, and what came.";
        let mut table = Table::new(caption, &heads);
        let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let dash = || format::NONE.to_owned();
        let row = |at: &LinkOutcome| {
            vec![
                name(at),
                at.forecast.map_or_else(dash, |foretold| yes(foretold.converges)),
                yes(at.converged),
                at.forecast.map_or_else(dash, |foretold| time(foretold.total_time.0)),
                time(at.total_time_ns),
                at.forecast.map_or_else(dash, |foretold| time(foretold.downtime.0)),
                time(at.downtime_ns),
                at.forecast.map_or_else(dash, |foretold| format::bytes(foretold.wire_bytes)),
                format::bytes(at.bytes.wire),
                format::bytes(at.bytes.sent),
                format::bytes(at.bytes.resent),
                format::count(at.lost_pages),
            ]
        };
        table.rows = self.outcomes.iter().map(row).collect();
        table
    }

    fn height(&self, format: Format) -> u32 {
        let row = if format.is_narrow() { ROW + LABEL } else { ROW };
        let rows = i32::try_from(self.outcomes.len()).unwrap_or(0) * row;
        u32::try_from(TOP + rows + AXIS + format.legend_height(&self.legend())).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let scale = Scale::of(self, format);
        let row = if format.is_narrow() { ROW + LABEL } else { ROW };
        let bottom = TOP + i32::try_from(self.outcomes.len()).unwrap_or(0) * row;
        scale.draw_axis(&pen, bottom)?;
        if let Some(limit) = self.limit() {
            let x = scale.x(limit);
            pen.line(&[(x, TOP - 4), (x, bottom)], CLAIM, 1)?;
            let label = format!("downtime limit {}", format::duration(limit).replace(".0", ""));
            let half = format.text_width(&label) / 2 + 8;
            pen.text(&label, (x.max(half).min(format.right() - half), 2), Lettering::MUTED.center())?;
        }
        for (at, outcome) in self.outcomes.iter().enumerate() {
            draw_row(&pen, &scale, outcome, TOP + at as i32 * row)?;
        }
        pen.legend(&self.legend(), bottom + AXIS)
    }
}

/// The axis of times.
struct Scale {
    left: i32,
    right: i32,
    decades: (i32, i32),
}

impl Scale {
    fn of(links: &Links, format: Format) -> Self {
        let longest = links.outcomes.iter().map(|at| format.text_width(&name(at))).max().unwrap_or(0);
        let end = links.outcomes.iter().map(|at| format.text_width(&judged_ending(at))).max().unwrap_or(0) + 16;
        let (left, right) = if format.is_narrow() { (8, format.right() - 8) } else { (longest + 20, format.right() - end) };
        Self { left, right: right.max(left + 40), decades: links.decades() }
    }

    fn x(&self, ns: u64) -> i32 {
        let (low, high) = self.decades;
        let exponent = (ns as f64 / NS_PER_MS).max(1e-9).log10().clamp(f64::from(low), f64::from(high));
        let part = (exponent - f64::from(low)) / f64::from((high - low).max(1));
        self.left + (part * f64::from(self.right - self.left)).round() as i32
    }

    fn draw_axis<DB: DrawingBackend>(&self, pen: &Pen<'_, DB>, bottom: i32) -> DrawResult<DB> {
        for decade in self.decades.0..=self.decades.1 {
            let ns = 10_u64.saturating_pow(u32::try_from(decade + 6).unwrap_or(0));
            let x = self.x(ns);
            pen.line(&[(x, TOP - 4), (x, bottom)], GRID, 1)?;
            if pen.format.is_narrow() && (decade - self.decades.0) % 2 == 1 && self.decades.1 - self.decades.0 > 5 {
                continue;
            }
            let at_end = |edge: i32| (x - edge).abs() < 16;
            let how = match () {
                () if at_end(0) => Lettering::MUTED,
                () if at_end(pen.format.right()) => Lettering::MUTED.right(),
                () => Lettering::MUTED.center(),
            };
            pen.text(&tick(ns), (x, bottom + 6), how)?;
        }
        Ok(())
    }
}

fn draw_row<DB: DrawingBackend>(pen: &Pen<'_, DB>, scale: &Scale, at: &LinkOutcome, top: i32) -> DrawResult<DB> {
    let label = name(at);
    let how = if at.converged { Lettering::MUTED } else { Lettering::PLAIN.ink(LOST) };
    let end = (pen.format.right() - 1, if pen.format.is_narrow() { top } else { top + ROW / 2 - pen.format.text / 2 });
    let middle = if pen.format.is_narrow() {
        pen.text(&label, (0, top), Lettering::PLAIN)?;
        top + LABEL + ROW / 2 - 6
    } else {
        pen.text(&label, (0, end.1), Lettering::PLAIN)?;
        top + ROW / 2
    };
    pen.text(&judged_ending(at), end, how.right())?;
    pen.line(&[(scale.left, middle), (scale.right, middle)], GRID, 1)?;
    let foretold = at.forecast.map(|foretold| (foretold.total_time.0, foretold.downtime.0));
    if let Some((total, down)) = foretold {
        pen.line(&[(scale.x(total), middle), (scale.x(at.total_time_ns), middle)], FORETOLD, 2)?;
        pen.line(&[(scale.x(down), middle), (scale.x(at.downtime_ns), middle)], FORETOLD, 2)?;
        pen.dot((scale.x(total), middle), 7, FORETOLD)?;
        pen.square((scale.x(down), middle), 7, FORETOLD)?;
    }
    pen.dot((scale.x(at.total_time_ns), middle), 4, DIRTY)?;
    pen.square((scale.x(at.downtime_ns), middle), 4, DIRTY)
}
