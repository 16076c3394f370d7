//! Guests whose memory is kept by rust-vmm's `vm-memory`, with its dirty bitmaps.
//!
//! Those bitmaps know what the virtual machine monitor writes through `vm-memory`: devices, loaders. What virtual CPUs write is in the
//! hypervisor's log (for KVM `KVM_GET_DIRTY_LOG`). [`BitmapLog`] joins both.
//!
//! A device marks a page *after* it has written it, so an epoch may be closed in between. The mark then belongs to the epoch after,
//! and the page is sent once more. That is sound as long as no device is at work while the guest is paused: `pause` of the
//! [`PausableGuest`](pagesieve_core::ports::PausableGuest) has to see to it.

use std::convert::Infallible;
use std::ops::Range;

use pagesieve_core::ports::{ClosedEpoch, DirtyLog, GuestMemory};
use pagesieve_core::{Backing, Coverage, Epoch, Gfn, Hva, MemSlot, MemSlots, PAGE_SHIFT, PAGE_SIZE, PageBitmap, SlotError};
use vm_memory::bitmap::AtomicBitmap;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress,
};

/// Memory with a dirty bitmap for each region.
pub type Memory = GuestMemoryMmap<AtomicBitmap>;

/// The regions as slots, each with its address in this process.
///
/// # Errors
/// A region is not whole pages, or its memory cannot be addressed.
pub fn slots(memory: &Memory) -> Result<MemSlots, SlotError> {
    let mut slots = MemSlots::new();
    for region in memory.iter() {
        let hva = region.get_host_address(MemoryRegionAddress(0)).map_err(|_| SlotError::Address)?;
        let (start, len) = (region.start_addr().0, region.len());
        if !start.is_multiple_of(PAGE_SIZE) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(SlotError::Extent);
        }
        let base = Gfn(start >> PAGE_SHIFT);
        let slot = MemSlot { base, pages: len >> PAGE_SHIFT, hva: Hva(hva as u64), backing: Backing::Shared, numa_node: None };
        slots.insert(slot)?;
    }
    Ok(slots)
}

/// Reads guest memory for the driver.
#[derive(Clone, Copy, Debug)]
pub struct VmMemory<'a>(pub &'a Memory);

impl GuestMemory for VmMemory<'_> {
    type Error = GuestMemoryError;

    fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> Result<(), GuestMemoryError> {
        self.0.read_slice(into, GuestAddress(pages.start << PAGE_SHIFT))
    }
}

/// Where nobody but the virtual machine monitor writes: the log of virtual CPUs that do not exist.
#[derive(Clone, Copy, Debug)]
pub struct NoCpus;

impl DirtyLog for NoCpus {
    type Error = Infallible;

    fn close(&mut self, _: Epoch) -> Result<ClosedEpoch, Infallible> {
        Ok(ClosedEpoch { log: PageBitmap::default(), coverage: Coverage::Complete, populated: None, slots: None })
    }
}

/// The bitmaps of the regions, together with the log of the virtual CPUs.
#[derive(Clone, Debug)]
pub struct BitmapLog<'a, L> {
    /// The memory.
    pub memory: &'a Memory,
    /// The hypervisor's log.
    pub cpus: L,
}

impl<L: DirtyLog> DirtyLog for BitmapLog<'_, L> {
    type Error = L::Error;

    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, L::Error> {
        let mut closed = self.cpus.close(epoch)?;
        for region in self.memory.iter() {
            closed.log.union_with(&take(region));
        }
        Ok(closed)
    }
}

/// The pages of a region that are marked, whose marks are taken away.
fn take(region: &GuestRegionMmap<AtomicBitmap>) -> PageBitmap {
    let (base, pages) = (region.start_addr().0 >> PAGE_SHIFT, region.len() >> PAGE_SHIFT);
    let bitmap = (**region).bitmap();
    // A bit stands for a page of the host, which may be larger than one of the guest.
    let shift = pages.div_ceil(bitmap.len().max(1) as u64).max(1).next_power_of_two().trailing_zeros();
    let mut marked = PageBitmap::new(base + pages);
    for (index, mut word) in (0..).step_by(64).zip(bitmap.get_and_reset()) {
        while word != 0 {
            let first: u64 = (index + u64::from(word.trailing_zeros())) << shift;
            marked.insert_range(base + first..base + pages.min(first + (1 << shift)));
            word &= word - 1;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = PAGE_SIZE;

    fn memory() -> Memory {
        let ranges = [(GuestAddress(0), 70 * PAGE as usize), (GuestAddress(1 << 20), 3 * PAGE as usize)];
        Memory::from_ranges(&ranges).unwrap()
    }

    fn pages(set: &PageBitmap) -> Vec<u64> {
        set.iter().map(|gfn| gfn.0).collect()
    }

    #[test]
    fn regions_are_slots() {
        let memory = memory();
        let slots = slots(&memory).unwrap();
        assert_eq!(slots.iter().map(|slot| (slot.base.0, slot.pages)).collect::<Vec<_>>(), [(0, 70), (256, 3)]);
        let hva = memory.get_host_address(GuestAddress((1 << 20) + PAGE)).unwrap() as u64;
        assert_eq!(slots.gfn_of(Hva(hva)), Some(Gfn(257)));
        let odd = Memory::from_ranges(&[(GuestAddress(0), 5000)]).unwrap();
        assert_eq!(super::slots(&odd), Err(SlotError::Extent));
    }

    #[test]
    fn a_write_is_in_one_log() {
        let memory = memory();
        let mut log = BitmapLog { memory: &memory, cpus: NoCpus };
        // The second write ends in the next page.
        memory.write_obj(1_u8, GuestAddress(69 * PAGE)).unwrap();
        memory.write_slice(&[1; 8], GuestAddress((1 << 20) + PAGE - 4)).unwrap();
        let closed = log.close(Epoch(1)).unwrap();
        assert_eq!((pages(&closed.log), closed.coverage), (vec![69, 256, 257], Coverage::Complete));
        assert!(log.close(Epoch(2)).unwrap().log.is_empty(), "reading clears it");
    }

    #[test]
    fn the_cpus_log_counts_as_well() {
        struct Cpus;
        impl DirtyLog for Cpus {
            type Error = &'static str;
            fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, &'static str> {
                let mut closed = ClosedEpoch::unproven();
                closed.log = PageBitmap::new(8);
                closed.log.insert(Gfn(5));
                if epoch == Epoch(1) { Ok(closed) } else { Err("gone") }
            }
        }
        let memory = memory();
        memory.write_obj(1_u8, GuestAddress(0)).unwrap();
        let mut log = BitmapLog { memory: &memory, cpus: Cpus };
        let closed = log.close(Epoch(1)).unwrap();
        assert_eq!((pages(&closed.log), closed.coverage), (vec![0, 5], Coverage::Partial));
        assert_eq!(log.close(Epoch(2)).unwrap_err(), "gone");
    }

    #[test]
    fn memory_is_read_by_frame() {
        let memory = memory();
        memory.write_slice(&[7; 3], GuestAddress((1 << 20) + PAGE)).unwrap();
        let mut into = vec![1; 2 * PAGE as usize];
        VmMemory(&memory).read(256..258, &mut into).unwrap();
        assert!(into[..PAGE as usize].iter().all(|&byte| byte == 0) && into[PAGE as usize..][..4] == [7, 7, 7, 0]);
        assert!(VmMemory(&memory).read(69..71, &mut into).is_err(), "beyond the region");
    }
}
