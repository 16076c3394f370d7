//! How often pages are written, and how long they rest between two writes.

use pagesieve_core::series::RedirtyIntervals;
use pagesieve_core::summary::share;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::ink::{DIRTY, GRID, Ink, SENT, ZERO};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedirtyBars {
    /// The trace, for the title.
    pub subject: String,
    /// The counts.
    pub counts: RedirtyIntervals,
}

/// A bar: its label, its count and its colour.
struct Bar {
    label: String,
    count: u64,
    ink: Ink,
}

const HEADING: i32 = 28;
const ROW: i32 = 24;
const BAR: i32 = 16;
const BETWEEN: i32 = 14;
const LABEL: i32 = 128;

impl RedirtyBars {
    /// The drawing of a trace; `None` if the trace has no epoch in which a write could be seen.
    #[must_use]
    pub fn of(subject: &str, counts: &RedirtyIntervals) -> Option<Self> {
        (counts.epochs > 0).then(|| Self { subject: subject.into(), counts: counts.clone() })
    }

    fn pages(&self) -> Vec<Bar> {
        let bar = |label: &str, count, ink| Bar { label: label.into(), count, ink };
        vec![
            bar("never", self.counts.never, SENT),
            bar("in one epoch", self.counts.once, ZERO),
            bar("in several", self.counts.again, DIRTY),
        ]
    }

    fn intervals(&self) -> Vec<Bar> {
        let bar = |(at, &count): (usize, &u64)| Bar { label: range(at), count, ink: DIRTY };
        // More than 63 powers of two do not exist; a summary may claim any number.
        self.counts.intervals.iter().take(63).enumerate().map(bar).collect()
    }

    fn rests(&self) -> u64 {
        self.counts.intervals.iter().copied().fold(0, u64::saturating_add)
    }
}

/// The intervals of a bucket, in epochs.
fn range(bucket: usize) -> String {
    let low = 1_u64 << bucket.min(62);
    match low {
        1 => "1 epoch".into(),
        low => format!("{}–{} epochs", format::count(low), format::count(2 * low - 1)),
    }
}

impl Drawing for RedirtyBars {
    fn title(&self) -> String {
        format!("How long pages rest between two writes: {}", self.subject)
    }

    fn description(&self) -> String {
        let pages = |count| format::plural(count, "page", "pages");
        let shortest = self.counts.intervals.first().copied().unwrap_or(0);
        let rest = match self.rests() {
            0 => "No page was written in two epochs.".into(),
            all => format!(
                "Of {} between two writes {} are one epoch long: the page was written in two epochs in a row.",
                format::plural(all, "interval", "intervals"),
                format::percent(share(shortest, all))
            ),
        };
        format!(
            "Bars. Over {}, {} that hold data were never written, {} in one epoch, {} in several. {rest}",
            format::plural(self.counts.epochs, "epoch", "epochs"),
            pages(self.counts.never),
            pages(self.counts.once),
            pages(self.counts.again),
        )
    }

    fn table(&self) -> Table {
        let heads = ["what", "count", "share"];
        let mut table = Table::new("Pages by how often they were written, then the intervals between two writes.", &heads);
        for (name, bars) in [("pages written ", self.pages()), ("rest of ", self.intervals())] {
            let all = bars.iter().map(|bar| bar.count).fold(0, u64::saturating_add);
            let row = |bar: &Bar| {
                vec![format!("{name}{}", bar.label), format::count(bar.count), format::percent(share(bar.count, all))]
            };
            table.rows.extend(bars.iter().map(row));
        }
        table
    }

    fn height(&self, _: Format) -> u32 {
        let rows = self.pages().len() + self.intervals().len().max(1);
        2 * HEADING as u32 + BETWEEN as u32 + rows as u32 * ROW as u32
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let below = draw_group(&pen, "pages that were written", &self.pages(), 0)?;
        let intervals = self.intervals();
        let below = draw_group(&pen, "epochs from one write of a page to the next", &intervals, below + BETWEEN)?;
        if intervals.is_empty() {
            pen.text("no page was written in two epochs", (0, below), Lettering::MUTED)?;
        }
        Ok(())
    }
}

/// Draws bars with a heading; returns where the next group may begin.
fn draw_group<DB: DrawingBackend>(
    pen: &Pen<'_, DB>,
    heading: &str,
    bars: &[Bar],
    top: i32,
) -> Result<i32, plotters::prelude::DrawingAreaErrorKind<DB::ErrorType>> {
    pen.text(heading, (0, top), Lettering::BOLD)?;
    let (most, all) =
        (bars.iter().map(|bar| bar.count).max().unwrap_or(0), bars.iter().map(|bar| bar.count).fold(0, u64::saturating_add));
    // Room for the longest count behind the longest bar.
    let room = pen.format.text_width(&format!("{} (99.9 %)", format::count(most))) + 10;
    let width = (pen.format.right() - LABEL - room).max(20);
    let mut y = top + HEADING;
    for bar in bars {
        pen.text(&bar.label, (LABEL - 8, y + 1), Lettering::PLAIN.right())?;
        let end = LABEL + (share(bar.count, most) * f64::from(width)).round() as i32;
        pen.line(&[(LABEL, y), (LABEL, y + BAR)], GRID, 1)?;
        if bar.count > 0 {
            pen.fill((LABEL, y), (end.max(LABEL + 2), y + BAR), bar.ink)?;
        }
        let label = format!("{} ({})", format::count(bar.count), format::percent(share(bar.count, all)));
        pen.text(&label, (end + 8, y + 1), Lettering::MUTED)?;
        y += ROW;
    }
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_named_by_their_ends() {
        assert_eq!([0, 1, 2, 10].map(range), ["1 epoch", "2–3 epochs", "4–7 epochs", "1,024–2,047 epochs"]);
    }
}
