//! The shadow destination: what each page of the destination really holds, whatever the engine believes.

use std::ops::Range;

use pagesieve_core::{Epoch, Gfn, PageBitmap};

use crate::source::{Source, Version};

/// The destination's pages, and the judgement on them.
#[derive(Debug, Default)]
pub(crate) struct Shadow {
    there: Vec<Version>,
    /// Pages of blocks that the engine left for a later round: it does not call them current.
    behind: PageBitmap,
    lost: PageBitmap,
    first_lost: Option<(Epoch, Gfn)>,
}

impl Shadow {
    /// An empty destination.
    pub(crate) fn empty(source: &Source) -> Self {
        let mut shadow = Self::default();
        shadow.fit(source);
        shadow
    }

    /// A destination that equals the source as it stands.
    pub(crate) fn equal(source: &Source) -> Self {
        let mut shadow = Self::empty(source);
        for (at, there) in shadow.there.iter_mut().enumerate() {
            *there = source.truth(Gfn(at as u64));
        }
        shadow
    }

    /// Makes room for all slots of the source.
    pub(crate) fn fit(&mut self, source: &Source) {
        let end = source.slots().frame_end();
        self.there.resize(self.there.len().max(end as usize), Version::ZERO);
        self.behind.grow(end);
        self.lost.grow(end);
    }

    pub(crate) fn there(&self, gfn: Gfn) -> Version {
        self.there[gfn.index()]
    }

    /// Pages arrive.
    pub(crate) fn apply(&mut self, first: u64, versions: &[Version]) {
        for (there, &version) in self.there[first as usize..].iter_mut().zip(versions) {
            *there = version;
        }
    }

    /// The engine leaves these pages for a later round.
    pub(crate) fn defer(&mut self, pages: Range<u64>) {
        self.behind.insert_range(pages);
    }

    /// A round begins: what was deferred before may be called current in it.
    pub(crate) fn begin_round(&mut self) {
        self.behind.clear();
    }

    /// The end of a round: every page that was not deferred in it is called current, so it must be.
    pub(crate) fn judge(&mut self, epoch: Epoch, source: &Source) {
        for slot in source.slots().iter() {
            for gfn in (slot.base.0..slot.end().0).map(Gfn) {
                if !self.there(gfn).same(source.truth(gfn)) && !self.behind.contains(gfn) {
                    self.lost.insert(gfn);
                    self.first_lost.get_or_insert((epoch, gfn));
                }
            }
        }
    }

    /// Pages that were called current and were not, at the end of any round.
    pub(crate) fn lost(&self) -> &PageBitmap {
        &self.lost
    }

    /// The last closed epoch when a page was lost first, and the page.
    pub(crate) fn first_lost(&self) -> Option<(Epoch, Gfn)> {
        self.first_lost
    }
}
