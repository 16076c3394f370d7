//! What is known about each page, and the only place where a skip is proven.
//!
//! Two numbers per page decide everything: the epoch of its last *possible* write, and the epoch of the content that the
//! destination holds. The page need not be sent iff the second is not older than the first. That comparison is made once, when
//! one of the numbers changes, and its outcome is a bit: a block is judged by words of bits, not page by page. Two facts make
//! this sound:
//!
//! - Only a complete dirty log keeps a page's last possible write in the past. Where there is none, every page counts as written.
//! - A page read while epoch E is open holds all writes of E-1 and before, and an unknown part of those of E. So it counts as
//!   content of E-1, the last *closed* epoch, and a write in E makes it stale whether or not the read came after it.
//!
//! Absence of evidence means send.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use crate::bitmap::masks;
use crate::{Epoch, Gfn, MemSlots, PageBitmap};

/// How much a dirty log proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coverage {
    /// A page outside the log was not written in the epoch.
    Complete,
    /// A page outside the log may have been written.
    Partial,
}

/// What is known about one page at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// No complete dirty log has covered it yet.
    Unknown,
    /// It held no data at the end of the last closed epoch: it reads as zero.
    Unpopulated,
    /// Not written since the end of this epoch, as far as closed epochs tell.
    CleanSince(Epoch),
    /// Possibly written in this epoch, the last closed one.
    DirtyIn(Epoch),
}

/// Why a block need not be sent. Ordered by what the proof costs: a block's reason is the costliest of its pages'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// It holds no data, and neither does the destination.
    Unpopulated,
    /// The destination holds its current version.
    Unchanged,
    /// It was read and is zero, and so is the destination.
    Zero,
    /// It was read and hashed, and the destination holds the same bytes.
    SameContent,
    /// No proof: the seed's rule presumes that nobody uses it. Only `aging-literal` says this.
    PresumedUnused,
}

/// The right to skip a block. Only [`Evidence::proof`] makes one, so no policy can skip on a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof(SkipReason);

impl Proof {
    /// What was proven.
    #[must_use]
    pub fn reason(self) -> SkipReason {
        self.0
    }
}

/// Evidence about all pages, as arrays indexed by frame: 8 bytes and 5 bits a page.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Epoch of the last possible write.
    written: Vec<u32>,
    /// 1 + epoch of the content that the destination holds; 0 for none.
    held: Vec<u32>,
    /// Pages whose held content is not older than their last possible write: `held > written`, and not unknown.
    current: PageBitmap,
    /// Pages that count as written only because a log was incomplete.
    presumed: PageBitmap,
    /// Pages that no complete log has covered since they appeared.
    unknown: PageBitmap,
    /// Pages that may hold data; the others read as zero.
    populated: PageBitmap,
    /// Pages that certainly read as zero at the destination.
    zero_there: PageBitmap,
    /// The epoch that is not closed yet.
    open: Epoch,
    /// True if `populated` was replaced since the last log.
    populated_is_fresh: bool,
}

impl Evidence {
    /// The last epoch that can be closed; numbers after it would not fit.
    const LAST: Epoch = Epoch(u32::MAX - 2);

    /// Evidence at the start: every page of the slots was written before epoch `open` and not since (the memory is armed),
    /// may hold data, and the destination reads as zero everywhere if `empty_there`. Epoch 0 cannot be open: it stands for
    /// everything before arming.
    #[must_use]
    pub fn new(slots: &MemSlots, open: Epoch, empty_there: bool) -> Self {
        let open = open.clamp(Epoch(1), Self::LAST);
        let end = slots.frame_end();
        let mut populated = PageBitmap::new(end);
        populated.insert_range(0..end);
        let mut zero_there = PageBitmap::new(end);
        if empty_there {
            zero_there.insert_range(0..end);
        }
        Self {
            written: vec![open.0 - 1; end as usize],
            held: vec![0; end as usize],
            current: PageBitmap::new(end),
            presumed: PageBitmap::new(end),
            unknown: PageBitmap::new(end),
            populated,
            zero_there,
            open,
            populated_is_fresh: false,
        }
    }

    /// The epoch that is not closed yet.
    #[must_use]
    pub fn open_epoch(&self) -> Epoch {
        self.open
    }

    /// The epoch whose writes are all known: the version of whatever is read now.
    #[must_use]
    pub fn closed_epoch(&self) -> Epoch {
        Epoch(self.open.0 - 1)
    }

    /// Closes `epoch`. With a complete log the pages in it were written and the others were not; with a partial one all pages
    /// may have been written. A log of any other epoch than the open one is a gap in what is known and counts as partial.
    pub fn handle_dirty_log(&mut self, epoch: Epoch, log: &PageBitmap, coverage: Coverage) {
        if epoch == self.open && epoch <= Self::LAST && coverage == Coverage::Complete {
            for gfn in log.iter() {
                let Some(written) = self.written.get_mut(gfn.index()) else { break };
                *written = epoch.0;
                // A destination that is equal as of this very epoch holds what was written in it.
                if self.held[gfn.index()] <= epoch.0 {
                    self.current.remove(gfn);
                }
            }
            self.presumed.subtract(log);
            // Unknown pages count as written in the epoch in which they appeared, or in a later one that proved nothing.
            self.unknown.clear();
            if !self.populated_is_fresh {
                self.populated.union_with(log);
            }
            self.open = epoch.next();
        } else {
            self.handle_gap(epoch);
        }
        self.populated_is_fresh = false;
        self.note_holes();
    }

    /// A page that is current at the destination and reads as zero here is zero there, and stays so until it is sent again.
    fn note_holes(&mut self) {
        let (current, populated) = (&self.current, &self.populated);
        self.zero_there.merge(|at| current.words()[at] & !populated.words()[at]);
    }

    /// Closes the open epoch without proof, or takes note of a log that came late or too early: every page may have been written.
    fn handle_gap(&mut self, epoch: Epoch) {
        let open = self.open;
        if epoch >= self.open && epoch <= Self::LAST {
            self.written.fill(epoch.0);
            self.open = epoch.next();
        } else {
            // What was read in the open epoch counts as older than it, so this makes all of it stale.
            self.written.fill(self.open.0);
        }
        let end = self.populated.end();
        self.current.clear();
        self.presumed.insert_range(0..end);
        if !self.populated_is_fresh || epoch > open {
            self.populated.insert_range(0..end);
        }
    }

    /// Replaces the set of pages that may hold data. `epoch` is the one at whose end the set was taken: the open one, and then
    /// this must come before its log; or the last closed one, as at the start. A set of any other epoch is ignored. Where no
    /// set comes with a log, every page in the log counts as populated from then on.
    pub fn handle_populated(&mut self, epoch: Epoch, populated: &PageBitmap) {
        if epoch == self.open || epoch == self.closed_epoch() {
            self.populated.clear();
            self.populated.union_with(populated);
            self.populated_is_fresh = epoch == self.open;
        }
    }

    /// Makes the pages of a range unknown and the destination's copy of them worthless: they are new, or lie in a slot that moved.
    pub fn forget(&mut self, pages: Range<u64>) {
        if pages.end > self.written.len() as u64 {
            self.grow(pages.end);
        }
        self.held[pages.start as usize..pages.end as usize].fill(0);
        self.written[pages.start as usize..pages.end as usize].fill(self.open.0);
        self.unknown.insert_range(pages.clone());
        self.populated.insert_range(pages.clone());
        self.current.remove_range(pages.clone());
        self.presumed.insert_range(pages.clone());
        self.zero_there.remove_range(pages);
    }

    fn grow(&mut self, end: u64) {
        self.written.resize(end as usize, self.open.0);
        self.held.resize(end as usize, 0);
        for set in [&mut self.current, &mut self.presumed, &mut self.unknown, &mut self.populated, &mut self.zero_there] {
            set.grow(end);
        }
    }

    /// The destination equals the source as of the end of `epoch`, everywhere.
    pub fn set_equal(&mut self, epoch: Epoch) {
        self.zero_there.clear();
        self.set_unchanged(0..self.held.len() as u64, epoch);
    }

    /// Nothing is known about the destination any more, except that it reads as zero everywhere if `empty`.
    pub fn set_destination_lost(&mut self, empty: bool) {
        self.held.fill(0);
        self.current.clear();
        self.zero_there.clear();
        if empty {
            self.zero_there.insert_range(0..self.zero_there.end());
        }
    }

    /// The destination is about to be changed: until [`Evidence::set_held`] nothing is known about these pages of it.
    pub fn set_in_doubt(&mut self, pages: Range<u64>) {
        self.held[pages.start as usize..pages.end as usize].fill(0);
        self.current.remove_range(pages.clone());
        self.zero_there.remove_range(pages);
    }

    /// The destination now holds the content that these pages had at the end of `epoch`, and zeros if `zero`.
    pub fn set_held(&mut self, pages: Range<u64>, epoch: Epoch, zero: bool) {
        self.set_unchanged(pages.clone(), epoch);
        if zero {
            self.zero_there.insert_range(pages);
        } else {
            self.zero_there.remove_range(pages);
        }
    }

    /// The destination's bytes equal those that these pages had at the end of `epoch`, although they were not sent again.
    pub fn set_unchanged(&mut self, pages: Range<u64>, epoch: Epoch) {
        let held = epoch.0.saturating_add(1);
        self.held[pages.start as usize..pages.end as usize].fill(held);
        for (at, mask) in masks(pages, self.current.end()) {
            let first = at * 64 + mask.trailing_zeros() as usize;
            let last = at * 64 + 63 - mask.leading_zeros() as usize;
            let newer =
                self.written[first..=last].iter().rev().fold(0_u64, |bits, &written| bits << 1 | u64::from(held > written));
            let current = newer << mask.trailing_zeros() & !self.unknown.words()[at];
            self.current.set_word(at, mask, current);
        }
    }

    /// The destination is known to read as zero in these pages.
    pub fn set_zero_there(&mut self, pages: Range<u64>) {
        self.zero_there.insert_range(pages);
    }

    /// True if the destination certainly reads as zero in the whole range.
    #[must_use]
    pub fn is_zero_there(&self, pages: Range<u64>) -> bool {
        self.zero_there.contains_range(pages)
    }

    /// True if no page of the range holds data, so that it reads as zero without being looked at.
    #[must_use]
    pub fn is_unpopulated(&self, pages: Range<u64>) -> bool {
        !self.populated.meets_range(pages)
    }

    /// Pages of the slots that may hold data.
    #[must_use]
    pub fn resident(&self, slots: &MemSlots) -> u64 {
        slots.iter().map(|slot| self.populated.count_range(slot.base.0..slot.end().0)).sum()
    }

    /// What is known about a page at the source.
    #[must_use]
    pub fn page(&self, gfn: Gfn) -> PageState {
        if gfn.index() >= self.written.len() || self.unknown.contains(gfn) {
            PageState::Unknown
        } else if !self.populated.contains(gfn) {
            PageState::Unpopulated
        } else {
            let written = Epoch(self.written[gfn.index()]);
            if written < self.closed_epoch() { PageState::CleanSince(written) } else { PageState::DirtyIn(written) }
        }
    }

    /// True if the destination holds the page's version of the last closed epoch.
    #[must_use]
    pub fn is_current(&self, gfn: Gfn) -> bool {
        self.current.contains(gfn)
    }

    /// The epoch of the content that the destination holds in a page, which may be outdated; `None` if it is not known.
    #[must_use]
    pub fn held(&self, gfn: Gfn) -> Option<Epoch> {
        self.held.get(gfn.index())?.checked_sub(1).map(Epoch)
    }

    /// The epoch of a page's last possible write; `None` for a page that no slot holds.
    #[must_use]
    pub fn written(&self, gfn: Gfn) -> Option<Epoch> {
        self.written.get(gfn.index()).copied().map(Epoch)
    }

    /// True if a page counts as written only because a log was incomplete.
    #[must_use]
    pub fn is_presumed_written(&self, gfn: Gfn) -> bool {
        self.presumed.contains(gfn)
    }

    /// The proof that no page of the range needs to be sent, or `None` if there is none for at least one page.
    #[must_use]
    pub fn proof(&self, pages: Range<u64>) -> Option<Proof> {
        let (current, populated, zero) = (self.current.words(), self.populated.words(), self.zero_there.words());
        let mut data = 0;
        for (at, mask) in masks(pages, self.current.end()) {
            // A page that turned into a hole after it was sent is zero here but not there.
            let proven = current[at] | (zero[at] & !populated[at]);
            if proven & mask != mask {
                return None;
            }
            data |= populated[at] & mask;
        }
        Some(Proof(if data == 0 { SkipReason::Unpopulated } else { SkipReason::Unchanged }))
    }
}

#[cfg(test)]
mod tests;
