//! What the destination certainly holds of what was sent: the versions on which deltas are built.
//!
//! Of every block the hashes of its pages are kept: where a few pages of a block were written, the others need not be sent again. A
//! page that only looks the same is found out, since the destination compares the fingerprint of the whole block.
//!
//! Of some blocks the bytes are kept, to send the differences in a page. Only blocks that are sent more than once profit, and nobody knows beforehand which these are. So a block that was sent again takes
//! the room of the one whose last sending is longest ago, while one that was sent for the first time is kept only where there is
//! room to spare.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use pagesieve_core::PAGE_SIZE;
use pagesieve_core::delta::Old;
use xxhash_rust::xxh3::xxh3_64;

/// The bytes of a block; whoever encodes it shares them.
pub(crate) type Bytes = Arc<[u8]>;

/// A hash for each page of a block.
pub(crate) type Hashes = Arc<[u64]>;

/// The hashes of a block's pages.
pub(crate) fn hashes(bytes: &[u8]) -> Hashes {
    bytes.chunks(PAGE_SIZE as usize).map(xxh3_64).collect()
}

/// What is known of the version of a block that the destination holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    bytes: Option<Bytes>,
    hashes: Option<Hashes>,
}

impl Known {
    /// True if pages may build on it.
    pub(crate) fn is_some(&self) -> bool {
        self.bytes.is_some() || self.hashes.is_some()
    }

    /// What is known of a page, whose new hash is this.
    pub(crate) fn old(&self, index: usize, hash: u64) -> Old<'_> {
        let size = PAGE_SIZE as usize;
        match (&self.bytes, &self.hashes) {
            (_, Some(hashes)) if hashes.get(index) == Some(&hash) => Old::Same,
            (Some(bytes), _) => bytes.get(index * size..(index + 1) * size).map_or(Old::Unknown, Old::Bytes),
            _ => Old::Unknown,
        }
    }
}

/// Versions of blocks, by their first page.
#[derive(Debug)]
pub(crate) struct Bases {
    /// Most bytes of versions that are kept whole.
    limit: u64,
    /// Bytes of these.
    held: u64,
    hashes: HashMap<u64, Hashes>,
    blocks: HashMap<u64, Base>,
    /// The blocks in the order in which they give way.
    order: BTreeMap<Rank, u64>,
    /// First pages of blocks that were sent before.
    sent: HashSet<u64>,
    clock: u64,
}

/// Blocks that were sent once give way before those that were sent again, and older ones before newer ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    again: bool,
    time: u64,
}

#[derive(Debug)]
struct Base {
    bytes: Bytes,
    rank: Rank,
}

impl Bases {
    /// Nothing is known; never more than `limit` bytes will be kept whole.
    pub(crate) fn new(limit: u64) -> Self {
        let (hashes, blocks, sent) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { limit, held: 0, hashes, blocks, order: BTreeMap::new(), sent, clock: 0 }
    }

    /// Takes out what is known of the block that begins at this page and has this many bytes. Until the new version is acknowledged
    /// nobody knows what the destination holds. A version of another length is dropped.
    pub(crate) fn take(&mut self, first: u64, bytes: usize) -> Known {
        let pages = bytes / PAGE_SIZE as usize;
        Known {
            hashes: self.hashes.remove(&first).filter(|hashes| hashes.len() == pages),
            bytes: self.drop_bytes(first).filter(|base| base.len() == bytes),
        }
    }

    /// Drops what is known of the block that begins at this page.
    pub(crate) fn forget(&mut self, first: u64) {
        self.hashes.remove(&first);
        self.drop_bytes(first);
    }

    fn drop_bytes(&mut self, first: u64) -> Option<Bytes> {
        let base = self.blocks.remove(&first)?;
        self.order.remove(&base.rank);
        self.held -= base.bytes.len() as u64;
        Some(base.bytes)
    }

    /// The destination has acknowledged this version.
    pub(crate) fn keep(&mut self, first: u64, bytes: Bytes, hashes: Hashes) {
        let again = !self.sent.insert(first);
        self.forget(first);
        self.hashes.insert(first, hashes);
        let length = bytes.len() as u64;
        if length > self.limit {
            return;
        }
        while self.held + length > self.limit {
            if !again {
                return;
            }
            let Some((_, &oldest)) = self.order.first_key_value() else { return };
            self.drop_bytes(oldest);
        }
        self.clock += 1;
        let rank = Rank { again, time: self.clock };
        self.held += length;
        self.order.insert(rank, first);
        self.blocks.insert(first, Base { bytes, rank });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = 2 * PAGE_SIZE as usize;

    fn block(number: u8) -> Bytes {
        vec![number; BLOCK].into()
    }

    fn keep(bases: &mut Bases, firsts: &[u64]) {
        firsts.iter().for_each(|&first| bases.keep(first, block(first as u8), hashes(&block(first as u8))));
    }

    fn known(bytes: Option<u8>, of: u8) -> Known {
        Known { bytes: bytes.map(block), hashes: Some(hashes(&block(of))) }
    }

    #[test]
    fn a_version_is_given_out_once() {
        let mut bases = Bases::new(3 * BLOCK as u64);
        for number in [1, 2] {
            bases.keep(5, block(number), hashes(&block(number)));
        }
        assert_eq!(bases.take(5, BLOCK), known(Some(2), 2));
        assert_eq!(bases.take(5, BLOCK), Known::default());
        keep(&mut bases, &[5]);
        assert_eq!(bases.take(5, 2 * BLOCK), Known::default(), "another length");
        assert_eq!(bases.take(5, BLOCK), Known::default(), "it was dropped");
        keep(&mut bases, &[5]);
        bases.forget(5);
        assert_eq!(bases.take(5, BLOCK), Known::default());
        assert_eq!((bases.held, bases.order.len(), bases.hashes.len()), (0, 0, 0));
    }

    #[test]
    fn a_page_with_the_same_hash_is_the_same_and_any_other_has_its_bytes() {
        let mut changed = block(1).to_vec();
        changed[BLOCK - 1] ^= 1;
        let new = hashes(&changed);
        let whole = known(Some(1), 1);
        assert_eq!(whole.old(0, new[0]), Old::Same);
        assert_eq!(whole.old(1, new[1]), Old::Bytes(&block(1)[..BLOCK / 2]));
        assert_eq!(known(None, 1).old(1, new[1]), Old::Unknown);
        assert_eq!(whole.old(2, new[0]), Old::Unknown, "there is no such page");
        assert_eq!(Known::default().old(0, new[0]), Old::Unknown);
        assert!(whole.is_some() && known(None, 1).is_some() && !Known::default().is_some());
    }

    #[test]
    fn first_versions_take_no_room_from_others() {
        let mut bases = Bases::new(3 * BLOCK as u64);
        keep(&mut bases, &[1, 2, 3, 4]);
        assert_eq!((bases.held, bases.take(4, BLOCK)), (3 * BLOCK as u64, known(None, 4)));
        assert_eq!(bases.take(3, BLOCK), known(Some(3), 3));
    }

    #[test]
    fn what_is_sent_again_replaces_what_was_sent_once_and_then_the_oldest() {
        let mut bases = Bases::new(3 * BLOCK as u64);
        keep(&mut bases, &[1, 2, 3, 4, 4, 5, 5]);
        assert!(!bases.blocks.contains_key(&1) && !bases.blocks.contains_key(&2));
        assert!(bases.blocks.contains_key(&3), "the newest of those that were sent once");
        keep(&mut bases, &[6, 6, 7, 7]);
        let mut left: Vec<_> = bases.blocks.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [5, 6, 7]);
        assert_eq!((bases.held, bases.order.len(), bases.hashes.len()), (3 * BLOCK as u64, 3, 7));
    }

    #[test]
    fn without_room_only_hashes_are_kept() {
        let mut bases = Bases::new(BLOCK as u64 - 1);
        keep(&mut bases, &[1, 1, 1]);
        assert_eq!((bases.take(1, BLOCK), bases.held), (known(None, 1), 0));
    }
}
