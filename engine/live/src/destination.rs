//! Where blocks go.

use std::future::Future;
use std::ops::Range;

use pagesieve_core::{BlockId, Fingerprint};

/// A block that leaves.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// Its name, for the answer.
    pub block: BlockId,
    /// The frames it covers.
    pub pages: Range<u64>,
    /// What they hold: as many bytes as the frames have.
    pub bytes: &'a [u8],
    /// Hash of the bytes, if the driver makes any.
    pub fingerprint: Option<Fingerprint>,
}

/// What became of a block.
#[derive(Clone, Debug)]
pub struct Answer<E> {
    /// Its name.
    pub block: BlockId,
    /// The bytes that it took on the wire, once the destination has applied it. After an error nobody knows what the destination
    /// holds in the block; the engine tries again, with fresh bytes.
    pub result: Result<u64, E>,
}

/// The other side of a migration or sync. Several blocks may be on their way; none of them twice at a time.
pub trait Destination {
    /// Why a block did not arrive.
    type Error: std::fmt::Display;

    /// Takes a block; returns as soon as there is room for the next one. An [`Answer`] follows.
    fn put(&mut self, block: Outgoing<'_>) -> impl Future<Output = ()>;

    /// Makes these frames zero. An [`Answer`] follows.
    fn zero(&mut self, block: BlockId, pages: Range<u64>) -> impl Future<Output = ()>;

    /// An answer that is there already.
    fn try_answer(&mut self) -> Option<Answer<Self::Error>>;

    /// Waits for an answer, for ever while no block is on its way. A call that is dropped loses none.
    fn answer(&mut self) -> impl Future<Output = Answer<Self::Error>>;
}
