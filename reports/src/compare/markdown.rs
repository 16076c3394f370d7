//! For a comment on a change that is proposed: the verdict, what got worse, and the rest folded away.

use std::fmt::Write as _;

use super::Comparison;
use super::judge::Outcome;
use super::words::{Cells, verdict};
use super::{Change, Origin};
use crate::markdown::{escape, row};

/// Bytes that a comment may have: GitHub takes 65,536 characters. What does not fit is counted.
const ROOM: usize = 60_000;

/// The comparison as Markdown. `tool` is the program that compares; `all` adds what did not change.
#[must_use]
pub fn markdown(comparison: &Comparison, tool: &str, all: bool) -> String {
    let counts = comparison.counts();
    let mut out = format!("### Pagesieve: {}\n\n{}.\n\n", verdict(counts.regressions), escape(&comparison.summary()));
    for stranger in comparison.strangers.iter().take(10) {
        let line = escape(&stranger.line());
        let _ = writeln!(out, "> **Different recordings**, so this says little about the program: {line}\n");
    }
    let tail = origins(comparison, tool);
    let room = ROOM.saturating_sub(tail.len());
    let worse: Vec<_> = comparison.changes.iter().filter(|change| change.outcome == Outcome::Regression).collect();
    if !worse.is_empty() {
        table(&mut out, &worse, room);
        out.push('\n');
    }
    let shown: Vec<_> = comparison.changes.iter().filter(|change| all || change.differs()).collect();
    if !shown.is_empty() {
        let title = if all { "Everything" } else { "Everything that changed" };
        let _ = writeln!(out, "<details><summary>{title} ({})</summary>\n", shown.len());
        table(&mut out, &shown, room);
        out.push_str("\n</details>\n\n");
    }
    out + &tail
}

/// Rows while there is room, and how many there are beyond.
fn table(out: &mut String, changes: &[&Change], room: usize) {
    out.push_str(&row(&Cells::HEADS.map(str::to_owned)));
    let _ = writeln!(out, "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |");
    for (at, change) in changes.iter().enumerate() {
        let line = row(&Cells::of(change).all());
        if out.len() + line.len() > room {
            let _ = writeln!(out, "\nAnd {} more: `pagesieve compare` without `--format` shows all of them.", changes.len() - at);
            return;
        }
        out.push_str(&line);
    }
}

/// What was compared, and how it was made.
fn origins(comparison: &Comparison, tool: &str) -> String {
    let mut out = "<details><summary>What was compared</summary>\n\n".to_owned();
    for (side, origin) in [("base", &comparison.base), ("new", &comparison.new)] {
        let Origin { file, schema, tool, command } = origin;
        let told = |text: &Option<String>| text.as_deref().map_or("not told".to_owned(), |text| escape(&cut(text)));
        let _ = writeln!(out, "- {side}: {}, {} {}", escape(&cut(file)), escape(&schema.name), escape(&schema.version));
        let _ = writeln!(out, "  - made by {} with: {}", told(tool), told(command));
    }
    let _ = writeln!(out, "- compared by {}\n\n</details>", escape(tool));
    out
}

/// A command line on all traces of a large folder can fill a comment by itself.
fn cut(text: &str) -> String {
    crate::format::shorten(text, 2000)
}
