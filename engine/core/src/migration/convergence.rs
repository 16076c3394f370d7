//! Will it converge? What is left to send, how fast it goes, and what to do when it does not get less.

use alloc::collections::VecDeque;
use alloc::vec;
use core::ops::Range;

use super::{Migration, Mode, Outcome, Unconverged};
use crate::block::bytes_of;
use crate::budget::Demand;
use crate::forecast::{self, WorkingSet};
use crate::policy::Verdict;
use crate::{Gfn, Nanos};

/// Rounds without a new least rest after which precopy counts as stuck. It is what a forecast allows for.
const STANDSTILL_ROUNDS: u32 = forecast::STANDSTILL_ROUNDS;

/// Guest memory that a round must have moved for its speed to be believed, in bytes.
pub(super) const SAMPLE: u64 = 1 << 20;

/// Epochs whose start is remembered, for the working set.
const EPOCHS: usize = 256;

/// How the rounds get on.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// When the round in progress began.
    began: Nanos,
    /// Guest memory that was sent in it, in bytes. What was only read says nothing about the wire.
    moved: u64,
    /// True if the last round left everything for later.
    all_waited: bool,
    /// Bytes of guest memory per second, from the last round that moved enough.
    speed: Option<u64>,
    /// How long the round in progress was expected to take at its start.
    pub(super) round_time: Nanos,
    /// The least rest so far in bytes, and the round after which it was seen.
    least: Option<(u64, u32)>,
    /// By how many percent the guest is held back, and was at most.
    pub(super) throttle: u8,
    most_throttle: u8,
    /// When each of the last epochs began, oldest first; the last one is open.
    epochs: VecDeque<Nanos>,
}

impl Pace {
    /// Nothing has moved in this attempt yet.
    pub(super) fn restart(&mut self) {
        self.least = None;
    }

    pub(super) fn most_throttle(&self) -> u8 {
        self.most_throttle
    }

    /// Bytes of guest memory per second, if a round has shown it.
    pub(super) fn speed(&self) -> Option<u64> {
        self.speed
    }

    /// The guest was watched for at least one epoch.
    pub(super) fn has_watched(&self) -> bool {
        self.epochs.len() > 1
    }

    pub(super) fn begin_round(&mut self, now: Nanos) {
        self.began = now;
        self.moved = 0;
    }

    pub(super) fn end_round(&mut self, now: Nanos, all_waited: bool) {
        self.all_waited = all_waited;
        let time = now.since(self.began).0;
        if time > 0 && self.moved >= SAMPLE {
            let speed = u128::from(self.moved) * u128::from(Nanos::SECOND.0) / u128::from(time);
            self.speed = Some(u64::try_from(speed).unwrap_or(u64::MAX).max(1));
        }
    }

    pub(super) fn moved(&mut self, bytes: u64) {
        self.moved += bytes;
    }

    /// The first epoch begins when there is first something to be told.
    pub(super) fn watch(&mut self, now: Nanos) {
        if self.epochs.is_empty() {
            self.epochs.push_back(now);
        }
    }

    pub(super) fn begin_epoch(&mut self, now: Nanos) {
        if self.epochs.len() == EPOCHS {
            self.epochs.pop_front();
        }
        self.epochs.push_back(now);
    }

    /// How long the epoch was that was closed last.
    pub(super) fn last_span(&self) -> Nanos {
        let mut began = self.epochs.iter().rev();
        let (open, closed) = (began.next(), began.next());
        open.zip(closed).map_or(Nanos(0), |(open, closed)| open.since(*closed))
    }
}

impl Migration {
    /// After a closed epoch of precopy: hand over, slow the guest down, give up, or go on.
    pub(super) fn weigh(&mut self, downtime_limit: Nanos, max_rounds: u32) {
        let rest = self.rest();
        // Where nothing was sent, nobody knows how long it takes.
        let all_waited = self.pace.all_waited;
        if self.time_for(rest).map_or(!all_waited, |time| time <= downtime_limit) {
            return self.begin_pause(true);
        }
        let stuck = match &mut self.pace.least {
            Some((_, round)) if all_waited => {
                // A round in which everything rested is no attempt that failed.
                *round += 1;
                false
            }
            Some((least, round)) if rest >= *least => self.rounds - *round >= STANDSTILL_ROUNDS,
            least => {
                *least = Some((rest, self.rounds));
                false
            }
        };
        if self.rounds < max_rounds && (!stuck || self.slow_down()) {
            self.plan_round(rest);
            return self.begin_round();
        }
        match self.config.unconverged {
            Unconverged::HandOver => self.begin_pause(false),
            Unconverged::GiveUp => self.fail(Outcome::NotConverging),
        }
    }

    /// Asks for a slower guest, if that is allowed and it can be any slower.
    fn slow_down(&mut self) -> bool {
        let Some(throttle) = self.config.throttle.filter(|throttle| self.pace.throttle < throttle.most.min(99)) else {
            return false;
        };
        let percent = if self.pace.throttle == 0 { throttle.first } else { self.pace.throttle.saturating_add(throttle.step) };
        self.pace.throttle = percent.clamp(self.pace.throttle + 1, throttle.most.min(99));
        self.pace.most_throttle = self.pace.most_throttle.max(self.pace.throttle);
        self.pace.least = None;
        self.say_throttle = true;
        true
    }

    /// Bytes of guest memory that a last round would have to deal with now.
    pub(super) fn rest(&self) -> u64 {
        (0..self.blocks.count())
            .map(|index| self.blocks.pages(self.blocks.id(index)))
            .filter(|pages| matches!(self.judge(pages.clone()), Verdict::Read | Verdict::Defer(_)))
            .map(|pages| bytes_of(&pages))
            .sum()
    }

    /// How long these bytes take, at the speed of the last round or else at the configured bandwidth; `None` if neither is known.
    fn time_for(&self, bytes: u64) -> Option<Nanos> {
        let Mode::Precopy { bandwidth, .. } = self.config.mode else { return None };
        let speed = self.pace.speed.or(bandwidth)?.max(1);
        let time = (u128::from(bytes) * u128::from(Nanos::SECOND.0)).div_ceil(u128::from(speed));
        Some(Nanos(u64::try_from(time).unwrap_or(u64::MAX)))
    }

    /// How long a round of precopy will take. None is shorter than an epoch has been: only a closed one ends it.
    pub(super) fn plan_round(&mut self, rest: u64) {
        self.pace.round_time = self.time_for(rest).unwrap_or_default().max(self.pace.last_span());
    }

    /// What this migration asks of a wire that it shares with others; see [`divide`](crate::budget::divide()). The dirty rate is
    /// what was written within the last second.
    #[must_use]
    pub fn demand(&self, weight: u32) -> Demand {
        Demand {
            weight,
            remaining: if self.is_finished() { 0 } else { self.rest() },
            dirty_rate: self.working_set().bytes_within(Nanos::SECOND),
            paused: self.paused.is_some(),
        }
    }

    /// The wire takes this many bytes per second from now on; `None` if it is no limit. What was measured before is forgotten.
    pub fn set_bandwidth(&mut self, now: Nanos, share: Option<u64>) {
        self.pass(now);
        if let Mode::Precopy { bandwidth, .. } = &mut self.config.mode
            && *bandwidth != share
        {
            *bandwidth = share;
            self.pace.speed = None;
            self.pace.least = None;
        }
    }

    /// The guest memory written within each time back from now, by the epoch of each block's last known write: that is as much
    /// as the guest will write in the same time to come, if it goes on like this. Whole blocks count, as they are what is sent.
    #[must_use]
    pub fn working_set(&self) -> WorkingSet {
        let mut began = self.pace.epochs.iter().rev().copied();
        let Some(until) = began.next() else { return WorkingSet::new([]) };
        let mut newest = vec![0_u64; began.len()];
        let mut resident = 0;
        for index in 0..self.blocks.count() {
            let pages = self.blocks.pages(self.blocks.id(index));
            let bytes = bytes_of(&pages);
            resident += if self.evidence.is_unpopulated(pages.clone()) { 0 } else { bytes };
            if let Some(age) = self.age_in_epochs(pages)
                && let Some(sum) = newest.get_mut(age as usize)
            {
                *sum += bytes;
            }
        }
        let mut bytes = 0;
        let points = began.zip(newest).map(|(began, more)| {
            bytes += more;
            (until.since(began), bytes)
        });
        WorkingSet::new(points).capped(resident)
    }

    /// How many closed epochs ago a page of the range was certainly written last; 0 is the last one.
    fn age_in_epochs(&self, pages: Range<u64>) -> Option<u32> {
        let known = pages.map(Gfn).filter(|&gfn| !self.evidence.is_presumed_written(gfn));
        let last = known.filter_map(|gfn| self.evidence.written(gfn)).max()?;
        self.evidence.closed_epoch().0.checked_sub(last.0)
    }
}
