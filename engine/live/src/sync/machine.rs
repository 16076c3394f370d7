//! The memory of a running machine or process as the source of a sync.

use std::cell::RefCell;
use std::ops::Range;

use pagesieve_core::ports::{ClosedEpoch, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Epoch, PageBitmap};

/// Memory that changes while it is copied, as one file: frame `n` lies at byte `n * 4096`, and what is no memory reads as zero.
///
/// All of it was tracked before it is read for the first time.
pub trait Machine {
    /// Begins a pass: returns the length of the file in bytes, which stays until the next one.
    fn begin(&mut self) -> u64;

    /// The frames that held data at the last closing; all others read as zero.
    fn populated(&self) -> PageBitmap;

    /// Closes the epoch that is open; see [`DirtyLog::close`].
    ///
    /// # Errors
    /// Why nothing is known of the epoch; the pass then reads everything again.
    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, String>;

    /// See [`GuestMemory::read`].
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> Result<(), String>;

    /// See [`PausableGuest::pause`].
    ///
    /// # Errors
    /// It runs on.
    fn pause(&mut self) -> Result<(), String>;

    /// See [`PausableGuest::resume`].
    ///
    /// # Errors
    /// It stands still.
    fn resume(&mut self) -> Result<(), String>;

    /// True if accesses are reported by the kernel program.
    fn ebpf_enabled(&self) -> bool;

    /// Why not, or why writes are not tracked at all.
    fn fallback(&self) -> Option<String>;
}

/// One of the hands that a driver has on a machine.
#[derive(Clone, Copy)]
pub(super) struct Hand<'a>(pub(super) &'a RefCell<Box<dyn Machine>>);

impl DirtyLog for Hand<'_> {
    type Error = String;

    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, String> {
        self.0.borrow_mut().close(epoch)
    }
}

impl GuestMemory for Hand<'_> {
    type Error = String;

    fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> Result<(), String> {
        self.0.borrow_mut().read(frames, into)
    }
}

impl PausableGuest for Hand<'_> {
    type Error = String;

    fn pause(&mut self) -> Result<(), String> {
        self.0.borrow_mut().pause()
    }

    fn resume(&mut self) -> Result<(), String> {
        self.0.borrow_mut().resume()
    }
}
