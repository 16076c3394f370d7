//! Soft-dirty bits: `echo 4 > /proc/PID/clear_refs` takes the mark from every page of a process and write-protects it, and a write
//! brings the mark back, as bit 55 of `/proc/PID/pagemap`.
//!
//! Marks are read and cleared in two steps, and a write between the two would be lost. So the target stands still from the first
//! page read until all marks are cleared. What else differs from write protection, and what is done about it:
//!
//! - Clearing is for the whole process. Whoever else clears marks of the same process takes ours.
//! - A new mapping is marked as a whole; so is a mapping to which new memory was joined.
//! - A mark is a part of the page-table entry and goes away with it. An anonymous page whose entry vanished is a hole or the page
//!   of zeros, which is noticed as a hole. A shared page may come back with its data and without its mark: see
//!   [`WriteLog::forgets_dropped_mappings`].
//! - Merging equal pages (KSM) makes new entries without a mark. Such pages count as written for as long as they are merged.
//! - Huge pages of hugetlbfs have no marks. They are refused.
//! - Only root may see by its frame which page is the page of zeros. For others every page that several may share counts as
//!   written.

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use pagesieve_core::{Hva, PAGE_SIZE};

use super::WriteLog;
use super::frames::Frames;
use crate::error::RecordError;
use crate::pagemap::Extent;
use crate::ptrace::Stopped;
use crate::target::{Target, no_access};
use crate::{arming, maps};

const SOFT_DIRTY: u64 = 1 << 55;
const EXCLUSIVE: u64 = 1 << 56;
const SHARED: u64 = 1 << 61;
const SWAPPED: u64 = 1 << 62;
const PRESENT: u64 = 1 << 63;
/// The frame number of a present page; zero for those who may not see it.
const FRAME: u64 = (1 << 55) - 1;

/// Pages read at once: 256 KiB of words. A multiple of a huge page.
const CHUNK: u64 = 32 * 1024;
const HUGE_PAGES: u64 = 512;
/// How often to try whether pages are marked.
const TRIES: u8 = 20;

/// The marks of one process.
pub(super) struct SoftDirty {
    pid: u32,
    pagemap: Pagemap,
    frames: Frames,
    /// Ranges that have no marks.
    refused: Vec<Range<u64>>,
}

impl SoftDirty {
    /// Waits until a command that we started says that it is ready, and opens its pagemap.
    pub(super) fn open(target: &Target) -> Result<Self, RecordError> {
        let pid = target.pid;
        if let Some(socket) = &target.socket {
            arming::wait_until_ready(socket, pid);
        }
        let pagemap = Pagemap::open(pid).map_err(|error| no_access(pid, error))?;
        Ok(Self { pid, pagemap, frames: Frames::open(), refused: Vec::new() })
    }
}

impl WriteLog for SoftDirty {
    fn name(&self) -> String {
        "soft-dirty".to_owned()
    }

    fn needs_stop(&self) -> bool {
        true
    }

    fn forgets_dropped_mappings(&self) -> bool {
        true
    }

    fn take(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.peek(range, found)
    }

    fn peek(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        if self.refused.iter().any(|refused| refused.start < range.end && range.start < refused.end) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        self.frames.refresh();
        let frames = &self.frames;
        self.pagemap.read(range, |start, words| {
            let mut at = start;
            for run in words.chunk_by(|&a, &b| may_be_written(a, frames) == may_be_written(b, frames)) {
                let end = at + run.len() as u64 * PAGE_SIZE;
                if may_be_written(run[0], frames) {
                    found(at..end);
                }
                at = end;
            }
        })
    }

    fn add(&mut self, range: Range<u64>) {
        self.refused.retain(|refused| refused.start >= range.end || range.start >= refused.end);
        if maps::is_hugetlb(self.pid, &range) {
            self.refused.push(range);
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        clear(&self.pid.to_string())
    }

    fn mapped(&mut self, range: Range<u64>, found: &mut dyn FnMut(Extent)) -> io::Result<()> {
        let frames = &self.frames;
        self.pagemap.read(range, |start, words| {
            let mut at = start;
            for part in huge_parts(start, words) {
                let huge = is_huge(part, frames);
                for run in part.chunk_by(|&a, &b| state(a, frames) == state(b, frames)) {
                    let end = at + run.len() as u64 * PAGE_SIZE;
                    let (present, holds_data) = state(run[0], frames);
                    if present || holds_data {
                        found(Extent { start: Hva(at), end: Hva(end), holds_data, present, huge });
                    }
                    at = end;
                }
            }
        })
    }

    fn follow(&mut self, _stopped: Option<&mut Stopped>) -> Result<(), RecordError> {
        self.refused.clear();
        self.pagemap = Pagemap::open(self.pid).map_err(|error| no_access(self.pid, error))?;
        Ok(())
    }
}

/// True if the page was written, or if its mark may have gone with an entry that was replaced.
fn may_be_written(word: u64, frames: &Frames) -> bool {
    if word & SOFT_DIRTY != 0 {
        return true;
    }
    if word & PRESENT == 0 || word & SHARED != 0 {
        return false;
    }
    match word & FRAME {
        frame if frames.can_tell(frame) => frames.is_merged(frame),
        _ => word & EXCLUSIVE == 0 || frames.may_be_merged(),
    }
}

/// Whether a page is mapped, and whether it may hold other bytes than zeros.
fn state(word: u64, frames: &Frames) -> (bool, bool) {
    if word & PRESENT == 0 {
        return (false, word & SWAPPED != 0);
    }
    // The page of zeros belongs to nobody.
    let is_zero = word & (EXCLUSIVE | SHARED) == 0 && frames.is_zero(word & FRAME);
    (true, !is_zero)
}

/// True if these are the frames of a whole huge page in order, which is then most likely mapped by one entry.
fn is_huge(words: &[u64], frames: &Frames) -> bool {
    let Some(first) = words.first().map(|word| word & FRAME).filter(|_| words.len() as u64 == HUGE_PAGES) else { return false };
    let follows = |(frame, word): (u64, &u64)| word & PRESENT != 0 && word & FRAME == frame;
    first != 0 && first.is_multiple_of(HUGE_PAGES) && (first..).zip(words).all(follows) && frames.is_huge(first)
}

/// Cuts words where a huge page could begin.
fn huge_parts(start: u64, words: &[u64]) -> impl Iterator<Item = &[u64]> {
    let lead = (start / PAGE_SIZE).next_multiple_of(HUGE_PAGES) - start / PAGE_SIZE;
    let (lead, rest) = words.split_at((lead as usize).min(words.len()));
    std::iter::once(lead).chain(rest.chunks(HUGE_PAGES as usize))
}

/// `/proc/PID/pagemap`: a word for each page. It stays bound to the address space it was opened on.
struct Pagemap {
    file: File,
    bytes: Vec<u8>,
    words: Vec<u64>,
}

impl Pagemap {
    fn open(pid: u32) -> io::Result<Self> {
        let file = File::open(format!("/proc/{pid}/pagemap"))?;
        Ok(Self { file, bytes: Vec::new(), words: Vec::new() })
    }

    /// Calls `found` with the address and the words of one piece of the range after the other. Pieces begin at a huge page, but
    /// for the first.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone: the file is empty then.
    fn read(&mut self, range: Range<u64>, mut found: impl FnMut(u64, &[u64])) -> io::Result<()> {
        const WORD: u64 = size_of::<u64>() as u64;
        let (mut page, last) = (range.start / PAGE_SIZE, range.end.div_ceil(PAGE_SIZE));
        while page < last {
            let end = (page + 1).next_multiple_of(CHUNK).min(last);
            self.bytes.resize(((end - page) * WORD) as usize, 0);
            let got = self.file.read_at(&mut self.bytes, page * WORD)?;
            let pages = got as u64 / WORD;
            if pages == 0 {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            let words = self.bytes[..(pages * WORD) as usize].chunks_exact(WORD as usize);
            self.words.clear();
            self.words.extend(words.map(|word| word.try_into().map_or(0, u64::from_ne_bytes)));
            found(page * PAGE_SIZE, &self.words);
            page += pages;
        }
        Ok(())
    }
}

/// Takes the marks of a process and write-protects its pages.
fn clear(process: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(format!("/proc/{process}/clear_refs"))?.write_all(b"4\n")
}

/// Tries on a page of our own whether this kernel marks pages.
///
/// # Errors
/// What is missing.
pub(crate) fn try_marks() -> io::Result<()> {
    let mut probe = vec![0_u8; 2 * PAGE_SIZE as usize];
    let inside = probe.as_ptr().align_offset(PAGE_SIZE as usize);
    let at = probe.as_ptr() as u64 + inside as u64;
    let mut pagemap = Pagemap::open(std::process::id())?;
    let mut is_marked = || {
        let mut marked = false;
        pagemap.read(at..at + PAGE_SIZE, |_, words| marked = words.iter().all(|word| word & SOFT_DIRTY != 0)).map(|()| marked)
    };
    // Our own allocations may mark the whole heap at any time, so one try says little.
    for value in 1..=TRIES {
        clear("self")?;
        let cleared = !is_marked()?;
        black_box(&mut probe)[inside] = value;
        if cleared && is_marked()? {
            return Ok(());
        }
    }
    Err(io::Error::other("this kernel does not mark written pages"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_whose_frame_is_hidden_counts_as_written_if_it_may_be_the_page_of_zeros() {
        let frames = Frames::blind();
        let written = |word| may_be_written(word, &frames);
        assert!(written(PRESENT | EXCLUSIVE | SOFT_DIRTY) && written(SOFT_DIRTY), "a mark is a mark, mapped or not");
        assert!(written(PRESENT), "it could have been dropped and read again");
        assert!(!written(PRESENT | EXCLUSIVE) && !written(SWAPPED | EXCLUSIVE), "a page of one process holds its data");
        assert!(!written(PRESENT | SHARED) && !written(0));
        assert!(written(PRESENT | 5), "without /proc/kpageflags the frame says nothing");
    }

    #[test]
    fn what_is_not_certainly_zero_holds_data() {
        let frames = Frames::blind();
        assert_eq!(state(PRESENT, &frames), (true, true));
        assert_eq!(state(SWAPPED, &frames), (false, true));
        assert_eq!(state(SOFT_DIRTY, &frames), (false, false), "a new mapping is marked, holes and all");
    }

    #[test]
    fn words_are_cut_where_a_huge_page_begins() {
        let words = [0; 1200];
        let lengths = |first_page: u64| huge_parts(first_page * PAGE_SIZE, &words).map(<[u64]>::len).collect::<Vec<_>>();
        assert_eq!(lengths(0), [0, 512, 512, 176]);
        assert_eq!(lengths(500), [12, 512, 512, 164]);
        let short = [0; 3];
        assert_eq!(huge_parts(PAGE_SIZE, &short).map(<[u64]>::len).sum::<usize>(), 3);
    }

    #[test]
    fn a_write_is_marked_and_clearing_takes_the_mark() {
        if let Err(error) = try_marks() {
            // Newer kernels have no need of it, so this is no failure even where nothing may be skipped.
            if !crate::pagemap::is_supported() {
                pagesieve_ebpf::testing::skipped("a_write_is_marked_and_clearing_takes_the_mark", &error.to_string());
            }
            return;
        }
        let mut memory = crate::testing::Memory::anonymous(16);
        let mut pagemap = Pagemap::open(std::process::id()).unwrap();
        (0..16).for_each(|page| memory.page_mut(page)[0] = 1);
        clear("self").unwrap();
        memory.page_mut(3)[0] = 2;
        let mut marked = Vec::new();
        pagemap.read(memory.range(), |_, words| marked.extend(words.iter().map(|word| word & SOFT_DIRTY != 0))).unwrap();
        assert!(marked[3] && marked.len() == 16);
    }
}
