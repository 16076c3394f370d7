//! Patterns that trackers miss. Each runs beside the load of a class, on anonymous or on shared memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::memory::{self, Memory, PAGE};
use super::random::Random;

/// A pattern that trackers miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adversary {
    /// `read(2)` into guest memory: the kernel writes, the guest takes no fault.
    KernelWrites,
    /// Huge pages: one fault for 512 pages.
    Thp,
    /// Children that write: to their own copy of anonymous memory, and to the very pages of shared memory.
    Fork,
    /// Discards: `MADV_DONTNEED`, `MADV_REMOVE`, punched holes, new mappings in place; half of them read again at once.
    Discard,
    /// Pages taken by the kernel: `O_DIRECT` reads, and `process_vm_writev` from another process.
    Gup,
    /// Another process that maps the memory and writes now and then (anonymous memory, which cannot be mapped twice, by `process_vm_writev`).
    Sharer,
}

/// Time between two rounds of a pattern.
const ROUND: Duration = Duration::from_millis(50);
/// Pages touched in a round.
const PAGES: u64 = 32;

impl Adversary {
    /// All patterns.
    pub const ALL: [Adversary; 6] = [
        Adversary::KernelWrites,
        Adversary::Thp,
        Adversary::Fork,
        Adversary::Discard,
        Adversary::Gup,
        Adversary::Sharer,
    ];

    /// The pattern's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Adversary::KernelWrites => "kernel-writes",
            Adversary::Thp => "thp",
            Adversary::Fork => "fork",
            Adversary::Discard => "discard",
            Adversary::Gup => "gup",
            Adversary::Sharer => "sharer",
        }
    }

    pub(super) fn run(self, memory: &Memory, seed: u64, length: Duration) -> io::Result<()> {
        let mut random = Random::new(!seed);
        let deadline = Instant::now() + length;
        let source = source_file(&mut random)?;
        if self == Adversary::Thp {
            advise(memory, 0, memory.pages(), libc::MADV_HUGEPAGE)?;
        }
        let sharer = if self == Adversary::Sharer { Some(Sharer::start(memory)?) } else { None };
        while Instant::now() < deadline {
            let first = random.below(memory.pages() - PAGES);
            match self {
                Adversary::KernelWrites => read_from(&source, memory, first)?,
                Adversary::Thp => memory.scribble(first, &mut random),
                Adversary::Fork => in_child(|| scribble_raw(memory, first))?,
                Adversary::Discard => discard(memory, first, &mut random)?,
                Adversary::Gup => {
                    read_direct(memory, first, &mut random)?;
                    in_child(|| write_to_parent(memory, first))?;
                }
                Adversary::Sharer => {}
            }
            std::thread::sleep(ROUND);
        }
        drop(sharer);
        Ok(())
    }
}

impl FromStr for Adversary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Adversary::ALL.into_iter().find(|adversary| adversary.name() == text);
        found.ok_or_else(|| format!("no adversary `{text}`: choose kernel-writes, thp, fork, discard, gup or sharer"))
    }
}

/// A file on disk with as many pages as a round reads.
fn source_file(random: &mut Random) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new()?;
    let bytes: Vec<u8> = (0..PAGES * PAGE as u64 / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn read_from(source: &tempfile::NamedTempFile, memory: &Memory, first: u64) -> io::Result<()> {
    pread(source.as_file(), memory, first)
}

fn pread(file: &File, memory: &Memory, first: u64) -> io::Result<()> {
    let length = PAGES as usize * PAGE;
    // SAFETY: the kernel writes `length` bytes to guest pages `first..first + PAGES`, all mapped.
    let got = unsafe { libc::pread(file.as_raw_fd(), memory.page(first).cast(), length, 0) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads with `O_DIRECT`, so that the device writes guest pages by itself. The descriptor stays open only as long as needed.
fn read_direct(memory: &Memory, first: u64, random: &mut Random) -> io::Result<()> {
    let source = source_file(random)?;
    match OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(source.path()) {
        Ok(file) => pread(&file, memory, first),
        // Some file systems have no direct I/O; the other half of the pattern still runs.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        Err(error) => Err(error),
    }
}

fn advise(memory: &Memory, first: u64, pages: u64, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the range lies in the mapping. Of the advices used, those that discard are what this workload is for.
    let done = unsafe { libc::madvise(memory.page(first).cast(), pages as usize * PAGE, advice) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn discard(memory: &Memory, first: u64, random: &mut Random) -> io::Result<()> {
    match (random.below(4), memory.file()) {
        (0, None) => advise(memory, first, PAGES, libc::MADV_DONTNEED)?,
        (1, None) => advise(memory, first, PAGES, libc::MADV_FREE)?,
        (0 | 1, Some(_)) => advise(memory, first, PAGES, libc::MADV_REMOVE)?,
        (2, Some(file)) => punch(file, first)?,
        _ => remap(memory, first)?,
    }
    if random.percent(50) {
        // The mapping comes back without a write: only the discard itself tells that the bytes are gone.
        (first..first + PAGES).for_each(|page| memory.read(page));
    }
    Ok(())
}

fn punch(file: &File, first: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let (offset, length) = ((first * PAGE as u64) as libc::off_t, (PAGES * PAGE as u64) as libc::off_t);
    // SAFETY: fallocate takes numbers only; the hole lies in our own memfd.
    let done = unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Maps the same place again: fresh zeros for anonymous memory, another view of the same bytes for a file.
fn remap(memory: &Memory, first: u64) -> io::Result<()> {
    let (flags, fd, offset) = match memory.file() {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd(), first * PAGE as u64),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0),
    };
    let (at, length) = (memory.page(first).cast(), PAGES as usize * PAGE);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the range lies in our own mapping and is mapped again with the same rights, so no pointer goes stale; the
    // threads that use it lose bytes, which is the point.
    let done = unsafe { libc::mmap(at, length, protection, flags | libc::MAP_FIXED, fd, offset as libc::off_t) };
    if done == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Writes a byte of each page without any call that is unsafe after a fork of a process with threads.
fn scribble_raw(memory: &Memory, first: u64) {
    for page in first..first + PAGES {
        let at = memory.page(page);
        // SAFETY: the page is mapped in the child as well.
        unsafe { at.write_volatile(at.read_volatile().wrapping_add(1)) };
    }
}

fn write_to_parent(memory: &Memory, first: u64) {
    let word = first.to_le_bytes();
    let local = libc::iovec { iov_base: word.as_ptr() as *mut libc::c_void, iov_len: word.len() };
    for page in first..first + PAGES {
        let remote = libc::iovec { iov_base: memory.page(page).cast(), iov_len: word.len() };
        // SAFETY: reads eight bytes of ours and writes them to a page that the parent has mapped at the same address.
        unsafe { libc::process_vm_writev(libc::getppid(), &raw const local, 1, &raw const remote, 1, 0) };
    }
}

/// Runs something in a child process and waits for it.
fn in_child(work: impl FnOnce()) -> io::Result<()> {
    // SAFETY: the child only touches memory and makes plain system calls, then ends without running destructors.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            work();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) }
        }
        child => {
            // SAFETY: waits for the child just made.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            Ok(())
        }
    }
}

/// A process that writes to the same memory for as long as this lives.
struct Sharer(libc::pid_t);

impl Sharer {
    fn start(memory: &Memory) -> io::Result<Self> {
        // SAFETY: as in `in_child`; the child loops until it is killed, or until its parent is gone.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                share(memory);
                // SAFETY: ends the child at once.
                unsafe { libc::_exit(0) }
            }
            child => Ok(Self(child)),
        }
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not yet waited for.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

fn share(memory: &Memory) {
    // SAFETY: asks to be killed with the parent; numbers only.
    let parent = unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::getppid()
    };
    let own = memory.file().map(|file| memory::map(memory.length(), Some(file)));
    let mut first = 0;
    loop {
        match own {
            Some(Ok(at)) => {
                for page in first..first + PAGES {
                    // SAFETY: the page lies in the child's own mapping of the file, as long as the parent's.
                    unsafe { at.add(page as usize * PAGE).write_volatile(page as u8 ^ first as u8) };
                }
            }
            _ => write_to_parent(memory, first),
        }
        first = (first + 997) % (memory.pages() - PAGES);
        // SAFETY: numbers only. Ends when the parent is gone.
        if unsafe { libc::usleep(ROUND.as_micros() as libc::c_uint) < 0 || libc::getppid() != parent } {
            return;
        }
    }
}
