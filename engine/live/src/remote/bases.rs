//! What the destination certainly holds, as bytes: the versions on which deltas are built.
//!
//! Only blocks that are sent more than once profit, and nobody knows beforehand which these are. So a block that was sent again takes
//! the room of the one whose last sending is longest ago, while one that was sent for the first time is kept only where there is
//! room to spare.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// The bytes of a block; whoever encodes it shares them.
pub(crate) type Bytes = Arc<[u8]>;

/// Versions of blocks, by their first page, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Bases {
    limit: u64,
    held: u64,
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
    /// Nothing is held; never more than `limit` bytes will be.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, held: 0, blocks: HashMap::new(), order: BTreeMap::new(), sent: HashSet::new(), clock: 0 }
    }

    /// Takes out the version of the block that begins at this page and has this many bytes. Until the new one is acknowledged nobody
    /// knows what the destination holds. One of another length is dropped.
    pub(crate) fn take(&mut self, first: u64, bytes: usize) -> Option<Bytes> {
        self.forget(first).filter(|base| base.len() == bytes)
    }

    /// Drops the version of the block that begins at this page.
    pub(crate) fn forget(&mut self, first: u64) -> Option<Bytes> {
        let base = self.blocks.remove(&first)?;
        self.order.remove(&base.rank);
        self.held -= base.bytes.len() as u64;
        Some(base.bytes)
    }

    /// The destination has acknowledged this version.
    pub(crate) fn keep(&mut self, first: u64, bytes: Bytes) {
        let again = !self.sent.insert(first);
        self.forget(first);
        let length = bytes.len() as u64;
        if length > self.limit {
            return;
        }
        while self.held + length > self.limit {
            if !again {
                return;
            }
            let Some((_, &oldest)) = self.order.first_key_value() else { return };
            self.forget(oldest);
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

    fn block(number: u8) -> Bytes {
        vec![number; 10].into()
    }

    fn keep(bases: &mut Bases, firsts: &[u64]) {
        firsts.iter().for_each(|&first| bases.keep(first, block(first as u8)));
    }

    #[test]
    fn a_version_is_given_out_once() {
        let mut bases = Bases::new(30);
        bases.keep(5, block(1));
        bases.keep(5, block(2));
        assert_eq!(bases.take(5, 10), Some(block(2)));
        assert_eq!(bases.take(5, 10), None);
        bases.keep(5, block(3));
        assert_eq!(bases.take(5, 20), None, "another length");
        assert_eq!(bases.take(5, 10), None, "it was dropped");
        assert_eq!((bases.held, bases.order.len()), (0, 0));
    }

    #[test]
    fn first_versions_take_no_room_from_others() {
        let mut bases = Bases::new(30);
        keep(&mut bases, &[1, 2, 3, 4]);
        assert_eq!((bases.held, bases.take(4, 10)), (30, None));
        assert_eq!(bases.take(3, 10), Some(block(3)));
    }

    #[test]
    fn what_is_sent_again_replaces_what_was_sent_once_and_then_the_oldest() {
        let mut bases = Bases::new(30);
        keep(&mut bases, &[1, 2, 3, 4, 4, 5, 5]);
        assert!(!bases.blocks.contains_key(&1) && !bases.blocks.contains_key(&2));
        assert!(bases.blocks.contains_key(&3), "the newest of those that were sent once");
        keep(&mut bases, &[6, 6, 7, 7]);
        let mut left: Vec<_> = bases.blocks.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [5, 6, 7]);
        assert_eq!((bases.held, bases.order.len()), (30, 3));
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let mut bases = Bases::new(9);
        keep(&mut bases, &[1, 1, 1]);
        assert_eq!((bases.take(1, 10), bases.held), (None, 0));
    }
}
