//! The migration itself: which block is read, sent, skipped or deferred, and when the guest is paused.

mod accounts;
mod action;
mod config;
mod convergence;
mod explain;
mod flight;
mod foretold;
mod input;
mod learnt;
mod progress;
mod round;
mod transfer;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

pub use action::{Action, Decision, Encoding, Outcome, Report};
pub use config::{Baseline, Config, ConfigError, Kept, Mode, Purpose, Throttle, Unconverged};
pub use explain::PageView;
pub use progress::Progress;

use crate::block::{Blocks, Fingerprint};
use crate::evidence::Evidence;
use crate::forecast::{Forecast, Share};
use crate::policy::Policy;
use crate::redirty::Redirty;
use crate::tracker::Tracker;
use crate::{Epoch, MemSlots, Nanos};
use accounts::Accounts;
use convergence::Pace;
use flight::{BlockState, Flight};

/// A sync or a precopy migration as a state machine without I/O.
///
/// All input comes through `handle_*`, all output through `poll_*`, and time is passed in. The same calls give the same
/// actions on every machine. A driver is a loop:
///
/// 1. Call [`poll_action`](Self::poll_action) until it gives `None`, and do what it says in that order. [`Action`] names the
///    answer that each action wants. Answers may come at once or later, those of sent blocks in any order.
/// 2. Wait for an answer, an access, or the instant of [`poll_timeout`](Self::poll_timeout), whichever is first, and pass it
///    on: the latter with [`handle_timeout`](Self::handle_timeout).
/// 3. Go to 1.
///
/// What the driver promises:
///
/// - Times do not go backwards (an earlier one is taken as the latest).
/// - A dirty log holds everything its epoch cannot prove clean, or is called partial. Logs may come unasked.
/// - The bytes of a block are read between [`Action::ReadBlock`] and [`handle_block`](Self::handle_block), and those very bytes
///   are sent. A paused guest's memory and slots do not change until [`Action::Resume`].
/// - What is sent of the same pages reaches the destination in the order in which it was sent.
/// - [`handle_acked`](Self::handle_acked) means that the destination has applied the block.
///
/// What it gets: when [`Action::Finish`] says [`Outcome::Completed`], the destination holds the paused guest's memory, for every
/// policy that [`is_sound`](crate::policy::PolicyKind::is_sound). On any other outcome the guest runs at the source, nothing is
/// forgotten, and [`retry`](Self::retry) begins another attempt.
///
/// Accesses only write into arrays: there is no allocation per event. A round judges each block once, by words of bits.
#[derive(Debug)]
pub struct Migration {
    config: Config,
    policy: Box<dyn Policy>,
    slots: MemSlots,
    blocks: Blocks,
    evidence: Evidence,
    tracker: Tracker,
    redirty: Redirty,
    states: Vec<BlockState>,
    /// Fingerprints of the blocks that the destination certainly holds.
    there: Vec<Option<Fingerprint>>,
    /// The order of the blocks in this round, if it is not that of their numbers.
    order: Vec<u32>,
    /// The block size that the policy wants from the next round on.
    block_size: u64,
    /// Fingerprints of the baseline were given, by block.
    baseline_given: bool,
    /// True once a round began: the destination is no longer what it was at the start.
    begun: bool,
    /// A log came while the last round was under way: what was judged before may have been written.
    look_again: bool,
    flight: Flight,
    phase: Phase,
    pace: Pace,
    forecast: Option<Forecast>,
    /// What a byte costs on the wire, before anything was sent.
    expected_share: Share,
    now: Nanos,
    /// True while the guest stands still for the handover.
    paused: Option<Nanos>,
    handover: bool,
    converged: Option<bool>,
    attempts: u32,
    rounds: u32,
    say_throttle: bool,
    accounts: Accounts,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing to do before an instant; then a round, with or without closing the epoch first.
    Waiting { until: Nanos, close: bool },
    /// The dirty log is wanted.
    Closing { asked: bool },
    /// Blocks are judged in order; `next` is the place of the first that was not.
    Round { next: u32, sent: u64, deferred: u64 },
    /// The guest is to be paused.
    Pausing { asked: bool },
    /// What is left to say.
    Ending { outcome: Outcome, resume: bool },
    /// Everything was said.
    Done { failed: bool },
}

/// What a precopy that has not begun waits for.
fn watching(config: &Config, now: Nanos) -> Phase {
    let step = config.watch_interval.filter(|_| now < config.start);
    let until = step.map_or(config.start, |step| now.after(step).min(config.start));
    Phase::Waiting { until, close: step.is_some() }
}

impl Migration {
    /// A migration of the memory in `slots` to a destination that holds `baseline`.
    ///
    /// # Errors
    /// Refuses a block size that is no power of two of at least one page, slots beyond [`Blocks::MAX_FRAMES`], and for
    /// [`Purpose::Live`] a policy that skips without proof.
    pub fn new(config: Config, slots: MemSlots, baseline: Baseline) -> Result<Self, ConfigError> {
        Self::with_policy(config, slots, baseline, config.policy.build())
    }

    /// The same with a policy of one's own; the one that the configuration names is not used.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_policy(
        config: Config,
        slots: MemSlots,
        baseline: Baseline,
        policy: Box<dyn Policy>,
    ) -> Result<Self, ConfigError> {
        if config.purpose == Purpose::Live && !policy.is_sound() {
            return Err(ConfigError::Unsound);
        }
        let blocks = Blocks::new(&slots, config.block_size, 0)?;
        let mut evidence = Evidence::new(&slots, config.first_epoch, baseline == Baseline::Empty);
        // Nobody can know yet what the source will be at the end of a later epoch.
        if let Baseline::Equal { as_of } = baseline
            && as_of <= evidence.open_epoch()
        {
            evidence.set_equal(as_of);
        }
        let phase = match config.mode {
            Mode::Sync { interval } => Phase::Waiting { until: config.start.after(interval), close: true },
            Mode::Precopy { .. } => watching(&config, Nanos(0)),
        };
        Ok(Self {
            redirty: Redirty::new(if policy.wants_redirty() { slots.frame_end() } else { 0 }),
            policy,
            tracker: Tracker::new(slots.frame_end(), config.aging_threshold, config.min_access),
            states: vec![BlockState::default(); blocks.count() as usize],
            there: vec![None; blocks.count() as usize],
            order: Vec::new(),
            block_size: config.block_size,
            baseline_given: false,
            begun: false,
            look_again: false,
            flight: Flight::default(),
            pace: Pace::default(),
            forecast: None,
            expected_share: Share::ONE,
            now: Nanos(0),
            paused: None,
            handover: false,
            converged: None,
            attempts: 1,
            rounds: 0,
            say_throttle: false,
            accounts: Accounts::new(&slots),
            config,
            slots,
            blocks,
            evidence,
            phase,
        })
    }

    /// The next thing to do, or `None` if input is needed first.
    pub fn poll_action(&mut self) -> Option<Action> {
        if core::mem::take(&mut self.say_throttle) {
            return Some(Action::Throttle(self.pace.throttle));
        }
        loop {
            match self.phase {
                Phase::Waiting { until, .. } if self.now < until => return None,
                Phase::Waiting { close: true, .. } => self.phase = Phase::Closing { asked: false },
                Phase::Waiting { close: false, .. } => self.begin_attempt(),
                Phase::Closing { asked: false } => {
                    self.phase = Phase::Closing { asked: true };
                    return Some(Action::CloseEpoch);
                }
                Phase::Pausing { asked: false } => {
                    self.phase = Phase::Pausing { asked: true };
                    return Some(Action::Pause);
                }
                Phase::Closing { asked: true } | Phase::Pausing { asked: true } | Phase::Done { .. } => return None,
                Phase::Round { .. } => {
                    if let Some(action) = self.round_action() {
                        return Some(action);
                    }
                    if !self.end_round() {
                        return None;
                    }
                }
                Phase::Ending { outcome, resume: true } => {
                    self.phase = Phase::Ending { outcome, resume: false };
                    self.paused = None;
                    return Some(Action::Resume);
                }
                Phase::Ending { outcome, resume: false } => {
                    self.phase = Phase::Done { failed: outcome != Outcome::Completed };
                    return Some(Action::Finish(Box::new(self.report(outcome))));
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) if nothing happens before; `None` if only input can help.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Nanos> {
        match self.phase {
            Phase::Waiting { until, .. } => Some(until),
            // While something is on its way, its answer comes first; a retry that is due is an action, not a timeout.
            Phase::Round { .. } => self.flight.retries.front().map(|&(due, _)| due).filter(|&due| due > self.now),
            _ => None,
        }
    }

    /// True once [`Action::Finish`] was given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Done { .. })
    }

    /// Rounds completed.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// The frames behind block names.
    #[must_use]
    pub fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// The memory slots.
    #[must_use]
    pub fn slots(&self) -> &MemSlots {
        &self.slots
    }

    /// What is known about the pages.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// How the pages were used.
    #[must_use]
    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// The page tracker, for the seed's knobs and its marking of aged-out pages.
    pub fn tracker_mut(&mut self) -> &mut Tracker {
        &mut self.tracker
    }

    /// The epoch that the next dirty log must name.
    #[must_use]
    pub fn open_epoch(&self) -> Epoch {
        self.evidence.open_epoch()
    }

    /// What was done so far, as if it ended now with this outcome.
    #[must_use]
    pub fn report(&self, outcome: Outcome) -> Report {
        let total = self.accounts.total();
        Report {
            outcome,
            attempts: self.attempts,
            rounds: self.rounds,
            blocks: total.blocks,
            skipped_unread: self.accounts.skipped_unread,
            bytes_skipped_unread: self.accounts.bytes_skipped_unread,
            bytes_sent: total.bytes_sent,
            bytes_resent: total.bytes_resent,
            bytes_wire: self.accounts.bytes_wire,
            causes: self.accounts.causes,
            times_sent: self.accounts.times_sent.histogram(&self.slots),
            nodes: self.accounts.nodes().to_vec(),
            forecast: self.forecast,
            redirty: self.redirty.score(),
            throttle: self.pace.most_throttle(),
            converged: self.converged,
            paused: self.paused,
            finished: self.now,
            lost_events: self.accounts.lost_events,
            tracker: self.tracker.stats(&self.slots, self.now),
        }
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
