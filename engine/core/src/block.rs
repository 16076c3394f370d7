//! Blocks: the units in which memory is judged and sent.

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::{Gfn, MemSlots, PAGE_SIZE};

/// A block, as the engine names it in actions. Numbers count through all slots in frame order.
///
/// They are good for one table of slots only: the generation tells an answer that comes after the table changed from one
/// that still means the same pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// How often the slots had changed when the block was named.
    pub generation: u32,
    /// Number of the block.
    pub index: u32,
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.generation == 0 { write!(f, "{}", self.index) } else { write!(f, "{}/{}", self.generation, self.index) }
    }
}

/// A 128-bit hash of a block's bytes. The engine takes equal fingerprints for equal bytes, so live drivers must use a
/// collision-resistant hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub u128);

/// What the driver found when it read a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSummary {
    /// True if every byte is zero.
    pub zero: bool,
    /// Hash of the bytes that would be sent; `None` if it was not computed.
    pub fingerprint: Option<Fingerprint>,
    /// Bytes of guest memory.
    pub raw_len: u64,
    /// Bytes on the wire in the best encoding, with header.
    pub wire_len: u64,
}

/// Why the blocks of a guest cannot be numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryError {
    /// The block size is not a power of two of at least one page.
    BlockSize(u64),
    /// The highest frame lies beyond what the per-page tables hold.
    TooManyFrames(u64),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockSize(bytes) => write!(f, "block size {bytes} is not a power of two of at least {PAGE_SIZE}"),
            Self::TooManyFrames(end) => {
                write!(f, "guest memory reaches frame {end:#x}; the tables hold at most {:#x} frames", Blocks::MAX_FRAMES)
            }
        }
    }
}

impl core::error::Error for GeometryError {}

/// How guest memory is cut into blocks. A block never spans two slots; the last one of a slot may be short.
#[derive(Clone, Debug)]
pub struct Blocks {
    spans: Vec<Span>,
    shift: u32,
    count: u32,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
    pages: (u64, u64),
}

impl Blocks {
    /// Frames that per-page tables hold at most: 1 TiB of guest physical addresses, holes included. It bounds memory
    /// against a slot table that names one far-away frame.
    pub const MAX_FRAMES: u64 = 1 << 28;

    /// Cuts the slots into blocks of `block_size` bytes.
    ///
    /// # Errors
    /// See [`GeometryError`].
    pub fn new(slots: &MemSlots, block_size: u64, generation: u32) -> Result<Self, GeometryError> {
        if !block_size.is_power_of_two() || block_size < PAGE_SIZE {
            return Err(GeometryError::BlockSize(block_size));
        }
        if slots.frame_end() > Self::MAX_FRAMES {
            return Err(GeometryError::TooManyFrames(slots.frame_end()));
        }
        let shift = (block_size / PAGE_SIZE).trailing_zeros();
        let mut count = 0;
        let mut spans = Vec::with_capacity(slots.iter().len());
        for slot in slots.iter() {
            spans.push(Span { first: count, pages: (slot.base.0, slot.end().0) });
            count += slot.pages.div_ceil(1 << shift) as u32;
        }
        Ok(Self { spans, shift, count, generation })
    }

    /// Number of blocks.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes in a block that is not short.
    #[must_use]
    pub fn block_size(&self) -> u64 {
        PAGE_SIZE << self.shift
    }

    /// How often the slots changed before this table was made.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Gives all blocks new names, so that answers to the old ones are not taken for answers to the new.
    pub(crate) fn rename(&mut self) {
        self.generation += 1;
    }

    /// The name of the block with this number.
    #[must_use]
    pub fn id(&self, index: u32) -> BlockId {
        BlockId { generation: self.generation, index }
    }

    /// The frames of a block; empty for a name that this table did not give.
    #[must_use]
    pub fn pages(&self, id: BlockId) -> Range<u64> {
        if id.generation != self.generation || id.index >= self.count {
            return 0..0;
        }
        let at = self.spans.partition_point(|span| span.first <= id.index) - 1;
        let span = self.spans[at];
        let start = span.pages.0 + (u64::from(id.index - span.first) << self.shift);
        start..span.pages.1.min(start + (1 << self.shift))
    }

    /// Number of the slot that a block lies in, counted in the order of frames. The block must be one of this table.
    #[must_use]
    pub fn slot_of(&self, id: BlockId) -> usize {
        self.spans.partition_point(|span| span.first <= id.index) - 1
    }

    /// The block that holds a frame.
    #[must_use]
    pub fn block_of(&self, gfn: Gfn) -> Option<BlockId> {
        let after = self.spans.partition_point(|span| span.pages.0 <= gfn.0);
        let span = self.spans[..after].last().filter(|span| gfn.0 < span.pages.1)?;
        Some(self.id(span.first + ((gfn.0 - span.pages.0) >> self.shift) as u32))
    }
}

/// Bytes in a range of frames.
#[must_use]
pub fn bytes_of(pages: &Range<u64>) -> u64 {
    (pages.end - pages.start) * PAGE_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backing, Hva, MemSlot};

    fn slots() -> MemSlots {
        let mut slots = MemSlots::new();
        for (base, pages) in [(3, 10), (32, 4)] {
            let hva = Hva(base << 20);
            slots.insert(MemSlot { base: Gfn(base), pages, hva, backing: Backing::Shared, numa_node: None }).unwrap();
        }
        slots
    }

    #[test]
    fn blocks_cover_every_page_of_every_slot_once_and_span_none() {
        for shift in 0..6 {
            let blocks = Blocks::new(&slots(), PAGE_SIZE << shift, 7).unwrap();
            let covered: Vec<u64> = (0..blocks.count()).flat_map(|index| blocks.pages(blocks.id(index))).collect();
            assert_eq!(covered, (3..13).chain(32..36).collect::<Vec<_>>());
            for gfn in covered {
                assert!(blocks.pages(blocks.block_of(Gfn(gfn)).unwrap()).contains(&gfn));
            }
            assert_eq!(blocks.block_of(Gfn(13)), None);
            assert_eq!(blocks.block_of(Gfn(2)), None);
            assert!(blocks.pages(BlockId { generation: 6, index: 0 }).is_empty(), "a name of an older table");
        }
        assert_eq!(Blocks::new(&slots(), PAGE_SIZE * 4, 0).unwrap().count(), 3 + 1);
    }

    #[test]
    fn impossible_geometries_are_refused() {
        for size in [0, 1, 2048, 12288, 65537] {
            assert_eq!(Blocks::new(&slots(), size, 0).unwrap_err(), GeometryError::BlockSize(size));
        }
        let mut far = MemSlots::new();
        far.insert(MemSlot { base: Gfn(1 << 39), pages: 1, hva: Hva(0), backing: Backing::Shared, numa_node: None }).unwrap();
        assert_eq!(Blocks::new(&far, 65536, 0).unwrap_err(), GeometryError::TooManyFrames((1 << 39) + 1));
    }
}
