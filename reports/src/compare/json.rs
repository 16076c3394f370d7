//! For programs: `pagesieve.compare` 1.0.

use pagesieve_core::summary::Schema;
use serde::Serialize;

use super::judge::{Change, Outcome};
use super::part::Part;
use super::quantity::{Measure, Quantity, Value};
use super::recording::Difference;
use super::{Comparison, Counts, Origin};

#[derive(Serialize)]
struct Document<'a> {
    schema: Schema,
    tool: &'a str,
    base: Side<'a>,
    new: Side<'a>,
    verdict: &'static str,
    counts: Counts,
    different_recordings: Vec<Recordings<'a>>,
    changes: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Side<'a> {
    file: &'a str,
    schema: &'a Schema,
    tool: Option<&'a str>,
    command: Option<&'a str>,
}

#[derive(Serialize)]
struct Recordings<'a> {
    trace: &'a str,
    differences: &'a [Difference],
}

#[derive(Serialize)]
struct Entry<'a> {
    trace: &'a str,
    class: Option<&'a str>,
    #[serde(flatten)]
    part: &'a Part,
    quantity: &'static str,
    better: &'static str,
    outcome: Outcome,
    base: Option<Value>,
    new: Option<Value>,
    /// Signed. In points for rates, else as a share of the base; `None` where that is no number.
    change: Option<f64>,
    measure: &'static str,
    threshold: f64,
}

/// The comparison as JSON, with a line feed at the end: what changed, or with `all` everything. `tool` is the program that compares.
#[must_use]
pub fn json(comparison: &Comparison, tool: &str, all: bool) -> String {
    let strangers = comparison.strangers.iter();
    let document = Document {
        schema: Schema { name: "pagesieve.compare".into(), version: "1.0".into() },
        tool,
        base: Side::of(&comparison.base),
        new: Side::of(&comparison.new),
        verdict: if comparison.has_regressions() { "regression" } else { "ok" },
        counts: comparison.counts(),
        different_recordings: strangers.map(|of| Recordings { trace: &of.trace, differences: &of.differences }).collect(),
        changes: comparison.changes.iter().filter(|change| all || change.differs()).map(Entry::of).collect(),
    };
    // Serialising into memory fails only for maps whose keys are no strings, and there are none.
    let mut text = serde_json::to_string_pretty(&document).expect("all keys are strings");
    text.push('\n');
    text
}

impl<'a> Side<'a> {
    fn of(origin: &'a Origin) -> Self {
        Self { file: &origin.file, schema: &origin.schema, tool: origin.tool.as_deref(), command: origin.command.as_deref() }
    }
}

impl<'a> Entry<'a> {
    fn of(change: &'a Change) -> Self {
        Self {
            trace: &change.trace,
            class: change.class.as_deref(),
            part: &change.part,
            quantity: change.quantity.name(),
            better: if change.quantity.higher_is_better() { "higher" } else { "lower" },
            outcome: change.outcome,
            base: change.base,
            new: change.new,
            change: signed(change),
            measure: measure(change.quantity),
            threshold: change.threshold,
        }
    }
}

fn signed(change: &Change) -> Option<f64> {
    let (base, new) = (change.base?.number(), change.new?.number());
    let size = if new < base { -change.size() } else { change.size() };
    size.is_finite().then_some(size)
}

fn measure(quantity: Quantity) -> &'static str {
    match quantity.measure() {
        Measure::Points => "points",
        Measure::Relative => "relative",
        Measure::Strict => "strict",
    }
}
