//! Real-time driver of the engine: the loop that turns a [`Migration`](pagesieve_core::Migration) by the clock, over the traits
//! of [`pagesieve_core::ports`].
//!
//! It decides nothing. What to read, send, skip or defer, when to pause and when to give up is up to the engine. One block is
//! on the wire at a time; a transport that wants more in flight, sync of files and a listening side are not here yet.
#![forbid(unsafe_code)]

pub mod clock;
pub mod destination;
pub mod driver;
pub mod zstd;

pub use self::zstd::{Zstd, ZstdError};
pub use clock::{Clock, TokioClock};
pub use destination::Destination;
pub use driver::{Driver, Observer, RunError};
