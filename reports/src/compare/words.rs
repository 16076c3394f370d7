//! A comparison in words: the same for all formats.

use super::judge::{Change, Outcome};
use super::quantity::{Measure, Quantity, Value};
use super::{Comparison, Counts, Stranger};
use crate::format;

/// Shown where a side has no value.
const NOTHING: &str = "-";

/// Differences that are told of one trace; the rest is counted.
const MOST_DIFFERENCES: usize = 3;

/// A change as cells of a table.
pub(super) struct Cells {
    pub(super) outcome: &'static str,
    pub(super) trace: String,
    pub(super) part: String,
    pub(super) quantity: &'static str,
    pub(super) base: String,
    pub(super) new: String,
    pub(super) change: String,
    pub(super) allowed: String,
}

impl Cells {
    pub(super) const HEADS: [&'static str; 8] = ["", "trace", "of", "quantity", "base", "new", "change", "allowed"];

    pub(super) fn of(change: &Change) -> Self {
        let (base, new) = values(change);
        Self {
            outcome: change.outcome.word(),
            trace: format::shorten(&change.trace, 80),
            part: format::shorten(&change.part.label(), 80),
            quantity: change.quantity.label(),
            base,
            new,
            change: size(change),
            allowed: allowed(change),
        }
    }

    pub(super) fn all(self) -> [String; 8] {
        let Self { outcome, trace, part, quantity, base, new, change, allowed } = self;
        [outcome.to_owned(), trace, part, quantity.to_owned(), base, new, change, allowed]
    }
}

impl Outcome {
    /// One word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Regression => "WORSE",
            Self::Noted => "noted",
            Self::Tolerated => "within",
            Self::Improved => "better",
            Self::Added => "new",
            Self::Same => "same",
        }
    }
}

/// A change in one line, such as `proven, sync, 64 KiB: skipped, all blocks: 94.93 % to 89.93 %, ↓ 5.00 points (allowed: 0.1 points)`.
pub(super) fn line(change: &Change) -> String {
    let cells = Cells::of(change);
    if change.quantity == Quantity::Present {
        return format!("{}: {}", cells.part, cells.change);
    }
    let Cells { part, quantity, base, new, change, allowed, .. } = cells;
    format!("{part}: {quantity}: {base} to {new}, {change} (allowed: {allowed})")
}

/// Both values, with as many digits as it takes to tell them apart.
fn values(change: &Change) -> (String, String) {
    let both = |precise| (value(change.quantity, change.base, precise), value(change.quantity, change.new, precise));
    let short = both(0);
    if !change.differs() || short.0 != short.1 { short } else { both(1) }
}

fn value(quantity: Quantity, value: Option<Value>, precise: usize) -> String {
    match value {
        None => NOTHING.to_owned(),
        Some(Value::Flag(yes)) => if yes { "yes" } else { "no" }.to_owned(),
        Some(Value::Rate(rate)) if precise > 0 => format!("{:.6} %", rate * 100.0),
        Some(Value::Rate(rate)) => format!("{:.2} %", rate * 100.0),
        Some(Value::Number(number)) => plain(match quantity {
            Quantity::Sent | Quantity::Resent | Quantity::Wire if precise == 0 => format::bytes(number),
            Quantity::Sent | Quantity::Resent | Quantity::Wire => format!("{} B", format::count(number)),
            Quantity::Downtime | Quantity::TotalTime if precise == 0 => format::duration(number),
            Quantity::Downtime | Quantity::TotalTime => format!("{} ns", format::count(number)),
            _ => format::count(number),
        }),
    }
}

/// How far it went, and which way.
fn size(change: &Change) -> String {
    let (base, new) = match (change.base, change.new) {
        (Some(base), Some(new)) => (base, new),
        (None, Some(_)) => return "not in the base".to_owned(),
        (Some(_), None) => return "missing in the new one".to_owned(),
        (None, None) => return String::new(),
    };
    if !change.differs() {
        return String::new();
    }
    let arrow = if new.number() > base.number() { '↑' } else { '↓' };
    match (change.quantity.measure(), new) {
        (_, Value::Flag(_)) => arrow.to_string(),
        (Measure::Points, _) | (Measure::Strict, Value::Rate(_)) => format!("{arrow} {} points", digits(change.size() * 100.0)),
        (Measure::Strict, _) => format!("{arrow} {}", format::count(change.size() as u64)),
        (Measure::Relative, _) if !change.size().is_finite() => format!("{arrow} from nothing"),
        // Nobody reads 31366.67 %.
        (Measure::Relative, _) if change.size() >= 9.0 => format!("{arrow} {:.0} times", 1.0 + change.size()),
        (Measure::Relative, _) => format!("{arrow} {} %", digits(change.size() * 100.0)),
    }
}

/// Two decimals, or as many as it takes to see a digit that is not 0; at most six.
fn digits(number: f64) -> String {
    let decimals = (2..6).find(|&decimals| number >= 0.5 / 10_f64.powi(decimals)).unwrap_or(6);
    format!("{number:.*}", decimals as usize)
}

/// How much worse it may get.
fn allowed(change: &Change) -> String {
    let percent = format!("{:.4}", change.threshold * 100.0);
    let percent = percent.trim_end_matches('0').trim_end_matches('.');
    match (change.outcome, change.quantity.measure()) {
        (Outcome::Noted | Outcome::Added, _) => "any".to_owned(),
        (_, Measure::Strict) => "nothing".to_owned(),
        (_, Measure::Points) => format!("{percent} points"),
        (_, Measure::Relative) => format!("{percent} %"),
    }
}

fn summary(comparison: &Comparison) -> String {
    let Counts { regressions, noted, tolerated, improved, added, same } = comparison.counts();
    let all = regressions + noted + tolerated + improved + added + same;
    let of = format!("{} of {}", plural(all, "quantity", "quantities"), plural(comparison.traces.len(), "trace", "traces"));
    if all == same {
        return format!("no regression: {of}, nothing changed");
    }
    let parts = [
        (tolerated, "worse within the threshold"),
        (noted, "worse and only noted"),
        (improved, "better"),
        (added, "new"),
        (same, "the same"),
    ];
    let told: Vec<_> = parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{}: {of}; {}", verdict(regressions), told.join(", ")).trim_end_matches("; ").to_owned()
}

/// The verdict in two words.
pub(super) fn verdict(regressions: usize) -> String {
    match regressions {
        0 => "no regression".to_owned(),
        1 => "1 REGRESSION".to_owned(),
        many => format!("{many} REGRESSIONS"),
    }
}

impl Stranger {
    /// What tells the recordings apart, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let told = self.differences.iter().take(MOST_DIFFERENCES);
        let told: Vec<_> = told.map(|differ| plain(format!("{} {} and {}", differ.fact, differ.base, differ.new))).collect();
        let more = self.differences.len().saturating_sub(MOST_DIFFERENCES);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        format::shorten(&format!("{}: {}{more}", self.trace, told.join("; ")), 400)
    }
}

impl Comparison {
    /// What was compared and what came of it, in one line: the last one of a table.
    #[must_use]
    pub fn summary(&self) -> String {
        summary(self)
    }

    /// The warning that the documents are of different recordings, if they are; one line.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let first = self.strangers.first()?;
        let more = match self.strangers.len() - 1 {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(format!("different recordings, so this says little about the program: {}{more}", first.line()))
    }
}

fn plural(number: usize, one: &str, many: &str) -> String {
    plain(format::plural(number as u64, one, many))
}

/// With common spaces: what is printed here is searched and cut into columns.
fn plain(text: String) -> String {
    text.replace('\u{a0}', " ")
}
