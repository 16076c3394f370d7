//! The ways in which a kernel tells what was written, a file each, behind one face.
//!
//! | way | kernel | the target meanwhile |
//! |---|---|---|
//! | [`pagemap_scan`] | Linux 6.7: asynchronous write protection and `PAGEMAP_SCAN` | may run |
//! | [`soft_dirty`] | `CONFIG_MEM_SOFT_DIRTY`: `clear_refs` and bit 55 of the pagemap | must stand still |
//!
//! An epoch is closed by [`WriteLog::take`] for every part that is tracked, then [`WriteLog::add`] for new memory, then
//! [`WriteLog::arm`] once. From there on every write shows in the next `take`.

mod pagemap_scan;

use std::io;
use std::ops::Range;

use pagesieve_core::Hva;

use crate::error::RecordError;
use crate::ptrace::Stopped;
use crate::target::Target;

/// Pages that share their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: Hva,
    pub(crate) end: Hva,
    /// May hold other bytes than zeros: mapped or swapped out, and not the shared page of zeros. Where the machine has swap
    /// space, pages that were armed and never touched may count as well.
    pub(crate) holds_data: bool,
    /// Mapped now: the next access takes no fault unless it is armed.
    pub(crate) present: bool,
    /// Mapped by a huge entry.
    pub(crate) huge: bool,
}

/// The kernel's record of one process's writes.
pub(crate) trait WriteLog {
    /// How memory is armed, for the header of a trace.
    fn name(&self) -> String;

    /// True if every thread of the target must be stopped from the first `take` until after `arm`.
    fn needs_stop(&self) -> bool;

    /// Calls `found` with every range of pages written since they were armed. They are armed again by the next `arm` at the
    /// latest. Ranges may repeat and come in any order: they are a set.
    ///
    /// # Errors
    /// `EPERM` if a part of the range was not armed (it is to be added again), `ESRCH` if the address space is gone.
    fn take(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()>;

    /// Calls `found` with every range of pages written since they were armed, and leaves them as they are.
    ///
    /// # Errors
    /// As for `take`.
    fn peek(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()>;

    /// Begins to track a range. What cannot be tracked is refused by the next `take`.
    fn add(&mut self, range: Range<u64>);

    /// Arms all that was taken or added.
    ///
    /// # Errors
    /// `ESRCH` if the target is gone, or the kernel's own.
    fn arm(&mut self) -> io::Result<()>;

    /// Calls `found` with the state of all mapped or swapped pages of a range.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone.
    fn mapped(&mut self, range: Range<u64>, found: &mut dyn FnMut(Extent)) -> io::Result<()>;

    /// Goes over to the address space that the target has now. Nothing is tracked in it yet.
    ///
    /// # Errors
    /// Why it cannot be tracked.
    fn follow(&mut self, stopped: Option<&mut Stopped>) -> Result<(), RecordError>;
}

/// The best way that this kernel has, for a target that was started or found. Nothing is tracked yet.
pub(crate) fn open(target: &Target) -> Result<Box<dyn WriteLog>, RecordError> {
    Ok(Box::new(pagemap_scan::WriteProtection::open(target)?))
}

/// True unless it is certain that nothing can be swapped out. The first line of `/proc/swaps` is a heading.
pub(crate) fn has_swap_space() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}
