//! What a migration did, counted: verdicts by NUMA node, why blocks were sent, and how often each page was.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::block::bytes_of;
use crate::evidence::SkipReason;
use crate::summary::{BlockCounts, NodeCounts, SendCauses};
use crate::{Gfn, MemSlots, PageBitmap};

/// Why a block was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendCause {
    /// The destination holds no known version of a page of it.
    First,
    /// A dirty log says that a page of it was written.
    Written,
    /// An incomplete log cannot say that it was not written.
    Unproven,
    /// The attempt before failed.
    Retried,
    /// There was a proof, and the policy sent it all the same.
    Needless,
}

/// The counts.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    nodes: Vec<NodeCounts>,
    node_of_slot: Vec<usize>,
    pub(super) causes: SendCauses,
    pub(super) times_sent: TimesSent,
    pub(super) skipped_unread: u64,
    pub(super) bytes_skipped_unread: u64,
    pub(super) bytes_wire: u64,
    pub(super) lost_events: u64,
}

impl Accounts {
    pub(super) fn new(slots: &MemSlots) -> Self {
        let mut accounts = Self {
            nodes: Vec::new(),
            node_of_slot: Vec::new(),
            causes: SendCauses::default(),
            times_sent: TimesSent::default(),
            skipped_unread: 0,
            bytes_skipped_unread: 0,
            bytes_wire: 0,
            lost_events: 0,
        };
        accounts.set_slots(slots);
        accounts
    }

    /// Counts go on by node; a node that went away keeps its own.
    pub(super) fn set_slots(&mut self, slots: &MemSlots) {
        self.times_sent.grow(slots.frame_end());
        self.nodes.iter_mut().for_each(|node| node.pages = 0);
        self.node_of_slot.clear();
        for slot in slots.iter() {
            let known = self.nodes.iter().position(|counts| counts.node == slot.numa_node);
            let at = known.unwrap_or_else(|| {
                self.nodes.push(NodeCounts { node: slot.numa_node, ..NodeCounts::default() });
                self.nodes.len() - 1
            });
            self.nodes[at].pages += slot.pages;
            self.node_of_slot.push(at);
        }
    }

    /// The counts of the node that a slot belongs to.
    fn node(&mut self, slot: usize) -> &mut NodeCounts {
        let at = self.node_of_slot[slot];
        &mut self.nodes[at]
    }

    /// A verdict on a block of this slot, which holds data or not.
    fn verdict(&mut self, slot: usize, resident: bool) -> &mut BlockCounts {
        let blocks = &mut self.node(slot).blocks;
        blocks.total += 1;
        blocks.resident += u64::from(resident);
        blocks
    }

    pub(super) fn skipped(&mut self, slot: usize, resident: bool, reason: SkipReason) {
        let blocks = self.verdict(slot, resident);
        blocks.skipped_resident += u64::from(resident);
        *match reason {
            SkipReason::Unpopulated => &mut blocks.skipped.unpopulated,
            SkipReason::Unchanged => &mut blocks.skipped.unchanged,
            SkipReason::Zero => &mut blocks.skipped.zero,
            SkipReason::SameContent => &mut blocks.skipped.same_content,
            SkipReason::PresumedUnused => &mut blocks.skipped.presumed_unused,
        } += 1;
    }

    pub(super) fn deferred(&mut self, slot: usize, resident: bool) {
        self.verdict(slot, resident).deferred += 1;
    }

    /// A block's first sending in a round.
    pub(super) fn sent(&mut self, slot: usize, resident: bool) {
        self.verdict(slot, resident).sent += 1;
    }

    /// Bytes that leave, at each attempt.
    pub(super) fn leaves(&mut self, slot: usize, pages: &Range<u64>, cause: SendCause) {
        let again = bytes_of(&(0..self.times_sent.add(pages.clone())));
        let node = self.node(slot);
        node.bytes_sent += bytes_of(pages);
        node.bytes_resent += again;
        *match cause {
            SendCause::First => &mut self.causes.first,
            SendCause::Written => &mut self.causes.written,
            SendCause::Unproven => &mut self.causes.unproven,
            SendCause::Retried => &mut self.causes.retried,
            SendCause::Needless => &mut self.causes.needless,
        } += 1;
    }

    pub(super) fn nodes(&self) -> &[NodeCounts] {
        &self.nodes
    }

    /// All nodes together.
    pub(super) fn total(&self) -> NodeCounts {
        self.nodes.iter().fold(NodeCounts::default(), |mut sum, node| {
            sum.add(node);
            sum
        })
    }
}

/// How often each page was sent, up to 7 times: a counter of three bits a page, kept as three sets so that a block is counted
/// word by word.
#[derive(Clone, Debug, Default)]
pub(super) struct TimesSent {
    planes: [PageBitmap; 3],
}

impl TimesSent {
    /// Counts from here on stand for "so often or more".
    pub(super) const MOST: usize = 7;

    fn grow(&mut self, end: u64) {
        self.planes.iter_mut().for_each(|plane| plane.grow(end));
    }

    /// Counts one more sending of these pages; returns how many of them had been sent before.
    fn add(&mut self, pages: Range<u64>) -> u64 {
        let [low, middle, high] = &mut self.planes;
        let mut again = 0;
        low.zip3(middle, high, pages, |[low, middle, high], mask| {
            again += u64::from(((*low | *middle | *high) & mask).count_ones());
            // A ripple carry that stops at seven.
            let one = mask & !(*low & *middle & *high);
            let two = *low & one;
            let four = *middle & two;
            (*low, *middle, *high) = (*low ^ one, *middle ^ two, *high ^ four);
        });
        again
    }

    /// How often a page was sent.
    pub(super) fn of(&self, gfn: Gfn) -> usize {
        self.planes.iter().enumerate().map(|(bit, plane)| usize::from(plane.contains(gfn)) << bit).sum()
    }

    /// Pages of the slots by how often they were sent; the last number is of those sent seven times or more.
    pub(super) fn histogram(&self, slots: &MemSlots) -> Vec<u64> {
        let mut pages = vec![0; Self::MOST + 1];
        for slot in slots.iter() {
            (slot.base.0..slot.end().0).for_each(|page| pages[self.of(Gfn(page))] += 1);
        }
        pages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sendings_are_counted_up_to_seven() {
        let mut times = TimesSent::default();
        times.grow(130);
        for round in 1..=9 {
            assert_eq!(times.add(60..70), if round == 1 { 0 } else { 10 });
            assert_eq!((times.of(Gfn(59)), times.of(Gfn(60)), times.of(Gfn(69))), (0, round.min(7), round.min(7)));
        }
        assert_eq!(times.add(0..130), 10);
        assert_eq!(times.of(Gfn(129)), 1);
    }
}
