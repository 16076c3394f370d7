//! The kernel's page table, mapped into this process: a query is one load.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::MapData;
use pagesieve_ebpf_abi::{AGED_OUT, PageWord};

/// One word of 8 bytes a page, by frame, written by the kernel program.
///
/// It answers the questions of the seed ("is this page unused?"), which say how recently a page was *seen*. They are no proof
/// that a page need not be sent: a page that faults no more is not seen either.
pub struct PageTable {
    words: NonNull<AtomicU64>,
    pages: usize,
}

// SAFETY: the mapping lives as long as the value and is only accessed atomically.
unsafe impl Send for PageTable {}
// SAFETY: as above.
unsafe impl Sync for PageTable {}

/// What is known of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// Last access, nanoseconds since the start of tracking.
    pub last_access: u64,
    /// Accesses seen (faults, not loads and stores).
    pub count: u32,
    /// True if it was written.
    pub dirty: bool,
    /// True if it was marked by [`PageTable::mark_aged_out`] and not seen since.
    pub aged_out: bool,
}

/// Counts over the first pages of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageStats {
    /// Pages looked at.
    pub total: u64,
    /// Pages that the aging rule calls unused.
    pub unused: u64,
    /// Pages seen written.
    pub dirty: u64,
}

/// The seed's rule: a page is unused if it was not seen within the threshold, or less often than the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgingRule {
    /// Nanoseconds after which a page counts as unused; the seed's default is 5 s.
    pub threshold: u64,
    /// Accesses below which it does; the seed's default is 1.
    pub min_access: u32,
}

impl Default for AgingRule {
    fn default() -> Self {
        Self { threshold: 5_000_000_000, min_access: 1 }
    }
}

impl AgingRule {
    fn says_unused(&self, word: PageWord, now: u64) -> bool {
        !word.is_seen()
            || word.is_aged_out()
            || word.count() < self.min_access
            || now.saturating_sub(word.last_access()) > self.threshold
    }
}

impl PageTable {
    pub(crate) fn map(map: &MapData, pages: u64) -> io::Result<Self> {
        let pages = pages as usize;
        let length = Self::length(pages);
        let fd = map.fd().as_fd().as_raw_fd();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: maps a BPF array of `pages` words at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, fd, 0) };
        match NonNull::new(at.cast()) {
            Some(words) if at != libc::MAP_FAILED => Ok(Self { words, pages }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn length(pages: usize) -> usize {
        (pages * size_of::<u64>()).next_multiple_of(4096)
    }

    fn word(&self, gfn: u64) -> Option<&AtomicU64> {
        // SAFETY: the index is checked against the length of the mapping.
        ((gfn as usize) < self.pages).then(|| unsafe { self.words.add(gfn as usize).as_ref() })
    }

    /// The page's word. One load: a few nanoseconds, more when it is not in the cache. `None` beyond the table.
    #[must_use]
    pub fn get(&self, gfn: u64) -> Option<PageWord> {
        self.word(gfn).map(|word| PageWord(word.load(Ordering::Relaxed)))
    }

    /// True if the rule calls the page unused at `now` (nanoseconds since the start of tracking). One load.
    #[must_use]
    pub fn is_page_unused(&self, gfn: u64, now: u64, rule: &AgingRule) -> bool {
        self.get(gfn).is_none_or(|word| rule.says_unused(word, now))
    }

    /// What is known of a page, or `None` if it was never seen. One load.
    #[must_use]
    pub fn page_info(&self, gfn: u64) -> Option<PageInfo> {
        self.get(gfn).filter(|word| word.is_seen()).map(|word| PageInfo {
            last_access: word.last_access(),
            count: word.count(),
            dirty: word.is_dirty(),
            aged_out: word.is_aged_out(),
        })
    }

    /// Counts over frames `0..pages`. One load a page: about 1 ms a GiB of guest memory.
    #[must_use]
    pub fn stats(&self, pages: u64, now: u64, rule: &AgingRule) -> PageStats {
        let mut stats = PageStats::default();
        for word in (0..pages).map_while(|gfn| self.get(gfn)) {
            stats.total += 1;
            stats.unused += u64::from(rule.says_unused(word, now));
            stats.dirty += u64::from(word.is_dirty());
        }
        stats
    }

    /// Marks the pages that the rule calls unused now, so that they stay so until they are seen again. Returns how many were
    /// marked. One load a page, one exchange a mark; a page seen meanwhile is left alone.
    pub fn mark_aged_out(&self, pages: u64, now: u64, rule: &AgingRule) -> u64 {
        let mut marked = 0;
        for gfn in 0..pages.min(self.pages as u64) {
            let Some(word) = self.word(gfn) else { break };
            let value = word.load(Ordering::Relaxed);
            let page = PageWord(value);
            if page.is_seen() && !page.is_aged_out() && rule.says_unused(page, now) {
                let exchange = word.compare_exchange(value, value | AGED_OUT, Ordering::Relaxed, Ordering::Relaxed);
                marked += u64::from(exchange.is_ok());
            }
        }
        marked
    }
}

impl Drop for PageTable {
    fn drop(&mut self) {
        // SAFETY: unmaps what `map` mapped; no reference into it outlives `self`.
        unsafe { libc::munmap(self.words.as_ptr().cast(), Self::length(self.pages)) };
    }
}
