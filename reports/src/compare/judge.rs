//! Judging one change.

use serde::Serialize;

use super::part::Part;
use super::quantity::{Measure, Quantity, Value};

/// What became of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Worse than is allowed.
    Regression,
    /// Worse, and only told: nobody relies on it, or it may be missing.
    Noted,
    /// Worse, but within the threshold.
    Tolerated,
    /// Better.
    Improved,
    /// Not in the base.
    Added,
    /// The same.
    Same,
}

/// One quantity on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Name of the trace.
    pub trace: String,
    /// Workload class of the trace.
    pub class: Option<String>,
    /// Part of what is said about it.
    pub part: Part,
    /// The quantity.
    pub quantity: Quantity,
    /// In the base; `None` if it is not there or does not apply.
    pub base: Option<Value>,
    /// In the new document.
    pub new: Option<Value>,
    /// How much worse it may get, as a share: of the base, or of 1 for rates.
    pub threshold: f64,
    /// What became of it.
    pub outcome: Outcome,
}

impl Change {
    /// Compares the values and sets the outcome.
    pub(super) fn judge(&mut self, allow_missing: bool) {
        self.outcome = match (self.base, self.new) {
            (Some(base), Some(new)) => self.judge_both(base.number(), new.number()),
            (None, Some(_)) => Outcome::Added,
            (Some(_), None) if allow_missing => Outcome::Noted,
            (Some(_), None) => Outcome::Regression,
            (None, None) => Outcome::Same,
        };
    }

    fn judge_both(&self, base: f64, new: f64) -> Outcome {
        if base == new {
            return Outcome::Same;
        }
        if (new > base) == self.quantity.higher_is_better() {
            return Outcome::Improved;
        }
        if self.quantity == Quantity::Lost && self.part.may_lose_pages() {
            return Outcome::Noted;
        }
        if self.quantity.measure() == Measure::Strict || self.size() > self.threshold + self.rounding() {
            Outcome::Regression
        } else {
            Outcome::Tolerated
        }
    }

    /// 0.9 - 0.899 is a little more than 0.001 to a computer. A threshold of 0 lets nothing pass.
    fn rounding(&self) -> f64 {
        if self.threshold > 0.0 { 1e-9 } else { 0.0 }
    }

    /// How large the change is, as a share: of the base, or of 1 for rates. For counts without a threshold the plain difference.
    /// Infinite if something comes out of nothing, or into nothing.
    #[must_use]
    pub fn size(&self) -> f64 {
        let (Some(base), Some(new)) = (self.base, self.new) else { return f64::INFINITY };
        let difference = (new.number() - base.number()).abs();
        match self.quantity.measure() {
            Measure::Points | Measure::Strict => difference,
            Measure::Relative if difference == 0.0 => 0.0,
            Measure::Relative => difference / base.number(),
        }
    }

    /// True if both sides have it and it is not the same.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.outcome != Outcome::Same
    }
}

#[cfg(test)]
mod tests {
    use super::super::part::ReplayKey;
    use super::*;

    fn judged(quantity: Quantity, policy: &str, base: Option<Value>, new: Option<Value>, threshold: f64) -> Outcome {
        let part = Part::Replay(ReplayKey { policy: policy.into(), ..ReplayKey::default() });
        let (trace, class) = ("a".to_owned(), None);
        let mut change = Change { trace, class, part, quantity, base, new, threshold, outcome: Outcome::Same };
        change.judge(false);
        change.outcome
    }

    fn numbers(quantity: Quantity, base: u64, new: u64, threshold: f64) -> Outcome {
        judged(quantity, "proven", Some(Value::Number(base)), Some(Value::Number(new)), threshold)
    }

    fn rates(quantity: Quantity, base: f64, new: f64, threshold: f64) -> Outcome {
        judged(quantity, "proven", Some(Value::Rate(base)), Some(Value::Rate(new)), threshold)
    }

    #[test]
    fn a_threshold_is_the_last_that_passes() {
        assert_eq!(rates(Quantity::SkipAll, 0.9, 0.899, 0.001), Outcome::Tolerated);
        assert_eq!(rates(Quantity::SkipAll, 0.9, 0.8989, 0.001), Outcome::Regression);
        assert_eq!(rates(Quantity::SkipAll, 0.9, 0.901, 0.001), Outcome::Improved);
        assert_eq!(numbers(Quantity::Wire, 1_000_000, 1_001_000, 0.001), Outcome::Tolerated);
        assert_eq!(numbers(Quantity::Wire, 1_000_000, 1_001_001, 0.001), Outcome::Regression);
        assert_eq!(numbers(Quantity::Wire, 1_000_000, 1, 0.001), Outcome::Improved);
        assert_eq!(numbers(Quantity::Wire, 0, 1, 0.5), Outcome::Regression, "out of nothing");
        assert_eq!(numbers(Quantity::Wire, 1 << 40, (1 << 40) + 1, 0.0), Outcome::Regression, "0 lets nothing pass");
    }

    #[test]
    fn each_quantity_knows_which_way_is_worse() {
        for quantity in Quantity::ALL {
            let (up, down) = (numbers(quantity, 1, 2, 0.0), numbers(quantity, 2, 1, 0.0));
            let better_is_more = quantity.higher_is_better();
            assert_eq!((up == Outcome::Improved, down == Outcome::Improved), (better_is_more, !better_is_more), "{quantity:?}");
            assert_eq!(numbers(quantity, 3, 3, 0.0), Outcome::Same);
        }
        let falls = "present ok recall.content recall.events converged skip.all skip.resident rounds.sync";
        let rises = "lost violations sent resent wire rounds.precopy downtime total lost-events";
        for quantity in Quantity::ALL {
            let (up, down) = (numbers(quantity, 1, 2, 0.0), numbers(quantity, 2, 1, 0.0));
            let worse =
                |outcome, names: &str| (outcome == Outcome::Regression) == names.split(' ').any(|name| name == quantity.name());
            assert!(worse(down, falls) && worse(up, rises), "{quantity:?}");
        }
    }

    #[test]
    fn no_threshold_excuses_a_lost_page_or_a_fall_of_recall() {
        assert_eq!(numbers(Quantity::Lost, 1_000_000, 1_000_001, 1.0), Outcome::Regression);
        assert_eq!(numbers(Quantity::Violations, 0, 1, 1.0), Outcome::Regression);
        assert_eq!(rates(Quantity::ContentRecall, 1.0, 0.999_999, 1.0), Outcome::Regression);
        let flag = |yes| Some(Value::Flag(yes));
        assert_eq!(judged(Quantity::Converged, "proven", flag(true), flag(false), 1.0), Outcome::Regression);
        assert_eq!(judged(Quantity::Converged, "proven", flag(false), flag(true), 1.0), Outcome::Improved);
    }

    #[test]
    fn what_the_seeds_rule_loses_is_told_and_not_judged() {
        let lost =
            |quantity, base, new| judged(quantity, "aging-literal", Some(Value::Number(base)), Some(Value::Number(new)), 0.001);
        assert_eq!(lost(Quantity::Lost, 1, 2), Outcome::Noted);
        assert_eq!(lost(Quantity::Lost, 2, 1), Outcome::Improved);
        assert_eq!(lost(Quantity::Wire, 1, 2), Outcome::Regression, "only lost pages are expected of it");
    }

    #[test]
    fn what_is_gone_is_a_regression_and_what_is_new_is_none() {
        let value = Some(Value::Number(1));
        assert_eq!(judged(Quantity::Downtime, "proven", value, None, 1.0), Outcome::Regression);
        assert_eq!(judged(Quantity::Downtime, "proven", None, value, 0.0), Outcome::Added);
    }
}
