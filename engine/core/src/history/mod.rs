//! What was learnt about a guest's pages, kept across restarts of the observer.
//!
//! Which pages a guest uses, and how often, takes long to learn. A tracker that is restarted can go on where it stopped: it
//! saves its tables, one number or bit per page, and loads them again. This module is the container. What the columns mean
//! belongs to whoever fills them.
//!
//! A saved history is evidence about *use*. It never proves that a page is unchanged: nobody watched the pages between saving
//! and loading. And it is good for the same memory only, so it says whose it is: the boot, the observed target and its memory
//! slots. Any other is refused, see [`LoadError`].

mod cells;
mod error;
pub mod file;

use alloc::string::String;
use alloc::vec::Vec;

use crate::{MemSlots, Nanos, PageBitmap};

pub use error::LoadError;

/// Whose history it is, and when it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kernel's random number of this boot (`/proc/sys/kernel/random/boot_id`), as bytes.
    pub boot_id: [u8; 16],
    /// The memory slots. A page's number means nothing without them.
    pub slots: MemSlots,
    /// What was observed, such as a process with the time at which it started: a process number alone is used again.
    pub target: String,
    /// When it is saved or loaded, on the boot's monotonic clock: not since the start of a recording.
    pub saved_at: Nanos,
}

/// One number or bit for each page, to be saved.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// What the numbers mean to whoever saves them. A file should hold no tag twice.
    pub tag: u8,
    /// The numbers, indexed by frame.
    pub cells: Cells<'a>,
}

/// The numbers of a column. Those beyond the last frame of the slots are not saved; missing ones are saved as zeros.
#[derive(Clone, Copy, Debug)]
pub enum Cells<'a> {
    /// Small numbers, such as decayed counts.
    U16(&'a [u16]),
    /// Such as times in milliseconds.
    U32(&'a [u32]),
    /// Such as times in nanoseconds.
    U64(&'a [u64]),
    /// A set of pages.
    Bits(&'a PageBitmap),
}

/// A column that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedColumn {
    /// The tag that it was saved with.
    pub tag: u8,
    /// The numbers, exactly one for each frame below the slots' end.
    pub cells: OwnedCells,
}

/// The numbers of a loaded column, in the type in which they were saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnedCells {
    /// See [`Cells::U16`].
    U16(Vec<u16>),
    /// See [`Cells::U32`].
    U32(Vec<u32>),
    /// See [`Cells::U64`].
    U64(Vec<u64>),
    /// See [`Cells::Bits`].
    Bits(PageBitmap),
}

/// A history that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// When it was saved, on the boot's monotonic clock. Never later than the time of loading.
    pub saved_at: Nanos,
    /// The columns in the order in which they were saved.
    pub columns: Vec<OwnedColumn>,
}

#[cfg(test)]
mod tests;
