//! What the kernel remembers of a page.

use crate::{USER, WRITE};

/// What the kernel remembers of a page: 8 bytes, all zero for a page never seen.
///
/// ```text
///  63            32 31          8 7      0
/// +----------------+-------------+--------+
/// | last access    | count       | flags  |
/// +----------------+-------------+--------+
/// ```
/// *Last access* counts units of 2^20 ns (1.05 ms) since the start of tracking: 52 days. *Count* stops at its largest value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageWord(pub u64);

/// [`PageWord`] flag: the page was seen.
pub const SEEN: u64 = 1;
/// [`PageWord`] flag: it was written.
pub const DIRTY: u64 = 1 << 1;
/// [`PageWord`] flag: the kernel accessed it on behalf of the target.
pub const BY_KERNEL: u64 = 1 << 2;
/// [`PageWord`] flag: marked as aged out by user space. The next access clears it.
pub const AGED_OUT: u64 = 1 << 3;

const COUNT_SHIFT: u32 = 8;
const COUNT_MAX: u64 = (1 << 24) - 1;
const TIME_SHIFT: u32 = 32;
/// log2 of the nanoseconds in a unit of [`PageWord`] time.
pub const TIME_UNIT_SHIFT: u32 = 20;

impl PageWord {
    /// The word after one more access at `since_start` nanoseconds.
    #[must_use]
    #[inline(always)]
    pub fn touched(self, since_start: u64, kind: u8, origin: u8) -> PageWord {
        let count = (self.0 >> COUNT_SHIFT) & COUNT_MAX;
        let count = if count == COUNT_MAX { count } else { count + 1 };
        let mut flags = self.0 & (DIRTY | BY_KERNEL) | SEEN;
        if kind == WRITE {
            flags |= DIRTY;
        }
        if origin != USER {
            flags |= BY_KERNEL;
        }
        PageWord(((since_start >> TIME_UNIT_SHIFT) << TIME_SHIFT) | (count << COUNT_SHIFT) | flags)
    }

    /// True if the page was ever seen.
    #[must_use]
    pub fn is_seen(self) -> bool {
        self.0 & SEEN != 0
    }

    /// True if it was written.
    #[must_use]
    pub fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    /// True if user space marked it as aged out and it was not seen since.
    #[must_use]
    pub fn is_aged_out(self) -> bool {
        self.0 & AGED_OUT != 0
    }

    /// Accesses seen, up to 2^24 - 1.
    #[must_use]
    pub fn count(self) -> u32 {
        ((self.0 >> COUNT_SHIFT) & COUNT_MAX) as u32
    }

    /// Last access in nanoseconds since the start of tracking, rounded down to a unit.
    #[must_use]
    pub fn last_access(self) -> u64 {
        (self.0 >> TIME_SHIFT) << TIME_UNIT_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KERNEL, READ};

    #[test]
    fn a_page_word_keeps_time_count_and_flags_apart() {
        let word = PageWord::default().touched(5 << 20, WRITE, USER).touched(7 << 20, READ, KERNEL);
        assert_eq!((word.last_access(), word.count()), (7 << 20, 2));
        assert!(word.is_seen() && word.is_dirty() && word.0 & BY_KERNEL != 0 && !word.is_aged_out());
        let full = PageWord(COUNT_MAX << COUNT_SHIFT | AGED_OUT).touched(0, READ, USER);
        assert_eq!(full.count(), COUNT_MAX as u32, "the count stops instead of wrapping");
        assert!(!full.is_aged_out(), "an access clears the mark");
    }
}
