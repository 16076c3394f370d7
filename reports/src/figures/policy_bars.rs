//! What each policy sent, sent again and lost, side by side.

use pagesieve_core::PAGE_SIZE;
use pagesieve_core::summary::share;
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::ink::{GRID, Ink, LOST, RESENT, SENT};
use super::{DrawResult, Drawing, Format, Table};
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyBars {
    /// The trace, for the title.
    pub subject: String,
    /// `sync` or `precopy`.
    pub scenario: String,
    /// One bar each.
    pub rows: Vec<PolicyBar>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyBar {
    /// Its name.
    pub policy: String,
    /// Guest memory sent, in bytes.
    pub sent: u64,
    /// Of this, pages that had been sent before.
    pub resent: u64,
    /// Bytes on the wire.
    pub wire: u64,
    /// Pages that the destination would have lost.
    pub lost_pages: u64,
}

const TOP: i32 = 4;
const LABEL: i32 = 20;
const BAR: i32 = 18;
const LOSS: i32 = 24;
const GAP: i32 = 12;
const AXIS: i32 = 30;

impl PolicyBar {
    fn lost(&self) -> u64 {
        self.lost_pages.saturating_mul(PAGE_SIZE)
    }

    /// The parts of the bar from left to right.
    fn parts(&self) -> [(Ink, u64); 3] {
        let again = self.resent.min(self.sent);
        [(SENT, self.sent - again), (RESENT, again), (LOST, self.lost())]
    }

    fn words(&self, format: Format) -> String {
        let again = if self.resent > 0 { format!(" · {} again", format::bytes(self.resent)) } else { String::new() };
        // On a phone the name of the policy needs the room; what loses is written below its bar.
        let lost = if self.lost_pages == 0 && !format.is_narrow() { " · loses none" } else { "" };
        format!("{} sent{again}{lost}", format::bytes(self.sent))
    }

    fn height(&self) -> i32 {
        LABEL + BAR + if self.lost_pages > 0 { LOSS } else { 0 }
    }
}

impl PolicyBars {
    fn longest(&self) -> u64 {
        self.rows.iter().map(|row| row.sent.saturating_add(row.lost())).max().unwrap_or(0)
    }

    fn legend(&self) -> Vec<(Ink, &'static str)> {
        let mut entries = vec![(SENT, "sent for the first time in this run")];
        if self.rows.iter().any(|row| row.resent > 0) {
            entries.push((RESENT, "sent again"));
        }
        if self.rows.iter().any(|row| row.lost_pages > 0) {
            entries.push((LOST, "lost: taken for current, and is not"));
        }
        entries
    }

    fn plot_height(&self) -> i32 {
        TOP + self.rows.iter().map(|row| row.height() + GAP).sum::<i32>()
    }
}

impl Drawing for PolicyBars {
    fn title(&self) -> String {
        format!("What each policy sends and loses, {}: {}", self.scenario, self.subject)
    }

    fn description(&self) -> String {
        let row = |row: &PolicyBar| {
            let (sent, again) = (format::bytes(row.sent), format::bytes(row.resent));
            let lost = format::plural(row.lost_pages, "page", "pages");
            format!("{}: {sent} sent, {again} of it again, {lost} lost.", row.policy)
        };
        let rows: Vec<String> = self.rows.iter().map(row).collect();
        format!("One bar for each policy, in bytes of guest memory. {}", rows.join(" "))
    }

    fn table(&self) -> Table {
        let heads = ["policy", "sent", "of this again", "on the wire", "lost pages"];
        let mut table = Table::new("Guest memory sent before encoding, bytes on the wire, and pages lost.", &heads);
        let row = |row: &PolicyBar| {
            vec![
                row.policy.clone(),
                format::bytes(row.sent),
                format::bytes(row.resent),
                format::bytes(row.wire),
                format::count(row.lost_pages),
            ]
        };
        table.rows = self.rows.iter().map(row).collect();
        table
    }

    fn height(&self, format: Format) -> u32 {
        u32::try_from(self.plot_height() + AXIS + format.legend_height(&self.legend())).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let (right, bottom, longest) = (format.right() - 1, self.plot_height(), self.longest());
        let parts = if format.is_narrow() { 2 } else { 4 };
        for part in 0..=parts {
            let x = right * part / parts;
            pen.line(&[(x, 0), (x, bottom)], GRID, 1)?;
            let how = match part {
                0 => Lettering::MUTED,
                part if part == parts => Lettering::MUTED.right(),
                _ => Lettering::MUTED.center(),
            };
            let bytes = (u128::from(longest) * part as u128 / parts as u128) as u64;
            pen.text(&format::bytes(bytes), (x, bottom + 6), how)?;
        }
        let mut top = TOP;
        for row in &self.rows {
            draw_row(&pen, row, top, longest)?;
            top += row.height() + GAP;
        }
        pen.legend(&self.legend(), bottom + AXIS)
    }
}

fn draw_row<DB: DrawingBackend>(pen: &Pen<'_, DB>, row: &PolicyBar, top: i32, longest: u64) -> DrawResult<DB> {
    let right = pen.format.right() - 1;
    let loses = row.lost_pages > 0;
    let words = row.words(pen.format);
    let room = pen.format.chars_in((right - pen.format.text_width(&words) - 16) * 8 / 9);
    let how = if loses { Lettering::BOLD.ink(LOST) } else { Lettering::BOLD };
    pen.text(&format::shorten(&row.policy, room), (0, top), how)?;
    pen.text(&words, (right, top), Lettering::PLAIN.right())?;
    let bar = top + LABEL;
    let at = |bytes: u64| (share(bytes, longest).min(1.0) * f64::from(right)).round() as i32;
    let (mut before, mut edge) = (0_u64, 0);
    for (ink, bytes) in row.parts() {
        before = before.saturating_add(bytes);
        // What was lost is drawn however little it is.
        let least = if ink == LOST && bytes > 0 { 4 } else { 0 };
        let to = at(before).max(edge + least).min(right);
        if to > edge {
            // One pixel of ground keeps two parts apart for readers who see no difference in hue.
            let from = if ink == LOST { edge.min(right - least) } else { edge };
            pen.fill((from, bar), ((to - 1).max(from + 1), bar + BAR), ink)?;
        }
        edge = to;
    }
    if loses {
        let label = format!("loses {}", format::plural(row.lost_pages, "page", "pages"));
        let half = pen.format.text_width(&label) * 9 / 16;
        let x = edge.min(right - half).max(half);
        pen.text(&label, (x, bar + BAR + 5), Lettering::BOLD.center().ink(LOST))?;
    }
    Ok(())
}
