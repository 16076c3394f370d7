//! For people at a terminal.

use super::Comparison;
use super::words::Cells;

/// Columns of words are aligned to the left, those of numbers to the right.
const WORDS: usize = 4;

/// What changed, the worst first, and a last line with the counts and the verdict. If nothing changed, only that line. `all` adds what
/// did not change.
#[must_use]
pub fn table(comparison: &Comparison, all: bool) -> String {
    let shown = comparison.changes.iter().filter(|change| all || change.differs());
    let rows: Vec<[String; 8]> = shown.map(|change| Cells::of(change).all()).collect();
    let mut text = String::new();
    for stranger in &comparison.strangers {
        text += &format!("WARNING: different recordings, so this says little about the program: {}\n", stranger.line());
    }
    if !rows.is_empty() {
        let rows: Vec<_> = std::iter::once(Cells::HEADS.map(str::to_owned)).chain(rows).collect();
        let widths: Vec<usize> = (0..8).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            text += &aligned(row, &widths);
            text.push('\n');
        }
    }
    text + &comparison.summary() + "\n"
}

fn aligned(row: &[String; 8], widths: &[usize]) -> String {
    let cell = |(at, (text, &width)): (usize, (&String, &usize))| {
        if at < WORDS { format!("{text:<width$}") } else { format!("{text:>width$}") }
    };
    row.iter().zip(widths).enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
}
