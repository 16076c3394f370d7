//! The table that places host virtual addresses in guest memory.
//!
//! An address is never shifted and compared with a frame number: it goes through this table, and one that lies in no slot is
//! reported as such.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::{Gfn, Hva, PAGE_SHIFT, PAGE_SIZE};

/// What lies behind a slot's memory. It decides which writes the dirty log can miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backing {
    /// Private anonymous memory: only this process can change it.
    Anonymous,
    /// memfd, shmem or `MAP_SHARED | MAP_ANONYMOUS`: holes can be punched and other processes may map it.
    Shared,
}

/// A contiguous range of guest frames, backed by a contiguous range of host memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemSlot {
    /// The first frame.
    pub base: Gfn,
    /// Length in pages.
    pub pages: u64,
    /// Where the first page is mapped in the observed process.
    pub hva: Hva,
    /// What the memory is made of.
    pub backing: Backing,
    /// The guest NUMA node it belongs to, if known.
    pub numa_node: Option<u16>,
}

impl MemSlot {
    /// One past the last frame.
    #[must_use]
    pub fn end(&self) -> Gfn {
        Gfn(self.base.0 + self.pages)
    }

    /// One past the last byte in the observed process.
    #[must_use]
    pub fn hva_end(&self) -> Hva {
        Hva(self.hva.0 + self.pages * PAGE_SIZE)
    }

    /// Where a frame of this slot is mapped. The frame must lie in the slot.
    #[must_use]
    pub fn hva_of(&self, gfn: Gfn) -> Hva {
        Hva(self.hva.0 + ((gfn.0 - self.base.0) << PAGE_SHIFT))
    }
}

/// Why a slot cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// The slot holds no page, or reaches beyond the 2^40 frames that a trace can name.
    Extent,
    /// The host address is not a multiple of the page size, or the mapping wraps around.
    Address,
    /// Its frames overlap those of another slot.
    FramesOverlap,
    /// Its host addresses overlap those of another slot.
    AddressesOverlap,
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlotError::Extent => "a memory slot is empty or too long",
            SlotError::Address => "a memory slot's address is not page-aligned or wraps around",
            SlotError::FramesOverlap => "two memory slots hold the same guest frame",
            SlotError::AddressesOverlap => "two memory slots are mapped at the same address",
        })
    }
}

impl core::error::Error for SlotError {}

/// All slots, ordered by frame. Frames between slots (such as the PCI hole) belong to none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemSlots {
    slots: Vec<MemSlot>,
}

impl MemSlots {
    /// The largest frame number that a slot may reach.
    pub const MAX_FRAMES: u64 = 1 << 40;

    /// A table without slots.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// Adds a slot, in any order.
    ///
    /// # Errors
    /// Refuses an empty, misaligned or overlapping slot and leaves the table as it was.
    pub fn insert(&mut self, slot: MemSlot) -> Result<(), SlotError> {
        if slot.pages == 0 || slot.base.0.checked_add(slot.pages).is_none_or(|end| end > Self::MAX_FRAMES) {
            return Err(SlotError::Extent);
        }
        if !slot.hva.0.is_multiple_of(PAGE_SIZE) || slot.hva.0.checked_add(slot.pages << PAGE_SHIFT).is_none() {
            return Err(SlotError::Address);
        }
        for other in &self.slots {
            if slot.base < other.end() && other.base < slot.end() {
                return Err(SlotError::FramesOverlap);
            }
            if slot.hva < other.hva_end() && other.hva < slot.hva_end() {
                return Err(SlotError::AddressesOverlap);
            }
        }
        let at = self.slots.partition_point(|other| other.base < slot.base);
        self.slots.insert(at, slot);
        Ok(())
    }

    /// A table of these slots, in any order.
    ///
    /// # Errors
    /// As for [`insert`](Self::insert), of the first slot that is refused.
    pub fn from_slots(slots: impl IntoIterator<Item = MemSlot>) -> Result<Self, SlotError> {
        let mut table = Self::new();
        slots.into_iter().try_for_each(|slot| table.insert(slot))?;
        Ok(table)
    }

    /// Removes the slot that starts at `base`, if there is one.
    pub fn remove(&mut self, base: Gfn) -> Option<MemSlot> {
        let at = self.slots.iter().position(|slot| slot.base == base)?;
        Some(self.slots.remove(at))
    }

    /// The slots, ordered by frame.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &MemSlot> {
        self.slots.iter()
    }

    /// True if there is no slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Pages in all slots: the guest's size.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.slots.iter().map(|slot| slot.pages).sum()
    }

    /// One past the highest frame: the length of tables indexed by frame.
    #[must_use]
    pub fn frame_end(&self) -> u64 {
        self.slots.last().map_or(0, |slot| slot.end().0)
    }

    /// The slot that holds a frame. Binary search.
    #[must_use]
    pub fn slot_of(&self, gfn: Gfn) -> Option<&MemSlot> {
        let after = self.slots.partition_point(|slot| slot.base <= gfn);
        self.slots[..after].last().filter(|slot| gfn < slot.end())
    }

    /// The frame mapped at an address, or `None` if the address lies in no slot. Linear: there are few slots.
    #[must_use]
    pub fn gfn_of(&self, hva: Hva) -> Option<Gfn> {
        let slot = self.slots.iter().find(|slot| slot.hva <= hva && hva < slot.hva_end())?;
        Some(Gfn(slot.base.0 + ((hva.0 - slot.hva.0) >> PAGE_SHIFT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(base: u64, pages: u64, hva: u64) -> MemSlot {
        MemSlot { base: Gfn(base), pages, hva: Hva(hva), backing: Backing::Shared, numa_node: None }
    }

    #[test]
    fn an_address_outside_every_slot_is_not_guessed() {
        let mut slots = MemSlots::new();
        slots.insert(slot(0x10_0000, 16, 0x7000_0000)).unwrap();
        slots.insert(slot(0, 16, 0x6000_0000)).unwrap();
        assert_eq!(slots.gfn_of(Hva(0x6000_f123)), Some(Gfn(15)));
        assert_eq!(slots.gfn_of(Hva(0x6001_0000)), None);
        assert_eq!(slots.gfn_of(Hva(0x7000_1000)), Some(Gfn(0x10_0001)));
        assert_eq!(slots.slot_of(Gfn(16)), None, "the hole between two slots belongs to none");
        assert_eq!(slots.pages(), 32);
        assert_eq!(slots.frame_end(), 0x10_0010);
    }

    #[test]
    fn overlaps_and_bad_extents_are_refused() {
        let mut slots = MemSlots::new();
        slots.insert(slot(0, 16, 0x6000_0000)).unwrap();
        assert_eq!(slots.insert(slot(15, 1, 0x7000_0000)), Err(SlotError::FramesOverlap));
        assert_eq!(slots.insert(slot(16, 1, 0x6000_f000)), Err(SlotError::AddressesOverlap));
        assert_eq!(slots.insert(slot(16, 0, 0x7000_0000)), Err(SlotError::Extent));
        assert_eq!(slots.insert(slot(u64::MAX, 2, 0x7000_0000)), Err(SlotError::Extent));
        assert_eq!(slots.insert(slot(16, 1, 0x7000_0001)), Err(SlotError::Address));
        assert_eq!(slots.iter().len(), 1);
    }
}
