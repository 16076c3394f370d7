//! Where blocks go.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;

use pagesieve_core::block::bytes_of;
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

    /// Why nothing arrives any more, once that is so: what is on its way is not answered then.
    fn lost(&self) -> Option<&Self::Error> {
        None
    }
}

/// Memory that is at hand, such as a file or another guest's on this host.
pub trait Store {
    /// Why it cannot be written.
    type Error: std::fmt::Display;

    /// Makes these frames hold `bytes`, whose length is that of the frames. Returns what is to be counted as sent, in bytes.
    ///
    /// # Errors
    /// The engine tries again, with fresh bytes.
    fn write(&mut self, pages: Range<u64>, bytes: &[u8]) -> Result<u64, Self::Error>;

    /// Makes these frames zero, unless overridden by writing zeros. Returns what is to be counted as sent, in bytes.
    ///
    /// # Errors
    /// As for [`Store::write`].
    fn zero(&mut self, pages: Range<u64>) -> Result<u64, Self::Error> {
        let zeros = vec![0; bytes_of(&pages) as usize];
        self.write(pages, &zeros).map(|_| 0)
    }
}

/// A [`Store`] as a destination: every block is answered at once.
#[derive(Debug)]
pub struct Local<S: Store> {
    /// The memory.
    pub store: S,
    answers: VecDeque<Answer<S::Error>>,
}

impl<S: Store> Local<S> {
    /// Nothing is on its way.
    pub fn new(store: S) -> Self {
        Self { store, answers: VecDeque::new() }
    }
}

impl<S: Store> Destination for Local<S> {
    type Error = S::Error;

    async fn put(&mut self, out: Outgoing<'_>) {
        let result = self.store.write(out.pages, out.bytes);
        self.answers.push_back(Answer { block: out.block, result });
    }

    async fn zero(&mut self, block: BlockId, pages: Range<u64>) {
        let result = self.store.zero(pages);
        self.answers.push_back(Answer { block, result });
    }

    fn try_answer(&mut self) -> Option<Answer<S::Error>> {
        self.answers.pop_front()
    }

    async fn answer(&mut self) -> Answer<S::Error> {
        match self.answers.pop_front() {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}
