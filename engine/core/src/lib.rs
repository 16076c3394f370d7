//! The decisions of Pagesieve: which pages may be skipped, with what proof, and in which order the rest is sent.
//!
//! Everything here is pure. There is no clock, no I/O, no thread, no randomness and no hash order in any decision: time is
//! passed in, bytes are summarised by the caller, and the same input gives the same output on every machine. The two drivers
//! (virtual time in `pagesieve-replayer`, real time in `pagesieve-live`) are loops around [`Migration`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod access;
pub mod bitmap;
pub mod block;
pub mod budget;
pub mod delta;
pub mod evidence;
pub mod forecast;
pub mod gauge;
pub mod history;
pub mod memslot;
pub mod migration;
pub mod policy;
pub mod ports;
pub mod redirty;
pub mod series;
pub mod summary;
pub mod tracker;
pub mod units;

pub use access::{Access, AccessKind, Origin};
pub use bitmap::PageBitmap;
pub use block::{BlockId, BlockSummary, Blocks, Fingerprint};
pub use evidence::{Coverage, Evidence, PageState, SkipReason};
pub use memslot::{Backing, MemSlot, MemSlots, SlotError};
pub use migration::{
    Action, Baseline, Config, ConfigError, Decision, Encoding, Kept, Migration, Mode, Outcome, PageView, Progress, Purpose,
    Report, Throttle, Unconverged,
};
pub use policy::{Policy, PolicyKind};
pub use redirty::Redirty;
pub use tracker::Tracker;
pub use units::{Epoch, Gfn, Hva, Nanos, PAGE_SHIFT, PAGE_SIZE};
