//! Real-time driver of the engine: the loop that turns a [`Migration`](pagesieve_core::Migration) by the clock, over the traits
//! of [`pagesieve_core::ports`].
//!
//! It decides nothing. What to read, send, skip or defer, when to pause and when to give up is up to the engine. [`sync`] brings a
//! file up to date with it, on this machine or over the [`wire`] on another one,
//! [`migrate`] moves a running guest, and [`serve`] takes both.
#![forbid(unsafe_code)]

pub mod clock;
pub mod destination;
pub mod driver;
mod memory;
pub mod migrate;
mod remote;
pub mod serve;
pub mod sync;
pub mod transport;
#[cfg(feature = "vm-memory")]
pub mod vm_memory;
pub mod wire;
pub mod zstd;

pub use self::zstd::{Zstd, ZstdError};
pub use clock::{Clock, TokioClock};
pub use destination::{Answer, Destination, Local, Outgoing, Store};
pub use driver::{Driver, NoEvents, Observer, RunError};
