//! A sync that is only played: what would the engine skip?

use super::{GaugeConfig, before};
use crate::block::{BlockSummary, GeometryError, bytes_of};
use crate::migration::{Action, Baseline, Config, ConfigError, Migration, Mode, Purpose};
use crate::ports::ClosedEpoch;
use crate::summary::BlockCounts;
use crate::{Epoch, MemSlots, Nanos, PageBitmap};

/// An engine whose destination starts equal, is synced at the end of each epoch, and takes everything at once.
///
/// No byte is looked at, so a block that was written with what it held before counts as sent. A real sync skips no less.
#[derive(Debug)]
pub(super) struct ImaginedSync {
    engine: Migration,
    /// Verdicts up to the last round.
    told: BlockCounts,
}

impl ImaginedSync {
    pub(super) fn new(config: GaugeConfig, slots: &MemSlots, populated: &PageBitmap) -> Result<Self, ConfigError> {
        // Whenever time has passed, a round is due.
        let mode = Mode::Sync { interval: Nanos(1) };
        let engine = Config {
            block_size: config.block_size,
            first_epoch: config.first_epoch,
            ..Config::new(Purpose::Live, config.policy, mode)
        };
        let as_of = before(config.first_epoch);
        let mut engine = Migration::new(engine, slots.clone(), Baseline::Equal { as_of })?;
        engine.handle_populated(Nanos(0), as_of, populated);
        Ok(Self { engine, told: BlockCounts::default() })
    }

    /// An epoch ended: plays the round that follows, and returns its verdicts.
    pub(super) fn handle_epoch(&mut self, now: Nanos, epoch: Epoch, closed: &ClosedEpoch) -> Result<BlockCounts, GeometryError> {
        // The engine asks for the log.
        self.engine.handle_timeout(now);
        self.play(now);
        if let Some(slots) = &closed.slots {
            self.engine.handle_slots(now, slots)?;
        }
        if let Some(populated) = &closed.populated {
            self.engine.handle_populated(now, epoch, populated);
        }
        self.engine.handle_dirty_log(now, epoch, &closed.log, closed.coverage);
        self.play(now);
        let all = self.engine.verdicts();
        Ok(all.since(&core::mem::replace(&mut self.told, all)))
    }

    fn play(&mut self, now: Nanos) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::ReadBlock(block) => {
                    let raw_len = bytes_of(&self.engine.blocks().pages(block));
                    let data = BlockSummary { zero: false, fingerprint: None, raw_len, wire_len: raw_len };
                    self.engine.handle_block(now, block, data);
                }
                Action::Send { block, .. } | Action::SendZero(block) => {
                    self.engine.handle_sent(now, block, bytes_of(&self.engine.blocks().pages(block)));
                    self.engine.handle_acked(now, block);
                }
                _ => {}
            }
        }
    }
}
