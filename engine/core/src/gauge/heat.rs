//! Which parts of memory are written how often.

use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::block::{Blocks, GeometryError};
use crate::{Gfn, MemSlots, PageBitmap};

/// Epochs over which it is counted how often a block was written.
pub const HEAT_EPOCHS: u32 = u64::BITS;

/// Steps of heat that are told apart: blocks of one range were written about equally often.
const LEVELS: u32 = 4;

/// A range of guest memory within one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HotRange {
    /// Number of the slot, counted in the order of addresses.
    pub slot: u32,
    /// The first frame.
    pub start: Gfn,
    /// One past the last frame.
    pub end: Gfn,
    /// Blocks in it.
    pub blocks: u32,
    /// Blocks written, summed over the epochs.
    pub written: u32,
    /// Blocks written in the last epoch.
    pub written_now: u32,
    /// Epochs that were counted.
    pub epochs: u32,
}

impl HotRange {
    /// Pages in it.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Share of epochs in which its blocks were written, on average, in thousandths.
    #[must_use]
    pub fn share(&self) -> u16 {
        thousandths(self.written.into(), u64::from(self.blocks) * u64::from(self.epochs))
    }

    /// Share of its blocks that were written in the last epoch, in thousandths.
    #[must_use]
    pub fn share_now(&self) -> u16 {
        thousandths(self.written_now.into(), self.blocks.into())
    }
}

/// For each block a bit for each of the last epochs, the last one in the lowest bit.
#[derive(Debug)]
pub(super) struct Heat {
    slots: MemSlots,
    blocks: Blocks,
    marks: Vec<u64>,
    epochs: u32,
}

impl Heat {
    pub(super) fn new(slots: &MemSlots, block_size: u64) -> Result<Self, GeometryError> {
        let blocks = Blocks::new(slots, block_size, 0)?;
        Ok(Self { slots: slots.clone(), marks: vec![0; blocks.count() as usize], blocks, epochs: 0 })
    }

    /// Slots came or went. Blocks of those that stayed keep their marks.
    pub(super) fn set_slots(&mut self, slots: &MemSlots) -> Result<(), GeometryError> {
        let blocks = Blocks::new(slots, self.blocks.block_size(), self.blocks.generation() + 1)?;
        let mark = |index: u32| {
            let pages = blocks.pages(blocks.id(index));
            let first = Gfn(pages.start);
            let old = self.blocks.block_of(first).filter(|_| self.slots.slot_of(first) == slots.slot_of(first))?;
            self.marks.get(old.index as usize).copied()
        };
        self.marks = (0..blocks.count()).map(|index| mark(index).unwrap_or(0)).collect();
        (self.slots, self.blocks) = (slots.clone(), blocks);
        Ok(())
    }

    /// An epoch ended.
    pub(super) fn handle_log(&mut self, log: &PageBitmap) {
        self.epochs = (self.epochs + 1).min(HEAT_EPOCHS);
        for (index, mark) in (0..).zip(&mut self.marks) {
            *mark = *mark << 1 | u64::from(log.meets_range(self.blocks.pages(self.blocks.id(index))));
        }
    }

    pub(super) fn ranges(&self) -> Vec<HotRange> {
        let mut ranges: Vec<(u32, HotRange)> = Vec::new();
        for (index, mark) in (0..).zip(&self.marks).filter(|(_, mark)| **mark != 0) {
            let id = self.blocks.id(index);
            let pages = self.blocks.pages(id);
            let slot = self.blocks.slot_of(id) as u32;
            let written = mark.count_ones();
            let level = (written * LEVELS).div_ceil(self.epochs.max(1));
            match ranges.last_mut() {
                Some((last, range)) if *last == level && range.slot == slot && range.end.0 == pages.start => {
                    range.end = Gfn(pages.end);
                    range.blocks += 1;
                    range.written += written;
                    range.written_now += (mark & 1) as u32;
                }
                _ => ranges.push((
                    level,
                    HotRange {
                        slot,
                        start: Gfn(pages.start),
                        end: Gfn(pages.end),
                        blocks: 1,
                        written,
                        written_now: (mark & 1) as u32,
                        epochs: self.epochs,
                    },
                )),
            }
        }
        ranges.into_iter().map(|(_, range)| range).collect()
    }

    pub(super) fn strip(&self, cells: usize) -> Vec<u16> {
        let (count, cells) = (self.marks.len(), cells.min(self.marks.len()));
        let cell = |at: usize| {
            let marks = &self.marks[at * count / cells..(at + 1) * count / cells];
            let written: u64 = marks.iter().map(|mark| u64::from(mark.count_ones())).sum();
            thousandths(written, marks.len() as u64 * u64::from(self.epochs))
        };
        (0..cells).map(cell).collect()
    }
}

/// A share, rounded up so that what happened at all is not 0.
fn thousandths(part: u64, all: u64) -> u16 {
    (part * 1000).div_ceil(all.max(1)).min(1000) as u16
}
