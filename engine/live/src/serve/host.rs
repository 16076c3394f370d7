//! What a destination needs from whoever runs guests, such as a QEMU that waits for one.

use std::io;
use std::ops::Range;

use pagesieve_core::PageBitmap;

use crate::wire::Slot;

/// The new home of one guest: memory that is written from outside while nothing runs in it, and someone who starts the guest.
pub trait GuestHost: Send {
    /// Sees that the guest fits: its memory lies at these frames, in rising order.
    ///
    /// # Errors
    /// What does not fit, and what to do.
    fn check(&mut self, slots: &[Slot]) -> Result<(), String>;

    /// The frames that hold data; all others read as zero.
    fn populated(&mut self) -> PageBitmap;

    /// Copies frames to `into`, which is exactly as long.
    ///
    /// # Errors
    /// The frames cannot be read.
    fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()>;

    /// Makes frames hold `bytes`, which is exactly as long.
    ///
    /// # Errors
    /// What they hold is unknown then.
    fn write(&mut self, frames: Range<u64>, bytes: &[u8]) -> io::Result<()>;

    /// Makes frames zero.
    ///
    /// # Errors
    /// What they hold is unknown then.
    fn zero(&mut self, frames: Range<u64>) -> io::Result<()>;

    /// Gives the guest its devices. Its memory is complete; it stays stopped.
    ///
    /// # Errors
    /// Why it cannot; the guest then goes on at the source.
    fn load(&mut self, device_state: &[u8]) -> Result<(), String>;

    /// Lets the guest run.
    ///
    /// # Errors
    /// See [`ResumeError`]. The difference matters: the source lets the guest go on only if it certainly does not run here.
    fn resume(&mut self) -> Result<(), ResumeError>;
}

/// Why a guest was not started, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResumeError {
    /// It certainly does not run here.
    Refused(String),
    /// It may run.
    Unknown(String),
}

/// Finds the home of a guest by its name.
pub type Hosts = dyn Fn(&str) -> Result<Box<dyn GuestHost>, String> + Send + Sync;
