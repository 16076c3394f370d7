//! Patterns that trackers miss. Each runs beside the load of a class, on anonymous or on shared memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::memory::{self, Memory, PAGE};
use super::random::Random;

/// One thing that trackers miss. Groups of them are [`Adversary`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern {
    /// `read(2)` into guest memory: the kernel writes, the guest takes no fault.
    Read,
    /// `O_DIRECT`: the device writes, nobody takes a fault.
    DirectRead,
    /// `process_vm_writev` from another process.
    VmWritev,
    /// One byte in a huge page: one fault speaks for 512 pages.
    HugeWrite,
    /// A child writes: to its own copy of anonymous memory, to the very pages of shared memory.
    ForkWrite,
    /// `MADV_DONTNEED`: anonymous pages become zeros, shared ones only lose their mapping.
    DontNeed,
    /// `MADV_FREE`: anonymous pages may become zeros at any later time.
    Free,
    /// `MADV_REMOVE`: a hole in shared memory.
    Remove,
    /// `fallocate(PUNCH_HOLE)`: the same through the descriptor.
    Punch,
    /// A hole that is read at once, so that the page is there again before anyone looks.
    PunchThenRead,
    /// A new mapping in place of the old one.
    Remap,
    /// Another process with a mapping of its own writes now and then.
    OtherMapping,
}

/// Patterns that belong together, by the name that users type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adversary {
    name: &'static str,
    patterns: &'static [Pattern],
}

const fn group(name: &'static str, patterns: &'static [Pattern]) -> Adversary {
    Adversary { name, patterns }
}

/// The groups first, then each pattern by itself.
const ALL: [Adversary; 18] = [
    group("kernel-writes", &[Pattern::Read]),
    group("thp", &[Pattern::HugeWrite]),
    group("fork", &[Pattern::ForkWrite]),
    group(
        "discard",
        &[Pattern::DontNeed, Pattern::Free, Pattern::Remove, Pattern::Punch, Pattern::PunchThenRead, Pattern::Remap],
    ),
    group("gup", &[Pattern::DirectRead, Pattern::VmWritev]),
    group("sharer", &[Pattern::OtherMapping]),
    group("read", &[Pattern::Read]),
    group("direct-read", &[Pattern::DirectRead]),
    group("vm-writev", &[Pattern::VmWritev]),
    group("huge-write", &[Pattern::HugeWrite]),
    group("fork-write", &[Pattern::ForkWrite]),
    group("dontneed", &[Pattern::DontNeed]),
    group("free", &[Pattern::Free]),
    group("remove", &[Pattern::Remove]),
    group("punch", &[Pattern::Punch]),
    group("punch-then-read", &[Pattern::PunchThenRead]),
    group("remap", &[Pattern::Remap]),
    group("other-mapping", &[Pattern::OtherMapping]),
];

/// Time between two rounds of a pattern.
const ROUND: Duration = Duration::from_millis(50);
/// Pages touched in a round.
const PAGES: u64 = 32;

impl Adversary {
    /// All that can be named: six groups, then each pattern by itself.
    pub fn all() -> impl Iterator<Item = Adversary> {
        ALL.into_iter()
    }

    /// The name that users type.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    pub(super) fn run(self, memory: &Memory, seed: u64, length: Duration) -> io::Result<()> {
        let patterns: Vec<_> = self.patterns.iter().filter(|pattern| pattern.is_possible(memory)).collect();
        if patterns.is_empty() {
            return Err(io::Error::other(format!("`{}` needs shared memory: leave out --anonymous", self.name)));
        }
        let mut random = Random::new(!seed);
        let deadline = Instant::now() + length;
        let source = source_file(&mut random)?;
        if patterns.contains(&&Pattern::HugeWrite) {
            advise(memory, 0, memory.pages(), libc::MADV_HUGEPAGE)?;
        }
        let sharer = patterns.contains(&&Pattern::OtherMapping).then(|| Sharer::start(memory)).transpose()?;
        for pattern in patterns.iter().cycle() {
            if Instant::now() >= deadline {
                break;
            }
            let first = random.below(memory.pages() - PAGES);
            pattern.act(memory, first, &source, &mut random)?;
            std::thread::sleep(ROUND);
        }
        drop(sharer);
        Ok(())
    }
}

impl Pattern {
    fn is_possible(self, memory: &Memory) -> bool {
        memory.file().is_some() || !matches!(self, Pattern::Remove | Pattern::Punch | Pattern::PunchThenRead)
    }

    fn act(self, memory: &Memory, first: u64, source: &NamedTempFile, random: &mut Random) -> io::Result<()> {
        match self {
            Pattern::Read => pread(source.as_file(), memory, first)?,
            Pattern::DirectRead => read_direct(memory, first, random)?,
            Pattern::VmWritev => in_child(|| write_to_parent(memory, first))?,
            Pattern::HugeWrite => memory.scribble(first, random),
            Pattern::ForkWrite => in_child(|| scribble_raw(memory, first))?,
            Pattern::DontNeed => advise(memory, first, PAGES, libc::MADV_DONTNEED)?,
            // Shared memory has no such advice.
            Pattern::Free if memory.file().is_some() => {}
            Pattern::Free => advise(memory, first, PAGES, libc::MADV_FREE)?,
            Pattern::Remove => advise(memory, first, PAGES, libc::MADV_REMOVE)?,
            Pattern::Punch => punch(memory, first)?,
            Pattern::PunchThenRead => {
                punch(memory, first)?;
                (first..first + PAGES).for_each(|page| memory.read(page));
            }
            Pattern::Remap => remap(memory, first)?,
            Pattern::OtherMapping => {}
        }
        Ok(())
    }
}

impl FromStr for Adversary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ALL.into_iter().find(|adversary| adversary.name == text).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|adversary| adversary.name).collect();
            format!("no adversary `{text}`: choose one of {}", names.join(", "))
        })
    }
}

/// A file on disk with as many pages as a round reads.
fn source_file(random: &mut Random) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    let bytes: Vec<u8> = (0..PAGES * PAGE as u64 / 8).flat_map(|_| random.next().to_le_bytes()).collect();
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
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

fn punch(memory: &Memory, first: u64) -> io::Result<()> {
    let Some(file) = memory.file() else { return Err(io::ErrorKind::Unsupported.into()) };
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
