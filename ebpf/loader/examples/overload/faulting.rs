//! A child process whose threads fault on pages of their own, at a rate that the parent sets.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pagesieve_ebpf::abi::Slot;

const PAGE: usize = 4096;
/// Pages of each thread: a system call gives them back after each pass.
const PAGES: usize = 4096;
const THREADS: usize = 64;
/// What a throttled thread does at once, a millisecond's share.
const BEATS_PER_SECOND: u64 = 1000;

/// What parent and child share.
struct Shared {
    /// Faults a second of each thread; 0 is as fast as possible.
    rate: AtomicU64,
    running: AtomicBool,
    /// Threads that stand still.
    idle: AtomicU64,
    faults: [AtomicU64; THREADS],
}

/// The child. It ends with the value.
pub(crate) struct Faulting {
    shared: &'static Shared,
    areas: Vec<usize>,
    pid: i32,
}

impl Faulting {
    /// Forks it. It has a thread for each CPU and stands still.
    pub(crate) fn start() -> Result<Self, String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let at = map(size_of::<Shared>(), libc::MAP_SHARED)?;
        // SAFETY: the mapping is large enough, aligned to a page, stays for ever, and all zeros is a valid value.
        let shared: &'static Shared = unsafe { &*(at as *const Shared) };
        // Mapped before the fork, so the parent knows the addresses.
        let areas = (0..threads).map(|_| map(PAGES * PAGE, libc::MAP_PRIVATE)).collect::<Result<Vec<_>, _>>()?;
        // SAFETY: no other thread runs yet, so the child may go on as usual. It ends with its parent.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(std::io::Error::last_os_error().to_string()),
            0 => {
                // SAFETY: takes numbers only.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                std::thread::scope(|scope| {
                    for (area, faults) in areas.iter().zip(&shared.faults) {
                        scope.spawn(move || work(*area, shared, faults));
                    }
                });
                std::process::exit(0)
            }
            _ => {
                let faulting = Self { shared, areas, pid };
                faulting.await_idle();
                Ok(faulting)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid as u32
    }

    pub(crate) fn threads(&self) -> usize {
        self.areas.len()
    }

    pub(crate) fn pages(&self) -> u64 {
        (self.areas.len() * PAGES) as u64
    }

    pub(crate) fn slots(&self) -> Vec<Slot> {
        let slot = |(index, &area): (usize, &usize)| {
            let start = area as u64;
            Slot { start, end: start + (PAGES * PAGE) as u64, base: (index * PAGES) as u64 }
        };
        self.areas.iter().enumerate().map(slot).collect()
    }

    /// Faults so far, by the child's own count. Exact while it stands still.
    pub(crate) fn faults(&self) -> u64 {
        self.shared.faults.iter().map(|faults| faults.load(Ordering::SeqCst)).sum()
    }

    /// Lets it run at so many faults a second in all; 0 is as fast as possible.
    pub(crate) fn run_at(&self, rate: u64) {
        self.shared.rate.store(rate.div_ceil(self.areas.len() as u64), Ordering::SeqCst);
        self.shared.running.store(true, Ordering::SeqCst);
    }

    /// Returns when every thread stands still.
    pub(crate) fn pause(&self) {
        self.shared.running.store(false, Ordering::SeqCst);
        self.await_idle();
    }

    fn await_idle(&self) {
        while self.shared.idle.load(Ordering::SeqCst) < self.areas.len() as u64 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Faulting {
    fn drop(&mut self) {
        // SAFETY: our own child, which is not waited for anywhere else.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
        }
    }
}

fn map(length: usize, sharing: i32) -> Result<usize, String> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, sharing | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error().to_string());
    }
    // SAFETY: the range is the mapping just made. A huge page would make one fault of 512.
    unsafe { libc::madvise(at, length, libc::MADV_NOHUGEPAGE) };
    Ok(at as usize)
}

fn work(area: usize, shared: &Shared, faults: &AtomicU64) {
    loop {
        shared.idle.fetch_add(1, Ordering::SeqCst);
        while !shared.running.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        shared.idle.fetch_sub(1, Ordering::SeqCst);
        let (started, mut done, mut page) = (Instant::now(), 0_u64, 0);
        let rate = shared.rate.load(Ordering::SeqCst);
        while shared.running.load(Ordering::Relaxed) {
            if rate > 0 && done * 1_000_000 >= rate * (started.elapsed().as_micros() as u64) {
                std::thread::sleep(Duration::from_micros(1_000_000 / BEATS_PER_SECOND));
                continue;
            }
            if page == PAGES {
                page = 0;
                // SAFETY: gives back the pages of this thread's area; nobody holds a reference into it.
                unsafe { libc::madvise(area as *mut libc::c_void, PAGES * PAGE, libc::MADV_DONTNEED) };
            }
            // A load of a page that is not there maps the zero page: the cheapest fault there is.
            // SAFETY: the page lies in this thread's area.
            std::hint::black_box(unsafe { (area as *const u8).add(page * PAGE).read_volatile() });
            (page, done) = (page + 1, done + 1);
            faults.fetch_add(1, Ordering::Relaxed);
        }
        // The next run begins with an empty area, whatever this one left.
        // SAFETY: as above.
        unsafe { libc::madvise(area as *mut libc::c_void, PAGES * PAGE, libc::MADV_DONTNEED) };
    }
}
