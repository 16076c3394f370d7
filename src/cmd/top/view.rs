//! How a model looks on a terminal of any size.

use pagesieve_core::PAGE_SIZE;
use pagesieve_core::forecast::{Rate, Span};
use pagesieve_core::gauge::HotRange;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Clear, Paragraph, Row, Table};

use super::model::{Model, Snapshot};
use crate::{output, units};

/// Cells of the heat strip that are asked for: any terminal shows fewer.
pub(super) const HEAT_CELLS: usize = 1024;

/// Columns of the names of the rows.
const NAMES: usize = 12;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

const HELP: &str = "\
\x20q Esc Ctrl-C  end
 l             foretell over another link
 s  left right another order of the ranges
 up down       move through the ranges
 space         hold the display, and let it go on
 ?             this help

 dirty         memory found written, in an epoch
 working set   distinct memory written in a time
 proven        what a sync at each interval would skip
 migration     if it began now, to empty memory
 heat          all memory by address: how many epochs
               of the last 64 found it written";

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let width = usize::from(area.width);
    let head = head(model, width);
    let (head_rows, foot_rows) = (head.len().min(area.height.into()) as u16, u16::from(area.height > 2));
    let body = area.height.saturating_sub(head_rows);
    let foot_rows = foot_rows.min(body);
    frame.render_widget(Paragraph::new(Text::from(head)), Rect { height: head_rows, ..area });
    let middle = Rect { y: area.y + head_rows, height: body - foot_rows, ..area };
    frame.render_widget(table(model, middle), middle);
    let foot = Rect { y: area.y + area.height - foot_rows, height: foot_rows, ..area };
    frame.render_widget(Paragraph::new(foot_line(model)), foot);
    if model.help {
        let (wide, high) = (HELP.lines().map(str::len).max().unwrap_or(0) as u16 + 1, HELP.lines().count() as u16);
        let over = Rect { y: area.y + 1.min(area.height), width: wide, height: high, ..area }.intersection(area);
        frame.render_widget(Clear, over);
        frame.render_widget(Paragraph::new(HELP).style(styled(Style::new().add_modifier(Modifier::REVERSED))), over);
    }
}

/// A style, unless colors are not wanted.
fn styled(style: Style) -> Style {
    if output::has_color() { style } else { Style::new() }
}

fn head(model: &Model, width: usize) -> Vec<Line<'static>> {
    let (about, shown) = (&model.about, model.shown());
    let state = if model.is_held() { ", held" } else { "" };
    let title = format!("{}: {} readings, one in {} s{state}", about.target, shown.readings, about.interval);
    let bold = styled(Style::new().add_modifier(Modifier::BOLD));
    let mut lines = vec![Line::styled(title, bold), row("observed", about.observed.clone())];
    if let Some(reason) = &about.fallback {
        lines.push(row("fallback", reason.clone()).style(styled(Style::new().fg(Color::Yellow))));
    }
    let Some(snapshot) = &shown.snapshot else {
        lines.push(Line::raw("the first epoch is under way"));
        return lines;
    };
    lines.extend(figures(snapshot, model, width));
    let strip = strip(&snapshot.heat, width.saturating_sub(NAMES));
    lines.push(row("heat", strip).style(styled(Style::new().fg(Color::Red))));
    lines
}

fn figures(snapshot: &Snapshot, model: &Model, width: usize) -> Vec<Line<'static>> {
    let reading = &snapshot.reading;
    let pages = |pages: u64| units::show_bytes(pages * PAGE_SIZE);
    let dirty = format!("{:<14}", format!("{}/s", units::show_bytes(reading.dirty_rate())));
    let rates: Vec<u64> = model.shown().rates.iter().copied().collect();
    let bars = bars(&rates, width.saturating_sub(NAMES + dirty.chars().count()));
    let sets: Vec<_> =
        reading.working_set.iter().map(|set| format!("{} in {}", units::show_bytes(set.bytes), Span(set.window))).collect();
    let skipped = reading.sync.skip_rate();
    let doubt = if reading.complete { "" } else { " (this epoch proves nothing)" };
    let lost = format!("{}/s, {} lost now, {} in all", reading.event_rate(), reading.lost, model.shown().lost);
    let losing = if reading.lost > 0 { styled(Style::new().fg(Color::Red)) } else { Style::new() };
    let link = snapshot.forecast.link.bandwidth.map_or_else(String::new, |rate| Rate(rate).to_string());
    let verdict = if snapshot.forecast.converges { Color::Green } else { Color::Red };
    vec![
        row("dirty", format!("{dirty}{bars}")),
        row("working set", sets.join(", ")),
        row("resident", format!("{} of {}", pages(reading.resident_pages), pages(reading.pages))),
        row("events", lost).style(losing),
        row("proven", format!("skips {:.1} %, of data {:.1} %{doubt}", skipped.total * 100.0, skipped.resident * 100.0)),
        row("migration", format!("{link}: {}", snapshot.forecast)).style(styled(Style::new().fg(verdict))),
    ]
}

fn row(name: &str, value: String) -> Line<'static> {
    Line::raw(format!("{name:<NAMES$}{value}"))
}

/// The last values that fit as bars of eight heights, the highest of them a full one.
fn bars(values: &[u64], width: usize) -> String {
    let last = &values[values.len().saturating_sub(width)..];
    let most = u128::from(last.iter().copied().max().unwrap_or(0).max(1));
    last.iter().map(|&value| BARS[(u128::from(value) * (BARS.len() as u128 - 1)).div_ceil(most) as usize]).collect()
}

/// Thousandths by address as shades; each column shows the hottest part that falls into it.
fn strip(heat: &[u16], width: usize) -> String {
    let width = width.min(heat.len());
    let shade = |at: usize| {
        let hottest = heat[at * heat.len() / width..(at + 1) * heat.len() / width].iter().copied().max().unwrap_or(0);
        SHADES[(usize::from(hottest) * (SHADES.len() - 1)).div_ceil(1000).min(SHADES.len() - 1)]
    };
    (0..width).map(shade).collect()
}

/// Columns of the table: what they are called, and how wide they are.
const COLUMNS: [(&str, Constraint); 6] = [
    ("guest addresses", Constraint::Min(21)),
    ("epochs", Constraint::Length(7)),
    ("now", Constraint::Length(7)),
    ("size", Constraint::Length(10)),
    ("slot", Constraint::Length(4)),
    ("", Constraint::Length(10)),
];

/// Columns that a terminal so narrow shows.
const NARROW: (u16, usize) = (68, 2);

/// The hot ranges, as many as there are lines for.
fn table(model: &Model, area: Rect) -> Table<'static> {
    let columns = if area.width < NARROW.0 { NARROW.1 } else { COLUMNS.len() };
    let heading = Row::new(COLUMNS.iter().take(columns).map(|(name, _)| *name));
    let heading = heading.style(styled(Style::new().add_modifier(Modifier::UNDERLINED)));
    let rows: Vec<_> = model.ranges().iter().take(area.height.into()).map(|range| range_row(range, columns)).collect();
    Table::new(rows, COLUMNS.iter().take(columns).map(|(_, width)| *width)).header(heading).column_spacing(1)
}

fn range_row(range: &HotRange, columns: usize) -> Row<'static> {
    let percent = |thousandths: u16| format!("{:>5.1} %", f64::from(thousandths) / 10.0);
    let bar = "■".repeat((usize::from(range.share())).div_ceil(100));
    let cells = [
        format!("{:#x}-{:#x}", range.start.0 * PAGE_SIZE, range.end.0 * PAGE_SIZE),
        percent(range.share()),
        percent(range.share_now()),
        format!("{:>10}", units::show_bytes(range.pages() * PAGE_SIZE)),
        format!("{:>4}", range.slot),
        bar,
    ];
    Row::new(cells.into_iter().take(columns))
}

fn foot_line(model: &Model) -> Line<'static> {
    let hold = if model.is_held() { "go on" } else { "hold" };
    let text = format!("q end  ? help  l link  space {hold}  s order: {}", model.order.name());
    Line::styled(text, styled(Style::new().add_modifier(Modifier::DIM)))
}

#[cfg(test)]
mod tests;
