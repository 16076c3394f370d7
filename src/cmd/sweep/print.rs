//! Rows as a table, as CSV and as JSON.

use pagesieve_core::Nanos;
use pagesieve_core::summary::Schema;
use pagesieve_replayer::sweep::{Best, Row};
use serde::Serialize;

use crate::units::show_bytes;

/// The best row of each trace.
pub(super) struct Winners {
    by: Best,
    points: usize,
    winners: Vec<Option<usize>>,
}

impl Winners {
    /// Of rows that come trace by trace, `points` of each. Traces may share a name, so that does not tell them apart.
    pub(super) fn new(rows: &[Row], by: Best, points: usize) -> Self {
        let points = points.max(1);
        let of_trace = |(at, rows): (usize, &[Row])| by.of(rows).map(|row| at * points + row);
        Self { by, points, winners: rows.chunks(points).enumerate().map(of_trace).collect() }
    }

    fn has(&self, row: usize) -> bool {
        self.winners.contains(&Some(row))
    }
}

/// A column: its names and its texts, for programs and for people. A text is empty where the column does not apply.
struct Column {
    name: &'static str,
    title: &'static str,
    exact: fn(&Row) -> String,
    shown: fn(&Row) -> String,
}

/// Columns of words come first; those after them are numbers, which stand to the right.
const WORDS: usize = 4;

const COLUMNS: [Column; 18] = [
    column("trace", "trace", |row| row.trace.clone(), |row| row.trace.clone()),
    column("class", "class", |row| row.class.clone().unwrap_or_default(), |row| row.class.clone().unwrap_or_default()),
    column("policy", "policy", |row| row.policy.to_string(), |row| row.policy.to_string()),
    column("scenario", "scenario", |row| row.scenario.to_string(), |row| row.scenario.to_string()),
    column("block_size", "block", |row| row.block_size.to_string(), |row| show_bytes(row.block_size).replace(".0 ", " ")),
    column("aging", "aging", |row| number(row.aging.map(|time| time.0)), |row| maybe(row.aging, span)),
    column("interval", "interval", |row| number(row.interval.map(|time| time.0)), |row| maybe(row.interval, span)),
    column("bandwidth", "bandwidth", |row| number(row.bandwidth), |row| maybe(row.bandwidth, speed)),
    column("skip_rate.total", "skipped", |row| row.skip_rate.total.to_string(), |row| percent(row.skip_rate.total)),
    column("skip_rate.resident", "resident", |row| row.skip_rate.resident.to_string(), |row| percent(row.skip_rate.resident)),
    column("bytes.sent", "sent", |row| row.bytes.sent.to_string(), |row| show_bytes(row.bytes.sent)),
    column("bytes.resent", "resent", |row| row.bytes.resent.to_string(), |row| show_bytes(row.bytes.resent)),
    column("bytes.wire", "wire", |row| row.bytes.wire.to_string(), |row| show_bytes(row.bytes.wire)),
    column("rounds", "rounds", |row| row.rounds.to_string(), |row| row.rounds.to_string()),
    column("lost_pages", "lost", |row| row.lost_pages.to_string(), |row| row.lost_pages.to_string()),
    column("downtime", "downtime", |row| number(row.downtime), |row| maybe(row.downtime, millis)),
    column("total_time", "total", |row| number(row.total_time), |row| maybe(row.total_time, seconds)),
    column("converged", "converged", |row| maybe(row.converged, |yes| yes.to_string()), |row| maybe(row.converged, yes_no)),
];

const fn column(name: &'static str, title: &'static str, exact: fn(&Row) -> String, shown: fn(&Row) -> String) -> Column {
    Column { name, title, exact, shown }
}

/// The table, and below it the best row of each trace again.
pub(super) fn table(rows: &[Row], best: Option<&Winners>) -> String {
    let mut cells: Vec<Vec<String>> = vec![COLUMNS.iter().map(|column| column.title.to_owned()).collect()];
    cells.extend(rows.iter().map(|row| COLUMNS.iter().map(|column| (column.shown)(row)).collect()));
    let applies = |at: &usize| cells[1..].iter().any(|line| !line[*at].is_empty());
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(applies).collect();
    let width = |at: usize| cells.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<(usize, usize)> = shown.into_iter().map(|at| (at, width(at))).collect();
    let lines: Vec<String> = cells.iter().map(|line| aligned(line, &widths)).collect();
    let mut text = lines.join("\n") + "\n";
    if let Some(best) = best {
        text += &format!("\nBest by {} of the rows that lost no page:\n", title(best.by));
        for (at, winner) in best.winners.iter().enumerate() {
            match winner {
                Some(row) => text += &lines[1 + row],
                None => text += &format!("{}: none", rows[at * best.points].trace),
            }
            text.push('\n');
        }
    }
    text
}

fn aligned(line: &[String], widths: &[(usize, usize)]) -> String {
    let cell = |&(at, width): &(usize, usize)| {
        let text = if line[at].is_empty() { "-" } else { &line[at] };
        if at < WORDS { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    widths.iter().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

fn title(best: Best) -> &'static str {
    match best {
        Best::Wire => "bytes on the wire",
        Best::Resent => "bytes sent again",
        Best::Downtime => "downtime",
        Best::Skip => "skip rate",
    }
}

/// A line of names, then a line for each row. `best` adds a column.
pub(super) fn csv(rows: &[Row], best: Option<&Winners>) -> String {
    let mut names: Vec<String> = COLUMNS.iter().map(|column| column.name.to_owned()).collect();
    names.extend(best.map(|_| "best".to_owned()));
    let mut text = names.join(",") + "\n";
    for (at, row) in rows.iter().enumerate() {
        let mut fields: Vec<String> = COLUMNS.iter().map(|column| quoted((column.exact)(row))).collect();
        fields.extend(best.map(|best| best.has(at).to_string()));
        text += &(fields.join(",") + "\n");
    }
    text
}

/// In quotes if it holds what separates fields or lines.
fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n', '\r']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: Schema,
    rows: Vec<Flagged<'a>>,
}

#[derive(Serialize)]
struct Flagged<'a> {
    #[serde(flatten)]
    row: &'a Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    best: Option<bool>,
}

/// One document. `best` adds a field to each row.
pub(super) fn json(rows: &[Row], best: Option<&Winners>) -> anyhow::Result<String> {
    let schema = Schema { name: "pagesieve.sweep".into(), version: "1.0".into() };
    let flagged = |(at, row)| Flagged { row, best: best.map(|best| best.has(at)) };
    let document = Document { schema, rows: rows.iter().enumerate().map(flagged).collect() };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn maybe<T>(value: Option<T>, show: fn(T) -> String) -> String {
    value.map(show).unwrap_or_default()
}

fn number(value: Option<u64>) -> String {
    maybe(value, |value| value.to_string())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A time as it is given on the command line.
fn span(time: Nanos) -> String {
    in_units(time.0, &[(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns")])
}

/// Bytes a second as a link speed.
fn speed(bytes: u64) -> String {
    in_units(bytes.saturating_mul(8), &[(1_000_000_000, "Gbit"), (1_000_000, "Mbit"), (1_000, "kbit"), (1, "bit")])
}

/// In the largest unit that needs no fraction.
fn in_units(value: u64, units: &[(u64, &str)]) -> String {
    let fits = units.iter().find(|(size, _)| value.is_multiple_of(*size));
    fits.map_or_else(|| value.to_string(), |(size, unit)| format!("{}{unit}", value / size))
}

fn millis(nanos: u64) -> String {
    format!("{:.1} ms", nanos as f64 / 1e6)
}

fn seconds(nanos: u64) -> String {
    format!("{:.2} s", nanos as f64 / 1e9)
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        let fields = ["a", "a,b", "a\"b", "a\nb"].map(|field| quoted(field.to_owned()));
        assert_eq!(fields, ["a", "\"a,b\"", "\"a\"\"b\"", "\"a\nb\""]);
    }

    #[test]
    fn times_and_speeds_are_shown_as_they_are_given() {
        let times = [5_000_000_000, 1_500_000_000, 250_000, 7, 0].map(|nanos| span(Nanos(nanos)));
        assert_eq!(times, ["5s", "1500ms", "250us", "7ns", "0s"]);
        assert_eq!([125_000_000, 12_500_000, 1].map(speed), ["1Gbit", "100Mbit", "8bit"]);
    }
}
