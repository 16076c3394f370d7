//! What became of all blocks, as one bar for each replay, beside the claimed range of skip rates.

use pagesieve_core::summary::{BlockCounts, share};
use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend};

use super::canvas::{Lettering, Pen};
use super::ink::{CLAIM, DEFERRED, Ink, LOST, MUTED, PRESUMED, SAME_CONTENT, SENT, UNCHANGED, UNPOPULATED, ZERO};
use super::{DrawResult, Drawing, Format, Table};
use crate::claims::Claim;
use crate::format;

/// The data of the figure.
#[derive(Clone, Debug, PartialEq)]
pub struct SkipBars {
    /// What the rows have in common, for the title.
    pub subject: String,
    /// One bar each.
    pub rows: Vec<SkipRow>,
}

/// One bar.
#[derive(Clone, Debug, PartialEq)]
pub struct SkipRow {
    /// What the bar stands for.
    pub label: String,
    /// The verdicts.
    pub blocks: BlockCounts,
    /// The claimed range, if there is one.
    pub claim: Option<&'static Claim>,
    /// Pages that the destination would have lost.
    pub lost_pages: u64,
}

/// Room for the parts of letters that reach above the line of the first label.
const TOP: i32 = 4;
const LABEL: i32 = 20;
const BAR: i32 = 20;
const THIN: i32 = 5;
const CLAIM_LINE: i32 = 26;
const GAP: i32 = 14;
const AXIS: i32 = 28;

impl SkipRow {
    /// The parts of the bar from left to right: first what is skipped with proof, then what is skipped without, then the rest.
    fn parts(&self) -> [(Ink, &'static str, u64); 7] {
        let skipped = &self.blocks.skipped;
        [
            (UNPOPULATED, "unpopulated", skipped.unpopulated),
            (ZERO, "zero", skipped.zero),
            (UNCHANGED, "unchanged", skipped.unchanged),
            (SAME_CONTENT, "same content", skipped.same_content),
            (PRESUMED, "presumed unused (no proof)", skipped.presumed_unused),
            (DEFERRED, "deferred", self.blocks.deferred),
            (SENT, "sent", self.blocks.sent),
        ]
    }

    fn rates(&self) -> (String, String) {
        let rate = self.blocks.skip_rate();
        let resident = if self.blocks.resident == 0 { format::NONE.into() } else { format::percent(rate.resident) };
        (if self.blocks.total == 0 { format::NONE.into() } else { format::percent(rate.total) }, resident)
    }

    /// Height of the row without the gap below it.
    fn height(&self, format: Format) -> i32 {
        let label_lines = if format.is_narrow() { 2 } else { 1 };
        LABEL * label_lines + BAR + 3 + THIN + if self.claim.is_some() || self.lost_pages > 0 { CLAIM_LINE } else { 0 }
    }
}

impl SkipBars {
    /// The colours in use with what they mean, in the order of the parts.
    fn legend(&self) -> Vec<(Ink, &'static str)> {
        let Some(first) = self.rows.first() else { return Vec::new() };
        let mut entries: Vec<(Ink, &'static str)> = first.parts().map(|(ink, name, _)| (ink, name)).to_vec();
        // Kinds that no row has would only ask for attention.
        entries.retain(|(ink, _)| self.rows.iter().any(|row| row.parts().iter().any(|part| part.0 == *ink && part.2 > 0)));
        if self.rows.iter().any(|row| row.blocks.resident > 0) {
            entries.push((MUTED, "thin line: skipped, of resident blocks only"));
        }
        entries
    }

    fn plot_height(&self, format: Format) -> i32 {
        TOP + self.rows.iter().map(|row| row.height(format) + GAP).sum::<i32>()
    }
}

impl Drawing for SkipBars {
    fn title(&self) -> String {
        format!("Blocks skipped, by reason: {}", self.subject)
    }

    fn description(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| {
                let (all, resident) = row.rates();
                let claim = row.claim.map_or_else(String::new, |claim| format!(", claimed {}", claim.range()));
                let lost = format::plural(row.lost_pages, "page", "pages");
                format!("{}: {all} of all blocks and {resident} of resident blocks skipped{claim}, {lost} lost.", row.label)
            })
            .collect();
        if rows.is_empty() { "There is no replay to show.".into() } else { format!("Stacked bars. {}", rows.join(" ")) }
    }

    fn table(&self) -> Table {
        let heads = [
            "bar",
            "all blocks",
            "unpopulated",
            "zero",
            "unchanged",
            "same content",
            "presumed unused",
            "deferred",
            "sent",
            "resident blocks",
            "of these skipped",
            "claimed",
        ];
        let mut table = Table::new("Verdicts on blocks, one for each block and round.", &heads);
        table.rows = self
            .rows
            .iter()
            .map(|row| {
                let mut cells = vec![row.label.clone(), format::count(row.blocks.total)];
                cells.extend(row.parts().map(|part| format::count(part.2)));
                cells.push(format::count(row.blocks.resident));
                cells.push(format::count(row.blocks.skipped_resident));
                cells.push(row.claim.map_or_else(|| format::NONE.into(), Claim::range));
                cells
            })
            .collect();
        table
    }

    fn height(&self, format: Format) -> u32 {
        let height = self.plot_height(format) + AXIS + format.legend_height(&self.legend());
        u32::try_from(height).unwrap_or(u32::MAX)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>, format: Format) -> DrawResult<DB> {
        let pen = Pen { area, format };
        let bottom = self.plot_height(format);
        pen.percent_axis((0, format.right() - 1), (0, bottom))?;
        let mut top = TOP;
        for row in &self.rows {
            draw_row(&pen, row, top)?;
            top += row.height(format) + GAP;
        }
        pen.legend(&self.legend(), bottom + AXIS)
    }
}

fn draw_row<DB: DrawingBackend>(pen: &Pen<'_, DB>, row: &SkipRow, top: i32) -> DrawResult<DB> {
    let right = pen.format.right() - 1;
    let (all, resident) = row.rates();
    let rates = format!("{all} of all · {resident} of resident");
    let (bar_top, room) = if pen.format.is_narrow() {
        pen.text(&rates, (0, top + LABEL), Lettering::PLAIN)?;
        (top + 2 * LABEL, right)
    } else {
        pen.text(&rates, (right, top), Lettering::PLAIN.right())?;
        (top + LABEL, right - pen.format.text_width(&rates) - 24)
    };
    // Bold letters are about an eighth wider.
    let label = format::shorten(&row.label, pen.format.chars_in(room * 8 / 9));
    pen.text(&label, (0, top), Lettering::BOLD)?;
    draw_parts(pen, row, (bar_top, bar_top + BAR), right)?;
    let thin = (bar_top + BAR + 3, bar_top + BAR + 3 + THIN);
    draw_resident(pen, &row.blocks, thin, right)?;
    draw_claim(pen, row, thin.1 + 5, right)
}

fn draw_parts<DB: DrawingBackend>(pen: &Pen<'_, DB>, row: &SkipRow, y: (i32, i32), right: i32) -> DrawResult<DB> {
    let parts = row.parts();
    // A summary whose parts exceed its total is wrong, but must not draw beyond the edge.
    let whole = parts.iter().map(|part| part.2).fold(0, u64::saturating_add).max(row.blocks.total);
    let mut before = 0_u64;
    for (ink, _, blocks) in parts {
        let from = at(before, whole, right);
        before = before.saturating_add(blocks);
        let to = at(before, whole, right);
        if to > from {
            // One pixel of ground between two parts keeps them apart for readers who see no difference in hue.
            pen.fill((from, y.0), ((to - 1).max(from + 1), y.1), ink)?;
        }
    }
    Ok(())
}

/// The thin bar below: the share of blocks with data that were skipped.
fn draw_resident<DB: DrawingBackend>(pen: &Pen<'_, DB>, blocks: &BlockCounts, y: (i32, i32), right: i32) -> DrawResult<DB> {
    if blocks.resident == 0 {
        return Ok(());
    }
    let end = at(blocks.skipped_resident, blocks.resident, right);
    if end > 0 {
        pen.fill((0, y.0), (end, y.1), MUTED)?;
    }
    pen.line(&[(end, y.1), (right, y.1)], MUTED, 1)
}

fn draw_claim<DB: DrawingBackend>(pen: &Pen<'_, DB>, row: &SkipRow, top: i32, right: i32) -> DrawResult<DB> {
    // Where the words about the claim begin and end.
    let mut words = (right, 0);
    if let Some(claim) = row.claim {
        let place = |percent: u32| at(u64::from(percent), 100, right);
        let (low, high) = (place(claim.low), place(claim.high));
        pen.line(&[(low, top - BAR - THIN - 8), (low, top + 4)], CLAIM, 1)?;
        pen.line(&[(high, top - BAR - THIN - 8), (high, top + 4)], CLAIM, 1)?;
        pen.line(&[(low, top + 4), (high, top + 4)], CLAIM, 2)?;
        let label = format!("claimed {}", claim.range());
        let width = pen.format.text_width(&label);
        let middle = ((low + high) / 2).min(right - width / 2).max(width / 2);
        pen.text(&label, (middle, top + 8), Lettering::PLAIN.center().ink(CLAIM))?;
        words = (middle - width / 2, middle + width / 2);
    }
    if row.lost_pages > 0 {
        let how = Lettering::BOLD.ink(LOST);
        // Beside the claim where there is room, otherwise on the other side of it, and in fewer words if there is little.
        let room = |label: &str| pen.format.text_width(label) * 9 / 8 + 12;
        let (long, short) = (format::plural(row.lost_pages, "page", "pages"), format::count(row.lost_pages));
        let labels = [long, short].map(|lost| format!("loses {lost}"));
        if let Some(label) = labels.iter().find(|label| words.1 + room(label) < right) {
            pen.text(label, (right, top + 8), how.right())?;
        } else {
            let label = labels.iter().find(|label| room(label) < words.0).unwrap_or(&labels[1]);
            pen.text(label, (0, top + 8), how)?;
        }
    }
    Ok(())
}

/// Where a share of the whole ends on a line from 0 to `right`.
fn at(part: u64, whole: u64, right: i32) -> i32 {
    (share(part, whole).min(1.0) * f64::from(right)).round() as i32
}
