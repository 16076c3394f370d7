//! What a page carries, and what is wrong with one that carries something else.

use std::fmt;

/// Cache lines of a page. Each one carries the whole pattern, so that even one lost line shows.
pub(crate) const LINES: usize = 64;
const WORDS: usize = 8;

type Line = [u64; WORDS];

/// One page of 4 KiB, aligned, so that it is one page of the machine too.
#[repr(C, align(4096))]
#[derive(Clone)]
pub(crate) struct Page {
    lines: [Line; LINES],
}

/// Why a page does not hold what it should. Versions begin at 1 and grow by one with each write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// All of it is this page at another version: a write was lost, or one came twice.
    Stale {
        /// The version that it holds.
        version: u64,
    },
    /// Its lines are of more than one page or version: a write came through in part.
    Torn {
        /// The first line that is not as expected.
        line: usize,
    },
    /// All of it is another page.
    Foreign {
        /// The page that it holds.
        page: u64,
        /// That page's version.
        version: u64,
    },
    /// All of it is zero.
    Zero,
    /// A line that nobody wrote.
    Damaged {
        /// The first such line.
        line: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { version } => write!(f, "stale: holds version {version}"),
            Self::Torn { line } => write!(f, "torn: lines of several versions, the first wrong one is {line}"),
            Self::Foreign { page, version } => write!(f, "foreign: holds page {page} version {version}"),
            Self::Zero => write!(f, "zero"),
            Self::Damaged { line } => write!(f, "damaged: nobody wrote line {line}"),
        }
    }
}

impl Page {
    /// A page of zeros.
    #[must_use]
    pub(crate) const fn zeroed() -> Self {
        Self { lines: [[0; WORDS]; LINES] }
    }

    /// Writes the pattern of this page and version into every line.
    pub(crate) fn fill(&mut self, page: u64, version: u64) {
        for (index, line) in self.lines.iter_mut().enumerate() {
            *line = pattern(page, version, index);
        }
    }

    /// Compares every byte with the pattern of this page and version.
    ///
    /// # Errors
    /// What the page holds instead.
    pub(crate) fn check(&self, page: u64, version: u64) -> Result<(), Fault> {
        let wrong = self.lines.iter().enumerate().position(|(index, line)| *line != pattern(page, version, index));
        wrong.map_or(Ok(()), |first| Err(self.diagnose(page, first)))
    }

    fn diagnose(&self, page: u64, first_wrong: usize) -> Fault {
        if self.lines.iter().all(|line| *line == [0; WORDS]) {
            return Fault::Zero;
        }
        if let Some(line) = (0..LINES).find(|&index| !is_pattern(&self.lines[index], index)) {
            return Fault::Damaged { line };
        }
        let [held, version, ..] = self.lines[0];
        if self.lines.iter().any(|line| line[..2] != [held, version]) {
            return Fault::Torn { line: first_wrong };
        }
        if held == page { Fault::Stale { version } } else { Fault::Foreign { page: held, version } }
    }
}

/// The content of one line: who it is, at which version, a seal over both, and a body that does not change with the version.
/// Half of a line stays the same from version to version, as in a record of which some fields are updated.
fn pattern(page: u64, version: u64, line: usize) -> Line {
    let line = line as u64;
    let body = scramble(page ^ (line << 48));
    let seal = scramble(body ^ version);
    [page, version, seal, !seal, line, page + line, body, body]
}

fn is_pattern(line: &Line, index: usize) -> bool {
    *line == pattern(line[0], line[1], index)
}

/// Spreads every bit of the input over all bits (the finalizer of `splitmix64`).
pub(crate) fn scramble(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
impl Page {
    /// Replaces some lines by those of another page, as a write that came through in part does.
    pub(crate) fn splice(&mut self, other: &Self, lines: std::ops::Range<usize>) {
        self.lines[lines.clone()].copy_from_slice(&other.lines[lines]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(page: u64, version: u64) -> Page {
        let mut memory = Page::zeroed();
        memory.fill(page, version);
        memory
    }

    #[test]
    fn the_pattern_is_recognised() {
        assert_eq!(filled(7, 3).check(7, 3), Ok(()));
    }

    #[test]
    fn another_version_or_page_is_named() {
        assert_eq!(filled(7, 2).check(7, 3), Err(Fault::Stale { version: 2 }));
        assert_eq!(filled(8, 3).check(7, 3), Err(Fault::Foreign { page: 8, version: 3 }));
        assert_eq!(Page::zeroed().check(7, 3), Err(Fault::Zero));
    }

    #[test]
    fn one_line_of_the_version_before_is_torn_wherever_it_is() {
        let old = filled(7, 2);
        for line in 0..LINES {
            let mut page = filled(7, 3);
            page.lines[line] = old.lines[line];
            assert_eq!(page.check(7, 3), Err(Fault::Torn { line }));
        }
    }

    #[test]
    fn a_changed_bit_is_damage_in_every_word() {
        for word in 0..LINES * WORDS {
            for bit in [0, 17, 63] {
                let mut page = filled(7, 3);
                page.lines[word / WORDS][word % WORDS] ^= 1 << bit;
                assert_eq!(page.check(7, 3), Err(Fault::Damaged { line: word / WORDS }), "bit {bit} of word {word}");
            }
        }
    }

    #[test]
    fn lines_in_the_wrong_place_are_damage() {
        let mut page = filled(7, 3);
        page.lines.swap(4, 5);
        assert_eq!(page.check(7, 3), Err(Fault::Damaged { line: 4 }));
    }
}
