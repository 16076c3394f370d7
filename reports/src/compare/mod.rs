//! Comparing two documents: did the program get worse?
//!
//! [`Document::read`] takes what the command writes, [`Comparison::new`] pairs traces by name and replays by policy, scenario and
//! block size, and judges each quantity by its [`Thresholds`]. [`table`], [`markdown`], [`json`] and [`junit`] write the outcome.

mod document;
mod json;
mod judge;
mod junit;
mod markdown;
mod pair;
mod part;
mod quantity;
mod recording;
mod shapes;
mod table;
mod threshold;
mod trace;
mod words;

use std::cmp::Ordering;

use pagesieve_core::summary::Schema;

pub use document::{Document, ReadError};
pub use json::json;
pub use judge::{Change, Outcome};
pub use junit::junit;
pub use markdown::markdown;
pub use part::{Part, ReplayKey};
pub use quantity::{Group, Measure, Quantity, Value};
pub use recording::{Difference, Recording};
pub use table::table;
pub use threshold::{DEFAULT, Threshold, ThresholdError, Thresholds};
pub use trace::{Item, Trace};

use pair::pairs;

/// Where one side comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named.
    pub file: String,
    /// Name and version of the document.
    pub schema: Schema,
    /// Name and version of the program that made it, if the document says.
    pub tool: Option<String>,
    /// The command line that made it, if the document says.
    pub command: Option<String>,
}

/// Two documents, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// What is compared with.
    pub base: Origin,
    /// What is judged.
    pub new: Origin,
    /// How much worse things may get.
    pub thresholds: Thresholds,
    /// Names of all traces, the base's first.
    pub traces: Vec<String>,
    /// Traces of the same name that are different recordings, with what tells them apart.
    pub strangers: Vec<Stranger>,
    /// Every quantity, the worst first.
    pub changes: Vec<Change>,
}

/// A trace of which the two documents saw different recordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// Its name.
    pub trace: String,
    /// What tells them apart.
    pub differences: Vec<Difference>,
}

/// Quantities by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Worse than is allowed, what is missing included.
    pub regressions: usize,
    /// Worse, and only told.
    pub noted: usize,
    /// Worse within the threshold.
    pub tolerated: usize,
    /// Better.
    pub improved: usize,
    /// Not in the base.
    pub added: usize,
    /// The same.
    pub same: usize,
}

/// Two documents that have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("one is a {base} and the other a {new}; compare two of a kind")]
pub struct KindError {
    base: String,
    new: String,
}

impl Comparison {
    /// Compares two documents, each with the name of its file. With `allow_missing` it is no regression if the new one lacks
    /// something that the base has.
    ///
    /// # Errors
    /// They are documents of different kinds.
    pub fn new(
        (base_file, base): (&str, &Document),
        (new_file, new): (&str, &Document),
        thresholds: Thresholds,
        allow_missing: bool,
    ) -> Result<Self, KindError> {
        if base.schema.name != new.schema.name {
            return Err(KindError { base: base.schema.name.clone(), new: new.schema.name.clone() });
        }
        let mut comparison = Self {
            base: Origin::new(base_file, base),
            new: Origin::new(new_file, new),
            thresholds,
            traces: Vec::new(),
            strangers: Vec::new(),
            changes: Vec::new(),
        };
        for pair in pairs(&base.traces, &new.traces, |trace| trace.name.as_str()) {
            comparison.add_trace(pair);
        }
        for change in &mut comparison.changes {
            change.judge(allow_missing);
        }
        // Of what is equally bad the order stays that of the documents.
        comparison.changes.sort_by(worse_first);
        Ok(comparison)
    }

    fn add_trace(&mut self, pair: (Option<&Trace>, Option<&Trace>)) {
        let Some(trace) = pair.0.or(pair.1) else { return };
        self.traces.push(trace.name.clone());
        let (Some(base), Some(new)) = pair else {
            return self.add_presence(trace, Part::Trace, (pair.0.is_some(), pair.1.is_some()));
        };
        let differences = base.recording.differences(&new.recording);
        if !differences.is_empty() {
            self.strangers.push(Stranger { trace: trace.name.clone(), differences });
        }
        for (base, new) in pairs(&base.items, &new.items, |item| &item.part) {
            match (base, new) {
                (Some(base), Some(new)) => self.add_values(trace, base, new),
                (Some(item), None) | (None, Some(item)) => {
                    self.add_presence(trace, item.part.clone(), (base.is_some(), new.is_some()));
                }
                (None, None) => {}
            }
        }
    }

    /// Something that only one side has.
    fn add_presence(&mut self, trace: &Trace, part: Part, (base, new): (bool, bool)) {
        let there = |yes: bool| yes.then_some(Value::Flag(true));
        self.add(trace, part, Quantity::Present, (there(base), there(new)));
    }

    fn add_values(&mut self, trace: &Trace, base: &Item, new: &Item) {
        let of = |item: &Item, quantity| item.values.iter().find(|(name, _)| *name == quantity).map(|(_, value)| *value);
        for quantity in Quantity::ALL {
            let values = (of(base, quantity), of(new, quantity));
            if values != (None, None) {
                self.add(trace, base.part.clone(), quantity, values);
            }
        }
    }

    fn add(&mut self, trace: &Trace, part: Part, quantity: Quantity, (base, new): (Option<Value>, Option<Value>)) {
        let threshold = self.thresholds.of(quantity);
        let (trace, class) = (trace.name.clone(), trace.class.clone());
        self.changes.push(Change { trace, class, part, quantity, base, new, threshold, outcome: Outcome::Same });
    }

    /// True if something is worse than is allowed.
    #[must_use]
    pub fn has_regressions(&self) -> bool {
        self.counts().regressions > 0
    }

    /// How many quantities came out how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for change in &self.changes {
            let count = match change.outcome {
                Outcome::Regression => &mut counts.regressions,
                Outcome::Noted => &mut counts.noted,
                Outcome::Tolerated => &mut counts.tolerated,
                Outcome::Improved => &mut counts.improved,
                Outcome::Added => &mut counts.added,
                Outcome::Same => &mut counts.same,
            };
            *count += 1;
        }
        counts
    }
}

impl Origin {
    fn new(file: &str, document: &Document) -> Self {
        let Document { schema, tool, command, .. } = document;
        Self { file: file.to_owned(), schema: schema.clone(), tool: tool.clone(), command: command.clone() }
    }
}

/// Regressions first; of these what may never get worse, in the order of [`Quantity`], then the largest change.
fn worse_first(one: &Change, other: &Change) -> Ordering {
    let strict = |change: &Change| change.quantity.measure() != Measure::Strict;
    let kind = |change: &Change| if strict(change) { None } else { Some(change.quantity) };
    one.outcome
        .cmp(&other.outcome)
        .then_with(|| strict(one).cmp(&strict(other)))
        .then_with(|| kind(one).cmp(&kind(other)))
        .then_with(|| if one.differs() { other.size().total_cmp(&one.size()) } else { Ordering::Equal })
}

#[cfg(test)]
mod tests;
