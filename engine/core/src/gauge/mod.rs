//! What a watched guest does, epoch by epoch: how much it writes and where, what a repeated sync would skip, and how a migration
//! would go.
//!
//! Nothing is read and nothing is sent. Two engines hear of every epoch: one plays a sync whose destination takes everything at
//! once, the other waits for a migration that never begins. So every figure here comes from the code that would decide.

mod heat;
mod imagined;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

pub use heat::{HEAT_EPOCHS, HotRange};

use crate::block::GeometryError;
use crate::forecast::{Forecast, Link, Share};
use crate::migration::{Baseline, Config, ConfigError, Migration, Mode, Purpose};
use crate::policy::PolicyKind;
use crate::ports::ClosedEpoch;
use crate::summary::BlockCounts;
use crate::{Coverage, Epoch, MemSlots, Nanos, PAGE_SIZE, PageBitmap};
use heat::Heat;
use imagined::ImaginedSync;

/// Times back from now that a [`Reading`] tells the working set of.
const WINDOWS: [Nanos; 3] = [Nanos::SECOND, Nanos(10 * Nanos::SECOND.0), Nanos(60 * Nanos::SECOND.0)];

/// Epochs over which a working set can be told: as many as the engine remembers the start of.
const REMEMBERED: usize = 255;

/// How to look at a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeConfig {
    /// Policy of the sync that is played.
    pub policy: PolicyKind,
    /// Bytes in a block: a power of two of at least one page.
    pub block_size: u64,
    /// The epoch that is open. Memory must have been armed when it began; at least 1.
    pub first_epoch: Epoch,
}

/// A guest under watch.
#[derive(Debug)]
pub struct Gauge {
    sync: ImaginedSync,
    /// A migration that never begins.
    migration: Migration,
    heat: Heat,
    resident: u64,
    seen: u64,
    lost: u64,
    /// When the epoch that is open began.
    began: Nanos,
    /// Lengths of the last epochs.
    spans: VecDeque<Nanos>,
}

/// What one epoch showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The epoch.
    pub epoch: Epoch,
    /// How long it was, in nanoseconds.
    pub span: Nanos,
    /// False if its dirty log proves nothing: any page may have been written.
    pub complete: bool,
    /// Pages of the guest that are in its dirty log.
    pub dirty_pages: u64,
    /// Pages that hold data.
    pub resident_pages: u64,
    /// Pages of all slots.
    pub pages: u64,
    /// Access events.
    pub events: u64,
    /// Access events that were dropped.
    pub lost: u64,
    /// Distinct memory written within the time back from now, for several times.
    pub working_set: Vec<Written>,
    /// What a sync at the end of this epoch would have done with each block, without a look at any content: at least so many are
    /// skipped.
    pub sync: BlockCounts,
}

/// How much was written in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The time, in nanoseconds.
    pub window: Nanos,
    /// Distinct bytes; whole blocks count.
    pub bytes: u64,
}

impl Reading {
    /// Bytes per second that are found dirty, rounded down. A page counts once in an epoch, so shorter epochs show a higher rate.
    #[must_use]
    pub fn dirty_rate(&self) -> u64 {
        per_second(self.dirty_pages.saturating_mul(PAGE_SIZE), self.span)
    }

    /// Access events per second, rounded down.
    #[must_use]
    pub fn event_rate(&self) -> u64 {
        per_second(self.events, self.span)
    }
}

impl Gauge {
    /// A guest whose memory is armed since time 0, and the pages that held data then.
    ///
    /// # Errors
    /// As for [`Migration::new`].
    pub fn new(config: GaugeConfig, slots: &MemSlots, populated: &PageBitmap) -> Result<Self, ConfigError> {
        let mode = Mode::Precopy { bandwidth: None, downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: Mode::MAX_ROUNDS };
        let waiting = Config {
            start: Nanos(u64::MAX),
            block_size: config.block_size,
            first_epoch: config.first_epoch,
            ..Config::new(Purpose::Live, config.policy, mode)
        };
        let mut migration = Migration::new(waiting, slots.clone(), Baseline::Empty)?;
        migration.handle_populated(Nanos(0), before(config.first_epoch), populated);
        Ok(Self {
            sync: ImaginedSync::new(config, slots, populated)?,
            heat: Heat::new(slots, config.block_size)?,
            migration,
            resident: within(slots, populated),
            seen: 0,
            lost: 0,
            began: Nanos(0),
            spans: VecDeque::new(),
        })
    }

    /// Access events came in, and so many were lost.
    pub fn handle_events(&mut self, seen: u64, lost: u64) {
        self.seen = self.seen.saturating_add(seen);
        self.lost = self.lost.saturating_add(lost);
    }

    /// The open epoch ended now.
    ///
    /// # Errors
    /// Its slots reach beyond what can be tracked. The guest cannot be watched any more then.
    pub fn handle_epoch(&mut self, now: Nanos, closed: &ClosedEpoch) -> Result<Reading, GeometryError> {
        let epoch = self.migration.open_epoch();
        if let Some(slots) = &closed.slots {
            self.migration.handle_slots(now, slots)?;
            self.heat.set_slots(slots)?;
        }
        if let Some(populated) = &closed.populated {
            self.migration.handle_populated(now, epoch, populated);
            self.resident = within(self.migration.slots(), populated);
        }
        self.migration.handle_dirty_log(now, epoch, &closed.log, closed.coverage);
        self.heat.handle_log(&closed.log);
        let span = now.since(core::mem::replace(&mut self.began, now));
        if self.spans.len() == REMEMBERED {
            self.spans.pop_front();
        }
        self.spans.push_back(span);
        Ok(Reading {
            epoch,
            span,
            complete: closed.coverage == Coverage::Complete,
            dirty_pages: within(self.migration.slots(), &closed.log),
            resident_pages: self.resident,
            pages: self.migration.slots().pages(),
            events: core::mem::take(&mut self.seen),
            lost: core::mem::take(&mut self.lost),
            working_set: self.working_set(),
            sync: self.sync.handle_epoch(now, epoch, closed)?,
        })
    }

    /// What was written within each of some times, as far back as the guest was watched.
    fn working_set(&self) -> Vec<Written> {
        let watched = self.spans.iter().fold(Nanos(0), |sum, span| sum.after(*span));
        let set = self.migration.working_set();
        let mut windows: Vec<_> = WINDOWS.into_iter().filter(|window| *window <= watched).collect();
        if windows.is_empty() {
            windows.push(watched);
        }
        windows.into_iter().map(|window| Written { window, bytes: set.bytes_within(window) }).collect()
    }

    /// How a migration over this link would go if it began now, to a destination that holds nothing.
    #[must_use]
    pub fn foretell(&self, link: &Link) -> Forecast {
        self.migration.foretell(link)
    }

    /// Frames of up to `count` blocks that hold data, from all over memory: encode them for [`Gauge::expect_share`].
    #[must_use]
    pub fn sample(&self, count: u32) -> Vec<Range<u64>> {
        self.migration.sample(count).into_iter().map(|block| self.migration.blocks().pages(block)).collect()
    }

    /// What a byte of guest memory will cost on the wire, as a sample of blocks says.
    pub fn expect_share(&mut self, share: Share) {
        self.migration.expect_share(share);
    }

    /// The memory slots.
    #[must_use]
    pub fn slots(&self) -> &MemSlots {
        self.migration.slots()
    }

    /// The ranges of memory that were written in the last [`HEAT_EPOCHS`] epochs, in the order of their addresses. Neighbours that
    /// were written about equally often are one range.
    #[must_use]
    pub fn hot_ranges(&self) -> Vec<HotRange> {
        self.heat.ranges()
    }

    /// How often each part of memory was written in the last [`HEAT_EPOCHS`] epochs, in thousandths: all slots in the order of
    /// their addresses, cut into `cells` equal parts, or fewer if there are not as many blocks.
    #[must_use]
    pub fn heat(&self, cells: usize) -> Vec<u16> {
        self.heat.strip(cells)
    }
}

/// The epoch before.
fn before(epoch: Epoch) -> Epoch {
    Epoch(epoch.0.saturating_sub(1))
}

/// Members of a set that lie in a slot.
fn within(slots: &MemSlots, pages: &PageBitmap) -> u64 {
    slots.iter().map(|slot| pages.count_range(slot.base.0..slot.end().0)).sum()
}

/// So many per second, rounded down; 0 if no time went by.
fn per_second(count: u64, time: Nanos) -> u64 {
    let nanos = u128::from(count) * u128::from(Nanos::SECOND.0);
    nanos.checked_div(u128::from(time.0)).map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}
