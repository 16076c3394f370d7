//! How long each page usually rests between two writes: what the dirty logs of the past say about the next one.
//!
//! A forecast orders and defers blocks. It never allows a skip: being wrong costs bytes, not pages.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Gfn, Nanos, PageBitmap};

/// Longest interval that is told apart, in milliseconds.
const LONGEST: u32 = u16::MAX as u32;

/// Write intervals of every page, as arrays indexed by frame: 8 bytes a page. The unit is the millisecond, since intervals are
/// no finer than epochs.
#[derive(Clone, Debug, Default)]
pub struct Redirty {
    /// When the page was last found in a dirty log, modulo 2^32; 0 for never.
    last: Vec<u32>,
    /// Decayed mean of the intervals; 0 if there was none yet.
    mean: Vec<u16>,
    /// The last interval; 0 if there was none yet.
    previous: Vec<u16>,
    score: RedirtyScore,
}

/// How good the forecasts were, next to the plainest one: that the next interval is as long as the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirtyScore {
    /// Writes that had been forecast.
    pub forecasts: u64,
    /// Distance between forecast and real interval, summed over them, in milliseconds: decayed mean.
    pub decayed_error_ms: u64,
    /// The same for the last interval.
    pub last_interval_error_ms: u64,
}

impl Redirty {
    /// No history of frames `0..frame_end`.
    #[must_use]
    pub fn new(frame_end: u64) -> Self {
        let frames = frame_end as usize;
        Self { last: vec![0; frames], mean: vec![0; frames], previous: vec![0; frames], score: RedirtyScore::default() }
    }

    /// Makes room for frames up to `frame_end`; entries stay.
    pub fn grow(&mut self, frame_end: u64) {
        let frames = (frame_end as usize).max(self.last.len());
        self.last.resize(frames, 0);
        self.mean.resize(frames, 0);
        self.previous.resize(frames, 0);
    }

    /// Forgets the pages of a range, whose memory went away.
    pub fn forget(&mut self, pages: Range<u64>) {
        let end = pages.end.min(self.last.len() as u64);
        let range = pages.start.min(end) as usize..end as usize;
        self.last[range.clone()].fill(0);
        self.mean[range.clone()].fill(0);
        self.previous[range].fill(0);
    }

    /// An epoch ended now, and these pages were written in it.
    pub fn record(&mut self, now: Nanos, log: &PageBitmap) {
        let now = stamp(now);
        for gfn in log.iter() {
            let at = gfn.index();
            let Some(last) = self.last.get_mut(at) else { break };
            let before = core::mem::replace(last, now);
            if before == 0 {
                continue;
            }
            let interval = now.wrapping_sub(before).clamp(1, LONGEST) as u16;
            let mean = self.mean[at];
            if mean == 0 {
                self.mean[at] = interval;
            } else {
                self.score.forecasts += 1;
                self.score.decayed_error_ms += u64::from(interval.abs_diff(mean));
                self.score.last_interval_error_ms += u64::from(interval.abs_diff(self.previous[at]));
                self.mean[at] = decayed(mean, interval);
            }
            self.previous[at] = interval;
        }
    }

    /// In how long the page will be written again, or `None` for a page whose intervals are not known. A page that rests longer
    /// than usual is expected to rest as long again: the longer nothing happened, the less the old rhythm means.
    #[must_use]
    pub fn next_write(&self, gfn: Gfn, now: Nanos) -> Option<Nanos> {
        let mean = u32::from(*self.mean.get(gfn.index())?);
        if mean == 0 {
            return None;
        }
        let age = stamp(now).wrapping_sub(self.last[gfn.index()]);
        let rest = if age < mean { mean - age } else { age };
        Some(Nanos(u64::from(rest) * Nanos::MILLISECOND.0))
    }

    /// In how long a page of the range will be written, or `None` if that is not known of any.
    #[must_use]
    pub fn next_write_in(&self, pages: Range<u64>, now: Nanos) -> Option<Nanos> {
        pages.filter_map(|page| self.next_write(Gfn(page), now)).min()
    }

    /// The times of the last writes as they would be if the clock stood at `then` instead of `now`, and both columns of
    /// intervals: what [`Redirty::restore`] takes.
    #[must_use]
    pub fn saved(&self, now: Nanos, then: Nanos) -> (Vec<u32>, &[u16], &[u16]) {
        (self.last.iter().map(|&last| rebased(last, now, then)).collect(), &self.mean, &self.previous)
    }

    /// Takes over saved columns, by a clock that stands at `then` when this one stands at `now`. What is known here of a
    /// page stays.
    pub fn restore(&mut self, (last, mean, previous): (&[u32], &[u16], &[u16]), then: Nanos, now: Nanos) {
        for (at, ((&last, &mean), &previous)) in last.iter().zip(mean).zip(previous).enumerate().take(self.last.len()) {
            if self.last[at] == 0 {
                self.last[at] = rebased(last, then, now);
            }
            if self.mean[at] == 0 {
                (self.mean[at], self.previous[at]) = (mean, previous);
            }
        }
    }

    /// How good the forecasts were.
    #[must_use]
    pub fn score(&self) -> RedirtyScore {
        self.score
    }
}

/// Milliseconds, modulo 2^32 and never 0.
fn stamp(now: Nanos) -> u32 {
    ((now.0 / Nanos::MILLISECOND.0) as u32).max(1)
}

/// A time of the same age by another clock.
fn rebased(last: u32, from: Nanos, to: Nanos) -> u32 {
    if last == 0 { 0 } else { stamp(to).wrapping_sub(stamp(from).wrapping_sub(last)).max(1) }
}

/// A quarter of the way from `mean` to `interval`, at least one step.
fn decayed(mean: u16, interval: u16) -> u16 {
    let (mean, interval) = (i32::from(mean), i32::from(interval));
    let quarter = (interval - mean) / 4;
    let step = if quarter == 0 { (interval - mean).signum() } else { quarter };
    (mean + step) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(time: u64) -> Nanos {
        Nanos(time * Nanos::MILLISECOND.0)
    }

    fn record(redirty: &mut Redirty, time: u64, page: u64) {
        let mut log = PageBitmap::new(8);
        log.insert(Gfn(page));
        redirty.record(ms(time), &log);
    }

    #[test]
    fn a_rhythm_is_known_after_two_writes() {
        let mut redirty = Redirty::new(4);
        record(&mut redirty, 1000, 1);
        assert_eq!(redirty.next_write(Gfn(1), ms(1000)), None, "one write is no rhythm");
        record(&mut redirty, 1400, 1);
        assert_eq!(redirty.next_write(Gfn(1), ms(1500)), Some(ms(300)));
        assert_eq!(redirty.next_write(Gfn(1), ms(1800)), Some(ms(400)), "the log that ended now did not have it");
        assert_eq!(redirty.next_write(Gfn(1), ms(2600)), Some(ms(1200)), "it rests longer than usual");
        assert_eq!(redirty.next_write_in(0..4, ms(1500)), Some(ms(300)));
        assert_eq!(redirty.next_write_in(2..4, ms(1500)), None);
        redirty.forget(0..2);
        assert_eq!(redirty.next_write(Gfn(1), ms(1500)), None);
        record(&mut redirty, 1600, 1);
        assert_eq!(redirty.next_write(Gfn(1), ms(1700)), None, "the writes before are forgotten too");
        record(&mut redirty, 1, 7);
        redirty.grow(8);
        record(&mut redirty, 1, 7);
        record(&mut redirty, 2, 7);
        assert_eq!(redirty.next_write(Gfn(7), ms(2)), Some(ms(1)));
    }

    #[test]
    fn the_mean_forgives_one_outlier_and_the_last_interval_does_not() {
        let mut redirty = Redirty::new(4);
        let mut time = 1;
        for interval in [100, 100, 100, 900, 100, 100] {
            record(&mut redirty, time, 0);
            time += interval;
        }
        record(&mut redirty, time, 0);
        // Intervals 100 100 100 900 100 100; forecasts begin with the second.
        let score = redirty.score();
        assert_eq!(score.forecasts, 5);
        assert_eq!(score.last_interval_error_ms, 800 + 800);
        assert_eq!(score.decayed_error_ms, 800 + 200 + 150, "the mean went to 300, 250");
    }

    #[test]
    fn the_mean_arrives_where_the_intervals_are() {
        let mut redirty = Redirty::new(1);
        let mut time = 1;
        for interval in [0, 100, 103, 103, 103, 99, 99, 99, 99] {
            time += interval;
            record(&mut redirty, time, 0);
        }
        assert_eq!(redirty.next_write(Gfn(0), ms(time)), Some(ms(99)));
    }

    #[test]
    fn a_saved_rhythm_goes_on_by_another_clock() {
        let mut redirty = Redirty::new(2);
        record(&mut redirty, 1000, 1);
        record(&mut redirty, 1400, 1);
        let (last, mean, previous) = redirty.saved(ms(1500), ms(90_000));
        assert_eq!(redirty.saved(ms(1500), ms(100)).0, [0, 1], "0 is for a page that was never written");
        let mut later = Redirty::new(2);
        later.restore((&last, mean, previous), ms(90_050), ms(7));
        assert_eq!(later.next_write(Gfn(1), ms(7)), Some(ms(250)), "150 ms of 400 are over");
        let mut written = Redirty::new(2);
        record(&mut written, 2, 1);
        written.restore((&last, mean, previous), ms(90_050), ms(7));
        assert_eq!(written.next_write(Gfn(1), ms(7)), Some(ms(395)), "the rhythm is the old one, the last write is not");
        record(&mut written, 12, 1);
        written.restore((&last, mean, previous), ms(90_050), ms(12));
        assert_eq!(written.next_write(Gfn(1), ms(12)), Some(ms(303)), "what is known stays, and goes on");
    }

    #[test]
    fn intervals_longer_than_the_unit_holds_and_clocks_that_wrap_are_bounded() {
        let mut redirty = Redirty::new(1);
        record(&mut redirty, u64::from(u32::MAX), 0);
        record(&mut redirty, (1 << 32) + 10, 0);
        assert_eq!(redirty.next_write(Gfn(0), ms((1 << 32) + 10)), Some(ms(11)));
        record(&mut redirty, (1 << 32) + 1_000_000, 0);
        assert_eq!(redirty.score().decayed_error_ms, u64::from(LONGEST) - 11);
    }
}
