//! Memory to observe in tests of this crate.

use std::ops::Range;

/// An anonymous mapping of our own, without huge pages.
pub(crate) struct Memory {
    at: *mut u8,
    pages: usize,
}

impl Memory {
    pub(crate) fn anonymous(pages: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no other memory.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), pages * 4096, protection, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(at, pages * 4096, libc::MADV_NOHUGEPAGE) };
        Self { at: at.cast(), pages }
    }

    pub(crate) fn range(&self) -> Range<u64> {
        self.at as u64..self.at as u64 + self.pages as u64 * 4096
    }

    pub(crate) fn page_mut(&mut self, page: usize) -> &mut [u8] {
        assert!(page < self.pages);
        // SAFETY: the page lies in our mapping, which lives as long as `self`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(page * 4096), 4096) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.at.cast(), self.pages * 4096) };
    }
}
