//! `adaptive`: `aging` with knobs that turn themselves.

use super::{BlockView, Observed, Policy, Tuning, Verdict, aging::Aging};
use crate::{Nanos, PAGE_SIZE, PageBitmap};

/// Dirty pages a second, in millionths of the resident pages, from which on a threshold in seconds applies. The seed advises 1
/// to 3 s for workloads that change often and 5 to 10 s for stable ones; where "often" begins is our choice.
const THRESHOLDS: [(u64, u64); 4] = [(50_000, 1), (10_000, 3), (1_000, 5), (0, 10)];

/// Block sizes to choose from, in pages: the seed's 32 to 256 KiB.
const SIZES: [u64; 4] = [8, 16, 32, 64];

/// A block is as large as it can be while the clean pages that dirty blocks carry along stay below this share of the dirty
/// ones: one quarter. Larger blocks mean fewer decisions and headers.
const CARRIED: u64 = 4;

/// Skips and defers like `aging`. After each epoch it sets the aging threshold by the dirty rate, smoothed over epochs, and the
/// block size by how closely the dirty pages lie together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Adaptive {
    /// Dirty pages a second in millionths of the resident pages.
    rate: Option<u64>,
    /// The block size that the last epoch asked for; it is taken when two in a row agree.
    wanted: Option<u64>,
}

impl Policy for Adaptive {
    fn judge(&self, block: &BlockView<'_>) -> Verdict {
        Aging.judge(block)
    }

    fn tune(&mut self, observed: &Observed<'_>) -> Tuning {
        let dirty = observed.log.count();
        let rate = rate(dirty, observed);
        let smooth = self.rate.map_or(rate, |before| (before + rate) / 2);
        self.rate = Some(smooth);
        let wanted = (dirty > 0).then(|| block_size(observed.log, dirty));
        let agreed = wanted.filter(|_| wanted == self.wanted);
        self.wanted = wanted.or(self.wanted);
        Tuning { aging_threshold: Some(threshold(smooth)), block_size: agreed }
    }
}

fn rate(dirty: u64, observed: &Observed<'_>) -> u64 {
    let resident_time = u128::from(observed.resident.max(1)) * u128::from(observed.span.0.max(1));
    let rate = u128::from(dirty) * 1_000_000 * u128::from(Nanos::SECOND.0) / resident_time;
    u64::try_from(rate).unwrap_or(u64::MAX / 2).min(u64::MAX / 2)
}

fn threshold(rate: u64) -> Nanos {
    let seconds = THRESHOLDS.iter().find(|&&(from, _)| rate >= from).map_or(5, |&(_, seconds)| seconds);
    Nanos(seconds * Nanos::SECOND.0)
}

fn block_size(log: &PageBitmap, dirty: u64) -> u64 {
    let fits = |pages: &u64| (touched(log, *pages) * pages - dirty) * CARRIED < dirty;
    SIZES.into_iter().rev().find(fits).unwrap_or(SIZES[0]) * PAGE_SIZE
}

/// Aligned groups of `pages` (a power of two up to 64) with at least one member.
fn touched(log: &PageBitmap, pages: u64) -> u64 {
    let group = u64::MAX >> (64 - pages);
    let groups = |word: u64| (0..64).step_by(pages as usize).filter(|&at| word >> at & group != 0).count() as u64;
    log.words().iter().filter(|&&word| word != 0).map(|&word| groups(word)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(ranges: &[(u64, u64)]) -> PageBitmap {
        let mut log = PageBitmap::new(4096);
        ranges.iter().for_each(|&(start, end)| log.insert_range(start..end));
        log
    }

    fn tune(policy: &mut Adaptive, log: &PageBitmap) -> Tuning {
        policy.tune(&Observed { log, span: Nanos::SECOND, resident: 4096 })
    }

    #[test]
    fn a_busy_guest_gets_a_short_threshold_and_a_quiet_one_a_long_one() {
        for (dirty, seconds) in [(0, 10), (4, 10), (5, 5), (40, 5), (41, 3), (204, 3), (205, 1), (4096, 1)] {
            let tuning = tune(&mut Adaptive::default(), &log(&[(0, dirty)]));
            assert_eq!(tuning.aging_threshold, Some(Nanos(seconds * Nanos::SECOND.0)), "{dirty} of 4096 pages a second");
        }
        let mut policy = Adaptive::default();
        tune(&mut policy, &log(&[(0, 400)]));
        let quiet: alloc::vec::Vec<_> = (0..6).map(|_| tune(&mut policy, &log(&[])).aging_threshold.unwrap().0).collect();
        assert_eq!(quiet.iter().map(|nanos| nanos / Nanos::SECOND.0).collect::<alloc::vec::Vec<_>>(), [3, 3, 3, 5, 5, 5]);
    }

    #[test]
    fn the_block_size_follows_the_lie_of_the_dirty_pages() {
        let dense = log(&[(0, 640)]);
        let sparse = log(&[(0, 1), (100, 101), (1000, 1001)]);
        let medium = log(&[(0, 15), (64, 80), (640, 656)]);
        let mut policy = Adaptive::default();
        assert_eq!(tune(&mut policy, &dense).block_size, None, "one epoch is not enough");
        assert_eq!(tune(&mut policy, &dense).block_size, Some(256 * 1024));
        assert_eq!(tune(&mut policy, &sparse).block_size, None);
        assert_eq!(tune(&mut policy, &log(&[])).block_size, None, "an epoch without writes says nothing");
        assert_eq!(tune(&mut policy, &sparse).block_size, Some(32 * 1024));
        tune(&mut policy, &medium);
        assert_eq!(tune(&mut policy, &medium).block_size, Some(64 * 1024));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut policy = Adaptive::default();
        for (span, resident) in [(0, 0), (u64::MAX, u64::MAX), (1, 1)] {
            policy.tune(&Observed { log: &log(&[(0, 4096)]), span: Nanos(span), resident });
        }
    }
}
