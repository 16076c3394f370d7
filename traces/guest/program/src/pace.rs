//! How many pages are due by now, and which ones.

use std::time::Duration;

use clap::ValueEnum;

use crate::page::scramble;

/// After a longer pause (the VM stood still, or was moved) the time missed is not made up for.
const LONGEST_STEP: Duration = Duration::from_millis(100);
const SECOND: u128 = 1_000_000_000;

/// A rate turned into whole pages.
pub(crate) struct Pace {
    per_second: u64,
    /// Parts of a page that are left from before, in billionths.
    rest: u128,
}

impl Pace {
    /// Pages per second.
    #[must_use]
    pub(crate) fn new(per_second: u64) -> Self {
        Self { per_second, rest: 0 }
    }

    /// Pages that became due in this time.
    pub(crate) fn due(&mut self, elapsed: Duration) -> u64 {
        let owed = self.rest + elapsed.min(LONGEST_STEP).as_nanos() * u128::from(self.per_second);
        self.rest = owed % SECOND;
        u64::try_from(owed / SECOND).unwrap_or(u64::MAX)
    }
}

/// Which pages are rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pattern {
    /// Any page, all alike.
    Uniform,
    /// Nine writes of ten go to the first tenth of the pages, the others anywhere.
    Hot,
    /// One page after the other.
    Sequential,
}

/// Draws the pages to rewrite.
pub(crate) struct Picker {
    pattern: Pattern,
    pages: u64,
    step: u64,
    seed: u64,
}

impl Picker {
    /// For an area of this many pages, at least one.
    #[must_use]
    pub(crate) fn new(pattern: Pattern, pages: usize, seed: u64) -> Self {
        Self { pattern, pages: pages.max(1) as u64, step: 0, seed }
    }

    /// The next page to rewrite.
    pub(crate) fn pick(&mut self) -> usize {
        self.step += 1;
        let drawn = scramble(self.seed ^ scramble(self.step));
        let page = match self.pattern {
            Pattern::Sequential => (self.step - 1) % self.pages,
            Pattern::Hot if !drawn.is_multiple_of(10) => (drawn / 10) % (self.pages / 10).max(1),
            Pattern::Hot | Pattern::Uniform => (drawn / 10) % self.pages,
        };
        page as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_page_are_not_forgotten() {
        let mut pace = Pace::new(3);
        let due: u64 = (0..1000).map(|_| pace.due(Duration::from_millis(10))).sum();
        assert_eq!(due, 30);
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        assert_eq!(Pace::new(1000).due(Duration::from_secs(60)), 100);
        assert_eq!(Pace::new(u64::MAX).due(Duration::from_secs(60)), u64::MAX / 10);
    }

    fn histogram(pattern: Pattern) -> Vec<u32> {
        let mut picker = Picker::new(pattern, 100, 1);
        let mut count = vec![0; 100];
        for _ in 0..100_000 {
            count[picker.pick()] += 1;
        }
        count
    }

    #[test]
    fn patterns_go_where_they_say() {
        assert!(histogram(Pattern::Sequential).iter().all(|&count| count == 1000));
        assert!(histogram(Pattern::Uniform).iter().all(|count| (700..1300).contains(count)));
        let hot = histogram(Pattern::Hot);
        assert!((89_000..93_000).contains(&hot[..10].iter().sum::<u32>()), "{hot:?}");
        assert!(hot.iter().all(|&count| count > 0), "the others are written too");
    }
}
