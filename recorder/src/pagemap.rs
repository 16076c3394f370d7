//! `PAGEMAP_SCAN` (Linux 6.7): the kernel's own record of which pages were written.
//!
//! A scan with `Scan::written_and_rearm` returns the pages written since they were last armed and write-protects them again
//! in one atomic step per page, so no write falls between the two. It says nothing about discards of shared memory, writes
//! through a file descriptor, or writes of another process's mapping; the rest of this crate is about those.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use pagesieve_core::{Hva, PAGE_SIZE};

const IOCTL_PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;

const IS_WRITTEN: u64 = 1 << 1;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_PFNZERO: u64 = 1 << 5;
const IS_HUGE: u64 = 1 << 6;

const WP_MATCHING: u64 = 1;
const CHECK_WPASYNC: u64 = 2;

/// Regions returned by one call. 96 KiB of buffer; fewer calls do not pay.
const REGIONS: usize = 4096;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
#[derive(Default)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// Pages that share their state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: Hva,
    pub(crate) end: Hva,
    /// May hold other bytes than zeros: mapped or swapped out, and not the shared page of zeros. Where the machine has swap
    /// space, pages that were armed and never touched may count as well.
    pub(crate) holds_data: bool,
    /// Mapped now: the next access takes no fault unless it is armed.
    pub(crate) present: bool,
    /// Mapped by a huge entry.
    pub(crate) huge: bool,
}

/// The pagemap of one process. It stays bound to the address space it was opened on: after an `exec` every scan fails.
pub(crate) struct Scan {
    pagemap: File,
    regions: Vec<PageRegion>,
}

impl Scan {
    /// Opens `/proc/PID/pagemap`.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        let pagemap = File::open(format!("/proc/{pid}/pagemap"))?;
        Ok(Self { pagemap, regions: vec![PageRegion::default(); REGIONS] })
    }

    /// Calls `found` with every range of pages written since they were armed, and arms them again. Ranges may repeat and come
    /// in any order: they are a set.
    ///
    /// # Errors
    /// `EPERM` if a part of the range is not registered for asynchronous write protection; `ESRCH` if the address space is gone.
    pub(crate) fn written_and_rearm(&mut self, range: Range<u64>, mut found: impl FnMut(Range<u64>)) -> io::Result<()> {
        self.walk(range, written(WP_MATCHING | CHECK_WPASYNC), |region| found(region.start..region.end))
    }

    /// Calls `found` with every range of pages written since they were armed, and leaves them as they are.
    ///
    /// # Errors
    /// As for [`Scan::written_and_rearm`].
    pub(crate) fn written(&mut self, range: Range<u64>, mut found: impl FnMut(Range<u64>)) -> io::Result<()> {
        self.walk(range, written(CHECK_WPASYNC), |region| found(region.start..region.end))
    }

    /// Calls `found` with the state of all mapped or swapped pages of a range.
    pub(crate) fn mapped(&mut self, range: Range<u64>, mut found: impl FnMut(Extent)) -> io::Result<()> {
        let arg = ScanArg {
            category_anyof_mask: IS_PRESENT | IS_SWAPPED,
            return_mask: IS_PRESENT | IS_SWAPPED | IS_PFNZERO | IS_HUGE,
            ..ScanArg::default()
        };
        // Where there is swap space, armed pages that were never touched look like swapped ones: the mark that arms them is
        // reported so.
        let can_swap = has_swap_space();
        self.walk(range, arg, |region| {
            let present = region.categories & IS_PRESENT != 0;
            found(Extent {
                start: Hva(region.start),
                end: Hva(region.end),
                holds_data: if present { region.categories & IS_PFNZERO == 0 } else { can_swap },
                present,
                huge: region.categories & IS_HUGE != 0,
            });
        })
    }

    fn walk(&mut self, range: Range<u64>, mut arg: ScanArg, mut found: impl FnMut(&PageRegion)) -> io::Result<()> {
        arg.size = size_of::<ScanArg>() as u64;
        arg.vec = self.regions.as_mut_ptr() as u64;
        arg.vec_len = self.regions.len() as u64;
        arg.start = range.start;
        arg.end = range.end;
        while arg.start < arg.end {
            // SAFETY: `arg` has the layout the kernel expects and says so in `size`; `vec` points at `vec_len` regions that
            // live and are not otherwise borrowed for the length of the call.
            let filled = unsafe { libc::ioctl(self.pagemap.as_raw_fd(), IOCTL_PAGEMAP_SCAN, &raw mut arg) };
            if filled < 0 {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            self.regions[..filled as usize].iter().for_each(&mut found);
            if arg.walk_end <= arg.start {
                // A walk that makes no headway would never end. The kernel reports this for an address space that is gone.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            arg.start = arg.walk_end;
        }
        Ok(())
    }
}

/// Asking for this one category and nothing else takes the kernel's fast path.
fn written(flags: u64) -> ScanArg {
    ScanArg { flags, category_mask: IS_WRITTEN, return_mask: IS_WRITTEN, ..ScanArg::default() }
}

/// True unless it is certain that nothing can be swapped out. The first line of `/proc/swaps` is a heading.
pub(crate) fn has_swap_space() -> bool {
    std::fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps.lines().count() > 1)
}

/// True if this kernel knows `PAGEMAP_SCAN`.
pub fn is_supported() -> bool {
    try_scan().is_ok()
}

/// Scans a page of our own.
pub(crate) fn try_scan() -> io::Result<()> {
    let probe = [0u8; PAGE_SIZE as usize];
    let at = probe.as_ptr() as u64 & !(PAGE_SIZE - 1);
    Scan::open(std::process::id())?.mapped(at..at + PAGE_SIZE, |_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touched_page_holds_data_and_an_untouched_one_does_not() {
        if !is_supported() {
            pagesieve_ebpf::testing::skipped("pagemap", "this kernel has no PAGEMAP_SCAN");
            return;
        }
        let mut memory = crate::testing::Memory::anonymous(16);
        memory.page_mut(3)[0] = 1;
        let mut data = Vec::new();
        let mut scan = Scan::open(std::process::id()).unwrap();
        scan.mapped(memory.range(), |extent| {
            if extent.holds_data {
                data.push(((extent.start.0 - memory.range().start) / PAGE_SIZE, (extent.end.0 - extent.start.0) / PAGE_SIZE));
            }
        })
        .unwrap();
        assert_eq!(data, [(3, 1)]);
    }
}
