//! The imagined guest behind a synthetic trace: what every page holds, and how writes change it.

use pagesieve_core::{Backing, Gfn, Hva, MemSlot, PAGE_SIZE, PageBitmap};

use super::class::Rates;
use super::rng::{Rng, splitmix64};
use crate::model::{ContentId, PageSummary};

/// Where the hole for devices begins and ends in a guest with more than 3 GiB, as on a PC.
const HOLE: (u64, u64) = (0xc_0000, 0x10_0000);
const HVA: u64 = 0x7f00_0000_0000;
/// Bytes of a zero page after zstd level 3, measured.
const ZERO_COMPRESSED: u16 = 19;

/// Memory by page index; [`Guest::gfn`] gives the frame number, which jumps over the hole.
pub(super) struct Guest {
    seed: u64,
    content: Vec<ContentId>,
    populated: PageBitmap,
    newest: u32,
    /// Contents at the start of the epoch, of the pages written in it.
    before: Vec<(u64, ContentId)>,
    touched: PageBitmap,
}

impl Guest {
    /// Populates the front of each area, as a guest that has run for a while would.
    pub(super) fn new(pages: u64, rates: &Rates, areas: &[(u64, u64)], seed: u64, rng: &mut Rng) -> Self {
        let mut guest = Self {
            seed,
            content: vec![ContentId(0); pages as usize],
            populated: PageBitmap::new(pages),
            newest: 0,
            before: Vec::new(),
            touched: PageBitmap::new(pages),
        };
        for &(start, end) in areas {
            guest.populated.insert_range(start..start + (end - start) * rates.populated / 1000);
        }
        for page in guest.populated.clone().iter() {
            let content = guest.draw(ContentId(0), rates, rng);
            guest.content[page.index()] = content;
        }
        guest
    }

    pub(super) fn slots(pages: u64) -> Vec<MemSlot> {
        let slot = |base, pages, at| MemSlot {
            base: Gfn(base),
            pages,
            hva: Hva(HVA + at * PAGE_SIZE),
            backing: Backing::Shared,
            numa_node: None,
        };
        if pages <= HOLE.0 {
            return vec![slot(0, pages, 0)];
        }
        vec![slot(0, HOLE.0, 0), slot(HOLE.1, pages - HOLE.0, HOLE.0)]
    }

    pub(super) fn gfn(page: u64) -> Gfn {
        Gfn(if page < HOLE.0 { page } else { page - HOLE.0 + HOLE.1 })
    }

    /// One past the highest frame of so many pages.
    pub(super) fn frame_end(pages: u64) -> u64 {
        Self::gfn(pages - 1).0 + 1
    }

    /// A set by page index as a set of frames.
    pub(super) fn frames(set: &PageBitmap) -> PageBitmap {
        if set.end() <= HOLE.0 {
            return set.clone();
        }
        let mut frames = PageBitmap::new(Self::frame_end(set.end()));
        for run in set.ranges() {
            let low = run.end.min(HOLE.0);
            frames.insert_range(run.start.min(low)..low);
            let high = run.start.max(HOLE.0);
            if high < run.end {
                frames.insert_range(Self::gfn(high).0..Self::frame_end(run.end));
            }
        }
        frames
    }

    pub(super) fn is_populated(&self, page: u64) -> bool {
        self.populated.contains(Gfn(page))
    }

    pub(super) fn populated(&self) -> PageBitmap {
        Self::frames(&self.populated)
    }

    /// A write: the page is populated from now on and may hold something else.
    pub(super) fn write(&mut self, page: u64, rates: &Rates, rng: &mut Rng) {
        let old = self.content[page as usize];
        let new = self.draw(old, rates, rng);
        self.populated.insert(Gfn(page));
        self.set(page, new);
    }

    /// The guest gives the page back: it reads as zeros.
    pub(super) fn discard(&mut self, page: u64) {
        self.populated.remove(Gfn(page));
        self.set(page, ContentId(0));
    }

    fn set(&mut self, page: u64, new: ContentId) {
        let content = &mut self.content[page as usize];
        if self.touched.insert(Gfn(page)) {
            self.before.push((page, *content));
        }
        *content = new;
    }

    fn draw(&mut self, old: ContentId, rates: &Rates, rng: &mut Rng) -> ContentId {
        let dice = rng.below(1000);
        let known = u64::from(self.newest);
        if dice < rates.same || self.newest == u32::MAX {
            old
        } else if dice < rates.same + rates.zero {
            ContentId(0)
        } else if dice < rates.same + rates.zero + rates.known && known > 0 {
            ContentId(1 + rng.below(known) as u32)
        } else {
            self.newest += 1;
            ContentId(self.newest)
        }
    }

    /// Ends the epoch: the pages whose content differs from its beginning. In the first epoch every populated page.
    pub(super) fn close(&mut self, first: bool, rng: &mut Rng) -> Vec<PageSummary> {
        let mut before = std::mem::take(&mut self.before);
        self.touched.clear();
        if first {
            return self.populated.iter().map(|page| self.summary(page.0, None)).collect();
        }
        before.retain(|&(page, old)| self.content[page as usize] != old);
        before.sort_unstable_by_key(|&(page, _)| page);
        before.into_iter().map(|(page, old)| self.summary(page, delta(old, self.content[page as usize], rng))).collect()
    }

    fn summary(&self, page: u64, delta: Option<u16>) -> PageSummary {
        let content = self.content[page as usize];
        PageSummary { gfn: Self::gfn(page), content, compressed: self.compressed(content), delta }
    }

    /// Equal contents compress alike, so the size follows from the number: 1 in 8 is incompressible.
    fn compressed(&self, content: ContentId) -> u16 {
        if content.0 == 0 {
            return ZERO_COMPRESSED;
        }
        let mut state = self.seed ^ u64::from(content.0).rotate_left(32);
        let number = splitmix64(&mut state);
        if number.is_multiple_of(8) { 4096 } else { 300 + (number >> 8) as u16 % 3000 }
    }
}

/// Most rewritten pages differ in a few places from what they held; a quarter does not pay.
fn delta(old: ContentId, new: ContentId, rng: &mut Rng) -> Option<u16> {
    let pays = old.0 != 0 && new.0 != 0 && !rng.chance(250);
    pays.then(|| rng.within((16, 1200)) as u16)
}
