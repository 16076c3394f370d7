//! A set of guest frames, one bit each.

use alloc::vec::Vec;
use core::ops::Range;

use crate::Gfn;

/// A set of frames below a fixed end. Set operations work on whole words; frames at or beyond the end are never members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageBitmap {
    words: Vec<u64>,
    end: u64,
}

impl PageBitmap {
    /// An empty set over frames `0..end`.
    #[must_use]
    pub fn new(end: u64) -> Self {
        Self { words: alloc::vec![0; end.div_ceil(64) as usize], end }
    }

    /// One past the highest frame that can be a member.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Raises the end; frames already in the set stay. A lower end is ignored.
    pub fn grow(&mut self, end: u64) {
        if end > self.end {
            self.words.resize(end.div_ceil(64) as usize, 0);
            self.end = end;
        }
    }

    /// Lowers the end; frames at or beyond it are removed. A higher end is ignored.
    pub fn shrink(&mut self, end: u64) {
        if end < self.end {
            self.remove_range(end..self.end);
            self.words.truncate(end.div_ceil(64) as usize);
            self.end = end;
        }
    }

    /// Adds a frame. Returns false if it was a member or lies beyond the end.
    pub fn insert(&mut self, gfn: Gfn) -> bool {
        if gfn.0 >= self.end {
            return false;
        }
        let word = &mut self.words[(gfn.0 / 64) as usize];
        let bit = 1 << (gfn.0 % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes a frame. Returns true if it was a member.
    pub fn remove(&mut self, gfn: Gfn) -> bool {
        if gfn.0 >= self.end {
            return false;
        }
        let word = &mut self.words[(gfn.0 / 64) as usize];
        let bit = 1 << (gfn.0 % 64);
        let was = *word & bit != 0;
        *word &= !bit;
        was
    }

    /// True if the frame is a member.
    #[must_use]
    pub fn contains(&self, gfn: Gfn) -> bool {
        gfn.0 < self.end && self.words[(gfn.0 / 64) as usize] & (1 << (gfn.0 % 64)) != 0
    }

    /// Adds all frames of a range; what lies beyond the end is left out.
    pub fn insert_range(&mut self, range: Range<u64>) {
        self.for_words(range, |word, mask| *word |= mask);
    }

    /// Removes all frames of a range.
    pub fn remove_range(&mut self, range: Range<u64>) {
        self.for_words(range, |word, mask| *word &= !mask);
    }

    fn for_words(&mut self, range: Range<u64>, mut apply: impl FnMut(&mut u64, u64)) {
        for (at, mask) in masks(range, self.end) {
            apply(&mut self.words[at], mask);
        }
    }

    /// True if every frame of the range is a member; true for an empty range.
    #[must_use]
    pub fn contains_range(&self, range: Range<u64>) -> bool {
        range.is_empty() || (range.end <= self.end && masks(range, self.end).all(|(at, mask)| self.words[at] & mask == mask))
    }

    /// True if at least one frame of the range is a member.
    #[must_use]
    pub fn meets_range(&self, range: Range<u64>) -> bool {
        masks(range, self.end).any(|(at, mask)| self.words[at] & mask != 0)
    }

    /// Removes every frame.
    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    /// Number of members.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Number of members in a range.
    #[must_use]
    pub fn count_range(&self, range: Range<u64>) -> u64 {
        masks(range, self.end).map(|(at, mask)| u64::from((self.words[at] & mask).count_ones())).sum()
    }

    /// True if there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Adds the members of `other`; the end grows to the higher of the two.
    pub fn union_with(&mut self, other: &PageBitmap) {
        self.grow(other.end);
        for (word, &theirs) in self.words.iter_mut().zip(&other.words) {
            *word |= theirs;
        }
    }

    /// Keeps only the members that `other` holds too.
    pub fn intersect_with(&mut self, other: &PageBitmap) {
        for (at, word) in self.words.iter_mut().enumerate() {
            *word &= other.words.get(at).copied().unwrap_or(0);
        }
    }

    /// Removes the members of `other`.
    pub fn subtract(&mut self, other: &PageBitmap) {
        for (word, &theirs) in self.words.iter_mut().zip(&other.words) {
            *word &= !theirs;
        }
    }

    /// Replaces the bits of a word that `mask` names by those of `bits`.
    pub(crate) fn set_word(&mut self, at: usize, mask: u64, bits: u64) {
        self.words[at] = self.words[at] & !mask | bits & mask;
    }

    /// Adds to each word the bits that `more` gives for its number.
    pub(crate) fn merge(&mut self, more: impl Fn(usize) -> u64) {
        for (at, word) in self.words.iter_mut().enumerate() {
            *word |= more(at);
        }
    }

    /// Changes three sets of the same length at once, word by word: `apply` gets their words and the bits that lie in the range.
    pub(crate) fn zip3(
        &mut self,
        second: &mut Self,
        third: &mut Self,
        range: Range<u64>,
        mut apply: impl FnMut([&mut u64; 3], u64),
    ) {
        for (at, mask) in masks(range, self.end) {
            apply([&mut self.words[at], &mut second.words[at], &mut third.words[at]], mask);
        }
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Gfn> + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            core::iter::successors((word != 0).then_some(word), |&rest| {
                let rest = rest & (rest - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |rest| Gfn(at as u64 * 64 + u64::from(rest.trailing_zeros())))
        })
    }

    /// The members as maximal ranges of frames in ascending order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let start = self.next_with(at, true)?;
            let end = self.next_with(start, false).unwrap_or(self.end);
            at = end;
            Some(start..end)
        })
    }

    /// The first frame at or after `from` that is (or is not) a member.
    fn next_with(&self, from: u64, member: bool) -> Option<u64> {
        let mut at = from;
        while at < self.end {
            let word = self.words[(at / 64) as usize];
            let seen = (if member { word } else { !word }) >> (at % 64);
            if seen != 0 {
                return Some(at + u64::from(seen.trailing_zeros())).filter(|&found| found < self.end);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// The words, lowest frame in the lowest bit of the first.
    #[must_use]
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

/// The words that a range of frames below `end` lies in, each with the bits that belong to the range.
pub(crate) fn masks(range: Range<u64>, end: u64) -> impl Iterator<Item = (usize, u64)> {
    let end = range.end.min(end);
    let mut at = range.start;
    core::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let stop = end.min((at / 64 + 1) * 64);
        let mask = (u64::MAX >> (64 - (stop - at))) << (at % 64);
        let word = (at / 64) as usize;
        at = stop;
        Some((word, mask))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_about_ranges_cross_words() {
        let mut set = PageBitmap::new(200);
        set.insert_range(60..140);
        assert!(set.contains_range(60..140) && !set.contains_range(59..140) && !set.contains_range(60..141));
        assert!(set.contains_range(7..7) && set.contains_range(500..500), "an empty range asks for nothing");
        assert!(set.meets_range(0..61) && set.meets_range(139..500));
        assert!(!set.meets_range(0..60) && !set.meets_range(140..500) && !set.meets_range(70..70));
        set.insert_range(0..200);
        assert!(!set.contains_range(0..201), "frames beyond the end are no members");
    }

    #[test]
    fn a_lower_end_cuts_and_a_higher_one_brings_nothing_back() {
        let mut set = PageBitmap::new(200);
        set.insert_range(60..140);
        set.shrink(130);
        assert_eq!((set.count(), set.end(), set.words().len()), (70, 130, 3));
        set.shrink(500);
        set.grow(200);
        assert_eq!((set.count(), set.end()), (70, 200));
        set.shrink(64);
        assert_eq!((set.count(), set.words().len()), (4, 1));
    }

    #[test]
    fn ranges_meet_word_borders_and_the_end() {
        let mut set = PageBitmap::new(130);
        set.insert_range(60..70);
        set.insert_range(127..500);
        assert_eq!(set.count(), 13);
        assert_eq!(set.ranges().collect::<Vec<_>>(), [60..70, 127..130]);
        assert_eq!(set.iter().count(), 13);
        assert_eq!(set.count_range(65..128), 6);
        set.remove_range(0..64);
        assert_eq!(set.ranges().next(), Some(64..70));
        assert!(!set.insert(Gfn(130)), "a frame beyond the end is no member");
        assert!(set.remove(Gfn(129)) && !set.contains(Gfn(129)));
    }

    #[test]
    fn set_operations_take_sets_of_other_lengths() {
        let mut small = PageBitmap::new(10);
        small.insert(Gfn(3));
        let mut large = PageBitmap::new(200);
        large.insert_range(3..5);
        large.insert(Gfn(199));
        let mut union = small.clone();
        union.union_with(&large);
        assert_eq!(union.iter().map(|gfn| gfn.0).collect::<Vec<_>>(), [3, 4, 199]);
        large.intersect_with(&small);
        assert_eq!(large.count(), 1);
        union.subtract(&small);
        assert_eq!(union.count(), 2);
    }
}
