//! What each page holds, as far as the epochs so far told.

use std::collections::HashMap;

use pagesieve_core::{Gfn, MemSlot, PageBitmap};
use pagesieve_traces::{ContentId, Frame, PageSummary};

use super::pages::keep_only;

/// The content of pages, by the summaries of the epochs. A page that none of them names is a page of zeros.
#[derive(Debug, Default)]
pub(super) struct Content {
    known: HashMap<u64, (ContentId, u16)>,
    populated: PageBitmap,
    unseen: PageBitmap,
}

impl Content {
    /// The next epoch, and the slots from it on.
    pub(super) fn absorb(&mut self, frame: &Frame, slots: &[MemSlot]) {
        self.unseen.union_with(&frame.log.all());
        keep_only(&mut self.unseen, slots);
        if let Some(summaries) = &frame.summaries {
            self.known.extend(summaries.iter().map(|page| (page.gfn.0, (page.content, page.compressed))));
            self.unseen.clear();
        }
        // What holds no data reads as zeros, whether or not a summary says so.
        let mut dropped = std::mem::replace(&mut self.populated, frame.populated.clone());
        dropped.subtract(&frame.populated);
        dropped.iter().for_each(|gfn| _ = self.known.remove(&gfn.0));
    }

    /// Pages that could have changed since content was compared last.
    pub(super) fn unseen(&self) -> &PageBitmap {
        &self.unseen
    }

    /// A summary of every populated page whose content is known, as a baseline has it.
    pub(super) fn summaries(&self, populated: &PageBitmap) -> Vec<PageSummary> {
        populated.iter().filter_map(|gfn| self.summary(gfn)).collect()
    }

    fn summary(&self, gfn: Gfn) -> Option<PageSummary> {
        match self.known.get(&gfn.0) {
            Some(&(content, compressed)) => Some(PageSummary { gfn, content, compressed, delta: None }),
            None if self.unseen.contains(gfn) => None,
            None => Some(PageSummary { gfn, content: ContentId(0), compressed: 0, delta: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use pagesieve_core::{Backing, Hva};

    use super::*;

    const SLOT: MemSlot = MemSlot { base: Gfn(0), pages: 8, hva: Hva(0), backing: Backing::Shared, numa_node: None };

    fn set(pages: &[u64]) -> PageBitmap {
        let mut set = PageBitmap::new(8);
        pages.iter().for_each(|&page| _ = set.insert(Gfn(page)));
        set
    }

    fn frame(populated: &[u64], written: &[u64], content: Option<&[(u64, u32)]>) -> Frame {
        let summary =
            |&(page, content)| PageSummary { gfn: Gfn(page), content: ContentId(content), compressed: 9, delta: Some(4) };
        let mut frame = Frame { populated: set(populated), ..Frame::default() };
        frame.log.written = set(written);
        frame.summaries = content.map(|pages| pages.iter().map(summary).collect());
        frame
    }

    fn told(content: &Content, populated: &[u64]) -> Vec<(u64, u32)> {
        let summaries = content.summaries(&set(populated));
        assert!(summaries.iter().all(|page| page.delta.is_none()), "a baseline follows nothing");
        summaries.iter().map(|page| (page.gfn.0, page.content.0)).collect()
    }

    #[test]
    fn content_is_the_last_that_was_told() {
        let mut content = Content::default();
        content.absorb(&frame(&[1, 2, 3], &[], Some(&[(1, 5), (2, 6)])), &[SLOT]);
        content.absorb(&frame(&[1, 2, 3], &[2], Some(&[(2, 7)])), &[SLOT]);
        assert_eq!(told(&content, &[1, 2, 3]), [(1, 5), (2, 7), (3, 0)]);
    }

    #[test]
    fn a_page_that_lost_its_data_is_zero_when_it_comes_back() {
        let mut content = Content::default();
        content.absorb(&frame(&[1, 2], &[], Some(&[(1, 5), (2, 6)])), &[SLOT]);
        content.absorb(&frame(&[1], &[2], Some(&[])), &[SLOT]);
        content.absorb(&frame(&[1, 2], &[], Some(&[])), &[SLOT]);
        assert_eq!(told(&content, &[1, 2]), [(1, 5), (2, 0)]);
    }

    #[test]
    fn without_a_comparison_what_was_logged_stays_open() {
        let mut content = Content::default();
        content.absorb(&frame(&[1, 2], &[], Some(&[(1, 5), (2, 6)])), &[SLOT]);
        content.absorb(&frame(&[1, 2, 3, 4], &[2, 3], None), &[SLOT]);
        content.absorb(&frame(&[1, 2, 3, 4], &[1], None), &[SLOT]);
        assert_eq!(content.unseen(), &set(&[1, 2, 3]));
        assert_eq!(told(&content, &[1, 2, 3, 4]), [(1, 5), (2, 6), (4, 0)], "3 is new and nobody looked at it");
        content.absorb(&frame(&[1, 2, 3, 4], &[], Some(&[(3, 8)])), &[SLOT]);
        assert!(content.unseen().is_empty());
        content.absorb(&frame(&[1], &[7], None), &[MemSlot { pages: 4, ..SLOT }]);
        assert!(content.unseen().is_empty(), "7 lies in no slot any more");
    }
}
