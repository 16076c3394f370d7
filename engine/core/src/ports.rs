//! What an engine needs from the world, as small traits. `pagesieve-recorder` implements them for processes and for QEMU;
//! another VMM can implement them for itself.

use core::ops::Range;

use crate::evidence::Coverage;
use crate::{Access, Epoch, MemSlots, PageBitmap};

/// A stream of page accesses, such as the ring of the kernel program.
pub trait AccessSource {
    /// Why the stream cannot be read.
    type Error;

    /// Hands over the accesses since the last call, in the order of their time as far as it is known, without waiting for
    /// more. Returns how many were lost since then.
    ///
    /// # Errors
    /// After an error the caller treats the accesses since the last call as lost.
    fn drain(&mut self, each: &mut dyn FnMut(Access)) -> Result<u64, Self::Error>;
}

/// The dirty log of a guest's memory, such as `PAGEMAP_SCAN` over write-protected memory, or KVM's bitmap.
pub trait DirtyLog {
    /// Why the log cannot be read.
    type Error;

    /// Closes the epoch: reads the log and, in the same step, begins to track the next epoch.
    ///
    /// # Errors
    /// Reading the log clears it, so after an error nothing about the epoch is proven: the caller must count every page as
    /// written in it, which is what [`ClosedEpoch::unproven`] says.
    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, Self::Error>;
}

/// What a closed epoch tells.
#[derive(Clone, Debug)]
pub struct ClosedEpoch {
    /// Everything that the epoch cannot prove clean.
    pub log: PageBitmap,
    /// Whether pages outside the log are proven clean.
    pub coverage: Coverage,
    /// Pages that hold data; the others are proven to read as zero. `None` if it was not looked up.
    pub populated: Option<PageBitmap>,
    /// The slots, if they changed.
    pub slots: Option<MemSlots>,
}

impl ClosedEpoch {
    /// An epoch about which nothing is known.
    #[must_use]
    pub fn unproven() -> Self {
        Self { log: PageBitmap::default(), coverage: Coverage::Partial, populated: None, slots: None }
    }
}

/// The bytes of a guest's memory.
pub trait GuestMemory {
    /// Why memory cannot be read.
    type Error;

    /// Copies frames of one slot to `into`, which is exactly as long. A page without data reads as zero and must not be
    /// populated by reading it. The guest may be running: each byte is then one that the page held during the call.
    ///
    /// # Errors
    /// `into` is unspecified then.
    fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> Result<(), Self::Error>;
}

/// A guest that can be stopped for the handover.
pub trait PausableGuest {
    /// Why the guest does not obey.
    type Error;

    /// Stops the guest, and direct I/O on its behalf. When this returns, its memory changes no more.
    ///
    /// # Errors
    /// The guest must then be taken as running.
    fn pause(&mut self) -> Result<(), Self::Error>;

    /// Lets it go on at the source, after a migration that failed.
    ///
    /// # Errors
    /// The guest must then be taken as stopped: the operator has to look after it.
    fn resume(&mut self) -> Result<(), Self::Error>;

    /// Lets it have this much less of its time, in percent; 0 is full speed. A guest that cannot be slowed down does nothing.
    ///
    /// # Errors
    /// It goes on as it was.
    fn throttle(&mut self, percent: u8) -> Result<(), Self::Error> {
        let _ = percent;
        Ok(())
    }
}
