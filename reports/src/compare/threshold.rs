//! How much worse something may get before it is a regression.
//!
//! A replay is deterministic: the same program makes the same numbers of the same trace, on every machine. So a threshold does not
//! stand for noise, as it does for benchmarks that are timed; each difference is a change of the program. It stands for what
//! a change may cost without a word: a byte more in a block header, another level of compression. That is why the default is as
//! small as it is, and the same for all.

use super::quantity::{Measure, Quantity};

/// What may get worse without a word: a tenth of a percent, or of a percentage point for rates.
pub const DEFAULT: f64 = 0.001;

/// Words that set the threshold of one or more quantities, and which.
const NAMES: [(&str, &[Quantity]); 15] = [
    ("skip", &[Quantity::SkipAll, Quantity::SkipResident]),
    ("skip.all", &[Quantity::SkipAll]),
    ("skip.resident", &[Quantity::SkipResident]),
    ("sent", &[Quantity::Sent]),
    ("resent", &[Quantity::Resent]),
    ("wire", &[Quantity::Wire]),
    ("rounds", &[Quantity::PrecopyRounds, Quantity::SyncRounds]),
    ("downtime", &[Quantity::Downtime]),
    ("total", &[Quantity::TotalTime]),
    ("lost-events", &[Quantity::LostEvents]),
    ("lost", &[Quantity::Lost]),
    ("violations", &[Quantity::Violations]),
    ("recall", &[Quantity::ContentRecall, Quantity::EventRecall]),
    ("converged", &[Quantity::Converged]),
    ("ok", &[Quantity::Ok]),
];

/// How much worse each quantity may get, as a share: of the base, or of 1 for rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds([f64; Quantity::ALL.len()]);

/// One threshold as it is written: `1%` for all quantities that have one, `wire=2%` for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The quantities; all that are not strict if there is no name.
    quantities: Vec<Quantity>,
    /// The share.
    share: f64,
    named: bool,
}

/// A threshold that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// It is no number with a percent sign.
    #[error("`{0}` is no threshold: write it like 1% or wire=2%")]
    NoShare(String),
    /// There is no quantity of this name.
    #[error("`{0}` is none of {list}", list = NAMES.map(|(name, _)| name).join(", "))]
    NoQuantity(String),
    /// Getting worse is never allowed there.
    #[error("`{0}` takes only 0: there any change for the worse is a regression")]
    Strict(String),
}

impl std::str::FromStr for Threshold {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let Some((name, share)) = text.split_once('=') else {
            let quantities = Quantity::ALL.into_iter().filter(|quantity| quantity.measure() != Measure::Strict);
            return Ok(Self { quantities: quantities.collect(), share: share_of(text)?, named: false });
        };
        let word = name.trim().replace('_', "-");
        let named = NAMES.iter().find(|(known, _)| *known == word);
        let (_, quantities) = named.ok_or_else(|| ThresholdError::NoQuantity(name.trim().to_owned()))?;
        let share = share_of(share)?;
        if share > 0.0 && quantities.iter().any(|quantity| quantity.measure() == Measure::Strict) {
            return Err(ThresholdError::Strict(word));
        }
        Ok(Self { quantities: quantities.to_vec(), share, named: true })
    }
}

/// `1%` or `0.5 %` as a share. Without a sign only 0 has a meaning.
fn share_of(text: &str) -> Result<f64, ThresholdError> {
    let wrong = || ThresholdError::NoShare(text.trim().to_owned());
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(percent) => (percent.trim_end(), 100.0),
        None => (text.trim(), 1.0),
    };
    let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let share = number.parse::<f64>().ok().filter(|_| plain).ok_or_else(wrong)? / scale;
    if share.is_finite() && (scale > 1.0 || share == 0.0) { Ok(share) } else { Err(wrong()) }
}

impl Default for Thresholds {
    fn default() -> Self {
        Self(Quantity::ALL.map(|quantity| if quantity.measure() == Measure::Strict { 0.0 } else { DEFAULT }))
    }
}

impl Thresholds {
    /// The defaults, changed by these: first those for all quantities, then those with a name, each in their order.
    #[must_use]
    pub fn new(given: &[Threshold]) -> Self {
        let mut thresholds = Self::default();
        for named in [false, true] {
            for threshold in given.iter().filter(|threshold| threshold.named == named) {
                for quantity in &threshold.quantities {
                    thresholds.0[*quantity as usize] = threshold.share;
                }
            }
        }
        thresholds
    }

    /// How much worse this quantity may get, as a share: of the base, or of 1 for rates.
    #[must_use]
    pub fn of(&self, quantity: Quantity) -> f64 {
        self.0[quantity as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds(given: &str) -> Result<Thresholds, ThresholdError> {
        Ok(Thresholds::new(&given.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?))
    }

    #[test]
    fn a_name_wins_over_all_wherever_it_stands() {
        for given in ["wire=2%,1%", "1%,wire=2%"] {
            let thresholds = thresholds(given).unwrap();
            assert_eq!((thresholds.of(Quantity::Wire), thresholds.of(Quantity::Sent)), (0.02, 0.01), "{given}");
        }
        let one = thresholds("skip.resident=0.5%").unwrap();
        assert_eq!((one.of(Quantity::SkipResident), one.of(Quantity::SkipAll)), (0.005, DEFAULT));
        let both = thresholds("skip=0,rounds = 50 %").unwrap();
        assert_eq!((both.of(Quantity::SkipAll), both.of(Quantity::SkipResident)), (0.0, 0.0));
        assert_eq!((both.of(Quantity::PrecopyRounds), both.of(Quantity::SyncRounds)), (0.5, 0.5));
    }

    #[test]
    fn what_may_never_get_worse_has_no_threshold() {
        let wide = thresholds("100%,lost=0,violations=0%,recall=0").unwrap();
        for quantity in Quantity::ALL {
            let strict = quantity.measure() == Measure::Strict;
            assert_eq!(wide.of(quantity), if strict { 0.0 } else { 1.0 }, "{quantity:?}");
            assert_eq!(quantity as usize, Quantity::ALL.iter().position(|other| *other == quantity).unwrap());
        }
        assert_eq!(thresholds("lost=1%"), Err(ThresholdError::Strict("lost".into())));
        assert_eq!(thresholds("recall=5%"), Err(ThresholdError::Strict("recall".into())));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in ["", "1", "x%", "-1%", "%", "1e3%", "inf%", "nan%", "wire=", "wire=2", "wire=2%%", "0.5pp"] {
            assert!(matches!(thresholds(text), Err(ThresholdError::NoShare(_))), "{text}");
        }
        let error = thresholds("speed=1%").unwrap_err().to_string();
        assert!(error.contains("`speed` is none of skip, ") && error.contains("downtime"), "{error}");
        assert_eq!(thresholds("lost_events=1%").unwrap().of(Quantity::LostEvents), 0.01);
    }
}
