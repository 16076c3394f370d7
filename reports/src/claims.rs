//! The skip rates that the seed document claims for each workload class, and how a measured rate compares.

/// A claimed range of skip rates. Both ends belong to the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The class as traces name it.
    pub class: &'static str,
    /// The class as the seed document names it.
    pub label: &'static str,
    /// Lower end in percent.
    pub low: u32,
    /// Upper end in percent.
    pub high: u32,
}

/// The table "Expected Performance Gains" of the seed document. It does not say whether it counts all blocks or only those
/// that hold data, so both are compared with it.
pub const CLAIMS: [Claim; 4] = [
    Claim { class: "idle", label: "Idle VM", low: 60, high: 80 },
    Claim { class: "light", label: "Light workload", low: 40, high: 60 },
    Claim { class: "mixed", label: "Mixed workload", low: 30, high: 50 },
    Claim { class: "heavy-io", label: "Heavy I/O", low: 10, high: 30 },
];

/// Where a measured rate lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Below the claimed range: the claim is not met.
    Below,
    /// Inside the claimed range.
    Within,
    /// Above the claimed range.
    Above,
    /// There is no claim, or nothing was measured.
    NoClaim,
}

impl Claim {
    /// The claim for a class, if the seed makes one.
    #[must_use]
    pub fn of(class: &str) -> Option<&'static Claim> {
        CLAIMS.iter().find(|claim| claim.class == class)
    }

    /// Compares a rate from 0 to 1 with the range.
    #[must_use]
    pub fn judge(&self, rate: f64) -> Verdict {
        let percent = rate * 100.0;
        if percent.is_nan() {
            Verdict::NoClaim
        } else if percent < f64::from(self.low) {
            Verdict::Below
        } else if percent > f64::from(self.high) {
            Verdict::Above
        } else {
            Verdict::Within
        }
    }

    /// Compares a rate with the range, unless there was nothing to take a rate of.
    #[must_use]
    pub fn judge_if(&self, counted: u64, rate: f64) -> Verdict {
        if counted == 0 { Verdict::NoClaim } else { self.judge(rate) }
    }

    /// The range for people, such as `60–80 %`.
    #[must_use]
    pub fn range(&self) -> String {
        format!("{}–{}\u{a0}%", self.low, self.high)
    }
}

impl Verdict {
    /// True if the rate is at least what was claimed.
    #[must_use]
    pub fn met(self) -> bool {
        matches!(self, Verdict::Within | Verdict::Above)
    }

    /// The verdict in words, to stand beside a rate.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Below => "not met: below the claim",
            Verdict::Within => "met: inside the claim",
            Verdict::Above => "met: above the claim",
            Verdict::NoClaim => "no claim",
        }
    }

    /// One word, used as a class name in HTML and as a value in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Below => "below",
            Verdict::Within => "within",
            Verdict::Above => "above",
            Verdict::NoClaim => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_the_range() {
        let idle = Claim::of("idle").expect("the seed claims a rate for idle");
        assert_eq!(idle.judge(0.5999), Verdict::Below);
        assert_eq!(idle.judge(0.6), Verdict::Within);
        assert_eq!(idle.judge(0.8), Verdict::Within);
        assert_eq!(idle.judge(0.801), Verdict::Above);
        assert_eq!(idle.judge(f64::NAN), Verdict::NoClaim);
        assert!(Claim::of("database").is_none());
    }
}
