//! Where blocks go.

use std::future::Future;
use std::ops::Range;

/// The other side of a migration or sync. A call returns when the destination has applied the block, not before.
pub trait Destination {
    /// Why a block did not arrive. What the destination holds in the block is unknown then.
    type Error: std::fmt::Display;

    /// Makes these frames hold `bytes`, whose length is that of the frames. Returns the bytes that went over the wire.
    ///
    /// # Errors
    /// The engine tries again, with fresh bytes.
    fn put(&mut self, pages: Range<u64>, bytes: &[u8]) -> impl Future<Output = Result<u64, Self::Error>>;

    /// Makes these frames zero. Returns the bytes that went over the wire.
    ///
    /// # Errors
    /// As for [`Destination::put`].
    fn zero(&mut self, pages: Range<u64>) -> impl Future<Output = Result<u64, Self::Error>>;
}
