//! `summary.md`: the answer and the numbers, without figures.

use std::fmt::Write as _;

use crate::Report;
use crate::claims::Verdict;
use crate::view::{PageView, RateView, TraceView};

/// The report as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let page = PageView::of(report);
    let mut out = format!("# Pagesieve report\n\n**{}.**\n\n", escape(&page.headline));
    bullets(&mut out, &page.beside);
    overview(&mut out, &page);
    classes(&mut out, &page);
    grids(&mut out, &page);
    for trace in &page.traces {
        section(&mut out, trace);
    }
    let _ = writeln!(out, "Formulas are in reports/METHODOLOGY.md, limits in reports/BIAS.md.\n");
    let _ = writeln!(out, "Made by {} with: {}", escape(&page.tool), escape(&page.command));
    out
}

fn overview(out: &mut String, page: &PageView) {
    let heads = [
        "trace",
        "class",
        "source of events",
        "claimed",
        "skipped, all blocks",
        "skipped, resident blocks",
        "lost pages (proven)",
        "lost pages (aging-literal)",
        "lost events",
    ];
    out.push_str("\n## Traces\n\n");
    table(
        out,
        &heads,
        page.rows.iter().map(|row| {
            vec![
                row.name.clone(),
                row.class.clone(),
                row.source.label.clone(),
                row.claim.clone(),
                judged(&row.all),
                judged(&row.resident),
                row.lost_pages.clone(),
                row.literal.clone(),
                row.lost_events.clone(),
            ]
        }),
    );
}

fn classes(out: &mut String, page: &PageView) {
    out.push_str("\n## Claims by class\n\n");
    let heads = ["class", "claimed", "traces", "skipped, all blocks", "skipped, resident blocks", "dirty log without an event"];
    table(
        out,
        &heads,
        page.classes.iter().map(|row| {
            vec![
                row.label.clone(),
                row.claim.clone(),
                row.traces.clone(),
                judged(&row.all),
                judged(&row.resident),
                row.without_event.clone(),
            ]
        }),
    );
}

fn grids(out: &mut String, page: &PageView) {
    for grid in &page.grids {
        let _ = writeln!(out, "\n### {}, claimed {}: all blocks / resident blocks\n", escape(&grid.label), grid.claim);
        let heads: Vec<String> =
            std::iter::once("block".to_owned()).chain(grid.intervals.iter().map(|at| format!("every {at}"))).collect();
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let cells = |cell: &(RateView, RateView)| format!("{} / {}", below(&cell.0), below(&cell.1));
        table(
            out,
            &heads,
            grid.rows.iter().map(|row| std::iter::once(row.block.clone()).chain(row.cells.iter().map(cells)).collect()),
        );
        let _ = writeln!(out, "\n{}", escape(&grid.verdict));
    }
}

/// A rate, marked where it is below the claim.
fn below(rate: &RateView) -> String {
    format!("{}{}", rate.rate, if rate.verdict == Verdict::Below { " (below)" } else { "" })
}

fn section(out: &mut String, trace: &TraceView) {
    let _ = writeln!(out, "\n## {}\n", escape(&trace.name));
    bullets(out, &trace.answer);
    for warning in &trace.warnings {
        let _ = writeln!(out, "- **Note:** {}", escape(warning));
    }
    bullets(out, &trace.notes);
    if !trace.policies.is_empty() {
        out.push_str("\n### Replays\n\n");
        let heads = [
            "policy",
            "scenario",
            "block",
            "skipped, all blocks",
            "skipped, resident blocks",
            "lost pages",
            "rounds",
            "sent",
            "on the wire",
            "downtime",
            "converged",
        ];
        table(
            out,
            &heads,
            trace.policies.iter().map(|row| {
                vec![
                    row.policy.clone(),
                    row.scenario.clone(),
                    row.block.clone(),
                    row.all.rate.clone(),
                    row.resident.rate.clone(),
                    row.lost_pages.clone(),
                    row.rounds.clone(),
                    row.sent.clone(),
                    row.wire.clone(),
                    row.downtime.clone(),
                    row.converged.clone(),
                ]
            }),
        );
    }
    if !trace.links_verdict.is_empty() {
        let _ = writeln!(out, "\n### Foretold and come, by link\n\n{}\n", escape(&trace.links_verdict));
        links(out, trace);
    }
    if !trace.cost_facts.is_empty() {
        out.push_str("\n### What the recording did\n\n");
        pairs(out, &trace.cost_facts);
    }
    out.push_str("\n### Check\n\n");
    pairs(out, &trace.checks);
    for violation in &trace.violations {
        let _ = writeln!(out, "- **Violation:** {}", escape(violation));
    }
    out.push_str("\n### Where it comes from\n\n");
    pairs(out, &trace.facts);
    out.push('\n');
}

/// The table of the figure.
fn links(out: &mut String, trace: &TraceView) {
    let Some(figure) = &trace.links else { return };
    let heads: Vec<&str> = figure.table.columns.iter().map(|column| column.head.as_str()).collect();
    table(out, &heads, figure.table.rows.iter().cloned());
}

fn judged(rate: &RateView) -> String {
    match rate.verdict {
        Verdict::NoClaim => rate.rate.clone(),
        verdict => format!("{} ({})", rate.rate, verdict.words()),
    }
}

fn bullets(out: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "- {}", escape(line));
    }
}

fn pairs(out: &mut String, pairs: &[(String, String)]) {
    for (name, value) in pairs {
        let _ = writeln!(out, "- {}: {}", escape(name), escape(value));
    }
}

fn table(out: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = writeln!(out, "| {} |\n|{}", heads.join(" | "), " --- |".repeat(heads.len()));
    for cells in rows {
        out.push_str(&row(&cells));
    }
}

/// A row of a table.
pub(crate) fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escape(cell)).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Takes every character that means something in Markdown or HTML at its face value, and keeps text on its line.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '!' | '~' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
