//! Layout shared by the kernel program and user space. Every type here crosses the boundary as plain bytes of the host.
#![no_std]
#![forbid(unsafe_code)]

mod page_word;

pub use page_word::{AGED_OUT, BY_KERNEL, DIRTY, PageWord, SEEN, TIME_UNIT_SHIFT};

/// Slots that the kernel's table holds.
pub const MAX_SLOTS: u32 = 128;

/// One access, 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessEvent {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// Guest frame number.
    pub gfn: u64,
    /// Thread that took the fault.
    pub tid: u32,
    /// CPU that took it.
    pub cpu: u16,
    /// [`READ`], [`WRITE`] or [`EXEC`].
    pub kind: u8,
    /// [`USER`], [`KERNEL`] or [`GUP`].
    pub origin: u8,
}

/// [`AccessEvent::kind`]: a load.
pub const READ: u8 = 0;
/// [`AccessEvent::kind`]: a store.
pub const WRITE: u8 = 1;
/// [`AccessEvent::kind`]: an instruction fetch.
pub const EXEC: u8 = 2;

/// [`AccessEvent::origin`]: user mode of the target.
pub const USER: u8 = 0;
/// [`AccessEvent::origin`]: kernel mode on behalf of the target.
pub const KERNEL: u8 = 1;
/// [`AccessEvent::origin`]: the kernel took the page itself.
pub const GUP: u8 = 2;

/// Something that changes memory or its sharers without a page fault, 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlEvent {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// First byte: an address, or an offset in a file for [`FALLOCATE`].
    pub start: u64,
    /// Length in bytes.
    pub length: u64,
    /// Thread that made the call.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// What happened: one of the constants below.
    pub op: u16,
    /// 1 if a system call returned, 0 if it began.
    pub returned: u16,
    /// For [`FALLOCATE`] the descriptor, for [`FORK`] the child, otherwise 0.
    pub argument: u32,
}

/// [`ControlEvent::op`]: `madvise` with an advice that discards.
pub const MADVISE: u16 = 1;
/// [`ControlEvent::op`]: `fallocate` with a mode that discards or moves data.
pub const FALLOCATE: u16 = 2;
/// [`ControlEvent::op`]: `munmap`.
pub const MUNMAP: u16 = 3;
/// [`ControlEvent::op`]: `mremap`, an event for the old range and, with `MREMAP_FIXED`, one for the new.
pub const MREMAP: u16 = 4;
/// [`ControlEvent::op`]: `mmap` with `MAP_FIXED`.
pub const MMAP_FIXED: u16 = 5;
/// [`ControlEvent::op`]: a child process with memory of its own.
pub const FORK: u16 = 6;
/// [`ControlEvent::op`]: the target or a child of it became another program.
pub const EXECUTED: u16 = 7;
/// [`ControlEvent::op`]: the target or a child of it ended.
pub const EXITED: u16 = 8;

/// A range of addresses of the target and its first frame. The kernel's table is sorted by `start`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Frame of the first page.
    pub base: u64,
}

/// What a CPU counted since the program was loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Access events put into the ring.
    pub events: u64,
    /// Access events lost because the ring was full.
    pub lost: u64,
    /// Accesses of the target outside every slot.
    pub outside: u64,
    /// Accesses to frames that the page table does not reach.
    pub beyond_table: u64,
    /// Control events lost because their ring was full.
    pub control_lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_documented() {
        assert_eq!(size_of::<AccessEvent>(), 24);
        assert_eq!(size_of::<ControlEvent>(), 40);
        assert_eq!(size_of::<Slot>(), 24);
        assert_eq!(size_of::<Counters>(), 40);
    }
}
