//! The memory under test, and beside it what it must hold.

use std::hint::black_box;

use crate::page::{Fault, Page};

const FIRST_VERSION: u32 = 1;

/// Something that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// A page holds something else.
    Page {
        /// Its number in the area.
        page: usize,
        /// The version that it should hold.
        expected: u64,
        /// What it holds.
        fault: Fault,
    },
    /// The expected versions do not add up to the number of writes: they lie in memory too, and part of them was lost.
    Shadow {
        /// Versions added up.
        sum: u64,
        /// What the sum should be.
        expected: u64,
    },
}

/// What was done and found since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Pages rewritten.
    pub(crate) writes: u64,
    /// Pages compared, those before a rewrite included.
    pub(crate) checked: u64,
    /// Errors found. A page counts once: it is written anew when it was found wrong.
    pub(crate) errors: u64,
}

/// Pages that carry their number and version, and the version that each one should have.
pub(crate) struct Area {
    pages: Vec<Page>,
    versions: Vec<u32>,
    /// What `versions` must add up to.
    version_sum: u64,
    /// The page that is checked next.
    next: usize,
    counts: Counts,
    found: Vec<Error>,
}

impl Area {
    /// Allocates and fills this many pages, at least one.
    #[must_use]
    pub(crate) fn new(pages: usize) -> Self {
        let pages = pages.max(1);
        let mut area = Self {
            pages: vec![Page::zeroed(); pages],
            versions: vec![FIRST_VERSION; pages],
            version_sum: pages as u64 * u64::from(FIRST_VERSION),
            next: 0,
            counts: Counts::default(),
            found: Vec::new(),
        };
        for (index, page) in area.pages.iter_mut().enumerate() {
            page.fill(index as u64, u64::from(FIRST_VERSION));
        }
        area
    }

    /// Pages in the area.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// What was done and found so far.
    #[must_use]
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The errors found since the last call.
    pub(crate) fn take_errors(&mut self) -> Vec<Error> {
        std::mem::take(&mut self.found)
    }

    /// Writes the next version of a page. The old one is checked first, or its loss would be covered up.
    pub(crate) fn rewrite(&mut self, page: usize) {
        self.check(page);
        self.write(page);
        self.counts.writes += 1;
    }

    /// Checks the next page in turn, and after the last one that the versions add up.
    pub(crate) fn check_next(&mut self) {
        self.check(self.next);
        self.next += 1;
        if self.next == self.pages.len() {
            self.next = 0;
            self.check_shadow();
        }
    }

    /// Checks everything once.
    pub(crate) fn check_all(&mut self) {
        self.next = 0;
        for _ in 0..self.pages.len() {
            self.check_next();
        }
    }

    fn write(&mut self, page: usize) {
        self.versions[page] += 1;
        self.version_sum += 1;
        self.pages[page].fill(page as u64, u64::from(self.versions[page]));
        // The compiler must not conclude what a later check will read.
        black_box(&mut self.pages[page]);
    }

    fn check(&mut self, page: usize) {
        let expected = u64::from(self.versions[page]);
        self.counts.checked += 1;
        if let Err(fault) = black_box(&self.pages[page]).check(page as u64, expected) {
            self.report(Error::Page { page, expected, fault });
            self.write(page);
        }
    }

    fn check_shadow(&mut self) {
        let sum = black_box(&self.versions).iter().map(|&version| u64::from(version)).sum();
        if sum != self.version_sum {
            self.report(Error::Shadow { sum, expected: self.version_sum });
            self.version_sum = sum;
        }
    }

    fn report(&mut self, error: Error) {
        self.counts.errors += 1;
        self.found.push(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An area of eight pages, each rewritten three times.
    fn area() -> Area {
        let mut area = Area::new(8);
        for page in (0..8).cycle().take(24) {
            area.rewrite(page);
        }
        area.check_all();
        assert_eq!(area.take_errors(), []);
        area
    }

    fn found(area: &mut Area) -> Vec<Error> {
        area.check_all();
        let errors = area.take_errors();
        area.check_all();
        assert_eq!(area.take_errors(), [], "an error is counted once");
        assert_eq!(area.counts().errors, errors.len() as u64);
        errors
    }

    #[test]
    fn counts_say_what_was_done() {
        assert_eq!(area().counts(), Counts { writes: 24, checked: 24 + 8, errors: 0 });
    }

    #[test]
    fn a_planted_stale_page_is_found() {
        let mut area = area();
        let old = area.pages[5].clone();
        area.rewrite(5);
        area.pages[5] = old;
        assert_eq!(found(&mut area), [Error::Page { page: 5, expected: 5, fault: Fault::Stale { version: 4 } }]);
    }

    #[test]
    fn a_planted_torn_page_is_found() {
        let mut area = area();
        let (page, expected) = (3, 4);
        area.pages[page].fill(page as u64, expected - 1);
        let old = area.pages[page].clone();
        area.pages[page].fill(page as u64, expected);
        area.pages[page].splice(&old, 40..64);
        assert_eq!(found(&mut area), [Error::Page { page, expected, fault: Fault::Torn { line: 40 } }]);
    }

    #[test]
    fn swapped_pages_are_found() {
        let mut area = area();
        area.pages.swap(2, 6);
        let fault = |page, held| Error::Page { page, expected: 4, fault: Fault::Foreign { page: held, version: 4 } };
        assert_eq!(found(&mut area), [fault(2, 6), fault(6, 2)]);
    }

    #[test]
    fn a_stale_page_is_found_before_it_is_rewritten() {
        let mut area = area();
        area.pages[1].fill(1, 3);
        area.rewrite(1);
        assert_eq!(area.take_errors(), [Error::Page { page: 1, expected: 4, fault: Fault::Stale { version: 3 } }]);
    }

    /// A page and its expected version lost together: neither contradicts the other.
    #[test]
    fn a_page_lost_together_with_its_version_is_found() {
        let mut area = area();
        area.pages[4].fill(4, 3);
        area.versions[4] = 3;
        assert_eq!(found(&mut area), [Error::Shadow { sum: 31, expected: 32 }]);
    }
}
