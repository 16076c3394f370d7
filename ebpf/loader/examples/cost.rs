//! What one event costs, by the kernel's own account, and what the hooks cost those who are not observed.
//!
//! Run as root: `cargo run --release -p pagesieve-ebpf --example cost -- [rounds] [pages]`. The defaults are 5 and 16384.
#![allow(clippy::print_stdout, reason = "the figures are the output")]

use std::env;
use std::hint::black_box;
use std::ptr;
use std::time::Instant;

use pagesieve_ebpf::abi::Slot;
use pagesieve_ebpf::{HookChoice, ProgramRuns, RunStats, Tracker, TrackerConfig};

const PAGE: usize = 4096;
const CALLS: u32 = 1_000_000;

/// A mapping whose pages can be given back and touched again.
struct Memory {
    at: *mut u8,
    pages: usize,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "map {pages} pages");
        // SAFETY: the range is the mapping just made. Huge pages would make one fault of 512.
        unsafe { libc::madvise(at, pages * PAGE, libc::MADV_NOHUGEPAGE) };
        Self { at: at.cast(), pages }
    }

    fn slot(&self) -> Slot {
        Slot { start: self.at as u64, end: self.at as u64 + (self.pages * PAGE) as u64, base: 0 }
    }

    /// Touches every page for the first time; mean nanoseconds a page.
    fn touch(&self) -> f64 {
        // SAFETY: gives back the pages of the mapping; nobody holds a reference into it.
        unsafe { libc::madvise(self.at.cast(), self.pages * PAGE, libc::MADV_DONTNEED) };
        let start = Instant::now();
        for page in 0..self.pages {
            // SAFETY: the page lies in the mapping.
            unsafe { self.at.add(page * PAGE).write_volatile(1) };
        }
        start.elapsed().as_nanos() as f64 / self.pages as f64
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.at.cast(), self.pages * PAGE) };
    }
}

/// Mean nanoseconds of a system call that no hook is attached to.
fn plain_call() -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        // SAFETY: takes no arguments.
        black_box(unsafe { libc::syscall(libc::SYS_getppid) });
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

/// The middle of the rounds, which a disturbance in one of them does not move.
fn median(rounds: usize, mut measure: impl FnMut() -> f64) -> f64 {
    let mut results: Vec<f64> = (0..rounds).map(|_| measure()).collect();
    results.sort_by(f64::total_cmp);
    results[rounds / 2]
}

fn attach(pid: u32, pages: usize, hooks: HookChoice) -> Result<Tracker, String> {
    // The ring holds every event of a round: a full ring would make events cheaper than they are.
    let ring_bytes = (pages * 64).next_power_of_two() as u32;
    let config = TrackerConfig { pid, page_limit: pages as u64, ring_bytes, hooks, ..TrackerConfig::default() };
    Tracker::attach(&config).map_err(|error| format!("cannot {error}"))
}

/// Runs and nanoseconds of the programs that ran between two readings.
fn print_runs(title: &str, before: &[ProgramRuns], after: &[ProgramRuns]) {
    for (old, new) in before.iter().zip(after) {
        let (runs, time) = (new.runs - old.runs, new.time - old.time);
        if old.program == new.program && runs > 0 {
            let mean = time.as_nanos() as f64 / runs as f64;
            println!("{title} {:<16} {runs:>8} runs {mean:>8.1} ns a run", new.program);
        }
    }
}

/// The faults of this process with a tracker on `pid`. Prints the cost of a fault, then of a program's run. The two come from
/// separate rounds, as the kernel's accounting adds clock reads of its own.
fn faults(title: &str, pid: u32, hooks: HookChoice, rounds: usize, memory: &Memory) -> Result<f64, String> {
    let mut tracker = attach(pid, memory.pages, hooks)?;
    tracker.set_slots(&[memory.slot()])?;
    let mut drained = 0;
    let fault = median(rounds, || {
        let nanos = memory.touch();
        drained += tracker.drain(|event| _ = black_box(event));
        nanos
    });
    let account = RunStats::enable()?;
    let before = account.of(&tracker);
    for _ in 0..rounds {
        memory.touch();
        drained += tracker.drain(|event| _ = black_box(event));
    }
    print_runs(title, &before, &account.of(&tracker));
    let lost: u64 = tracker.counters().iter().map(|counters| counters.lost).sum();
    println!("{title} {fault:.0} ns a first touch; {drained} events drained, {lost} lost");
    Ok(fault)
}

/// Nanoseconds to take one event out of a full ring.
fn drain(memory: &Memory) -> Result<f64, String> {
    let mut tracker = attach(std::process::id(), memory.pages, HookChoice::Auto)?;
    tracker.set_slots(&[memory.slot()])?;
    memory.touch();
    let start = Instant::now();
    let count = tracker.drain(|event| _ = black_box(event));
    Ok(start.elapsed().as_nanos() as f64 / count.max(1) as f64)
}

fn main() -> Result<(), String> {
    let mut arguments = env::args().skip(1).map(|text| text.parse::<usize>().map_err(|error| format!("{text}: {error}")));
    let rounds = arguments.next().transpose()?.unwrap_or(5).max(1);
    let pages = arguments.next().transpose()?.unwrap_or(16384).max(1);
    let memory = Memory::new(pages);
    let own = std::process::id();

    let bare_call = median(rounds, plain_call);
    let bare = median(rounds, || memory.touch());
    println!("no hooks: {bare:.0} ns a first touch, {bare_call:.1} ns a plain system call");
    let observed = faults("observed, best hooks:", own, HookChoice::Auto, rounds, &memory)?;
    let plain = faults("observed, plain tracepoints:", own, HookChoice::PlainTracepoints, rounds, &memory)?;
    // Process 1 takes hardly any faults here: what is measured is the way to "not mine".
    let other = faults("not observed:", 1, HookChoice::Auto, rounds, &memory)?;
    println!("added to a first touch: {:.0} ns (plain tracepoints {:.0}); if not observed {:.0}", observed - bare, plain - bare, other - bare);

    let tracker = attach(1, 1, HookChoice::Auto)?;
    let hooked_call = median(rounds, plain_call);
    println!("added to every system call of the host: {:.1} ns ({} hooks)", hooked_call - bare_call, tracker.hooks().len());
    drop(tracker);
    println!("drain: {:.1} ns an event", drain(&memory)?);
    Ok(())
}
