//! How much memory a guest writes in a given time.

use alloc::vec::Vec;

use super::narrow;
use crate::Nanos;

/// The distinct bytes that a guest writes within a time, as a curve that never falls.
///
/// Whoever observed the guest decides what the points mean: the most that was written in any window of a length makes the
/// forecast a cautious one, the mean over all windows makes it the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkingSet {
    /// Ascending windows, none twice and none of length 0; bytes never fall.
    points: Vec<(Nanos, u64)>,
    cap: u64,
}

impl WorkingSet {
    /// A curve through points of (length of the window, distinct bytes written within it), in any order.
    ///
    /// Of two points with the same window the larger counts. A point below an earlier one is raised to it: in a longer time no
    /// less is written. In no time nothing is written, so a window of length 0 says nothing. Without points the guest is idle.
    #[must_use]
    pub fn new(points: impl IntoIterator<Item = (Nanos, u64)>) -> Self {
        let mut given: Vec<_> = points.into_iter().filter(|(window, _)| *window > Nanos(0)).collect();
        given.sort_unstable();
        let mut points: Vec<(Nanos, u64)> = Vec::with_capacity(given.len());
        for (window, bytes) in given {
            let bytes = points.last().map_or(bytes, |last| bytes.max(last.1));
            match points.last_mut() {
                Some(last) if last.0 == window => last.1 = bytes,
                _ => points.push((window, bytes)),
            }
        }
        Self { points, cap: u64::MAX }
    }

    /// The same curve, held at `resident` bytes: a guest cannot write more distinct bytes than it has.
    #[must_use]
    pub fn capped(mut self, resident: u64) -> Self {
        self.cap = resident;
        self
    }

    /// Distinct bytes written within `window`, rounded up.
    ///
    /// Linear from (0, 0) to the first point and between points. Beyond the last one the curve goes on as in its last stretch, up
    /// to the cap. As long windows find mostly pages that were written before, this is rather too much than too little, unless
    /// the guest changes its habits.
    #[must_use]
    pub fn bytes_within(&self, window: Nanos) -> u64 {
        let next = self.points.partition_point(|point| point.0 < window);
        let right = next.min(self.points.len().saturating_sub(1));
        let Some(&(to, upper)) = self.points.get(right) else { return 0 };
        let (from, lower) = right.checked_sub(1).map_or((Nanos(0), 0), |left| self.points[left]);
        // (2^64 - 1)^2 + 2^64 - 1 fits 128 bits.
        let risen = u128::from(upper - lower) * u128::from(window.since(from).0);
        narrow(u128::from(lower) + risen.div_ceil(u128::from(to.since(from).0))).min(self.cap)
    }
}
