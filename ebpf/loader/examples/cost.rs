//! What one event costs, by the kernel's own account, and what the hooks cost those who are not observed.
//!
//! Run as root: `cargo run --release -p pagesieve-ebpf --example cost -- [rounds] [pages]`. The defaults are 9 and 16384.
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

/// The best of the rounds: other load on the machine can only add to the truth.
fn best(rounds: usize, measure: impl FnMut() -> f64) -> f64 {
    std::iter::repeat_with(measure).take(rounds).fold(f64::INFINITY, f64::min)
}

fn attach(pid: u32, pages: usize, hooks: HookChoice) -> Result<Tracker, String> {
    // The ring holds every event of a round: a full ring would make events cheaper than they are.
    let ring_bytes = (pages * 64).next_power_of_two() as u32;
    let config = TrackerConfig { pid, page_limit: pages as u64, ring_bytes, hooks, ..TrackerConfig::default() };
    Tracker::attach(&config).map_err(|error| format!("cannot {error}"))
}

/// Mean nanoseconds of the program that ran most between two readings: the one on page faults.
fn mean_run(before: &[ProgramRuns], after: &[ProgramRuns]) -> f64 {
    let ran = |(old, new): (&ProgramRuns, &ProgramRuns)| (new.runs - old.runs, (new.time - old.time).as_nanos());
    let (runs, nanos) = before.iter().zip(after).map(ran).max().unwrap_or_default();
    nanos as f64 / runs.max(1) as f64
}

/// The faults of this process with a tracker on `pid`: nanoseconds of a first touch, and of a run of the program. The two come
/// from separate rounds, as the kernel's accounting adds clock reads of its own; these are in the second figure.
fn faults(title: &str, pid: u32, hooks: HookChoice, rounds: usize, memory: &Memory) -> Result<(f64, f64), String> {
    let mut tracker = attach(pid, memory.pages, hooks)?;
    tracker.set_slots(&[memory.slot()])?;
    let mut drained = 0;
    let fault = best(rounds, || {
        let nanos = memory.touch();
        drained += tracker.drain(|event| _ = black_box(event));
        nanos
    });
    let account = RunStats::enable()?;
    let run = best(rounds, || {
        let before = account.of(&tracker);
        memory.touch();
        drained += tracker.drain(|event| _ = black_box(event));
        mean_run(&before, &account.of(&tracker))
    });
    let lost: u64 = tracker.counters().iter().map(|counters| counters.lost).sum();
    println!("{title} {fault:.0} ns a first touch, {run:.1} ns a run; {drained} events drained, {lost} lost");
    // A program that reports nothing is cheap: its price must not pass for that of an event.
    let expected = if pid == std::process::id() { 2 * rounds * memory.pages } else { 0 };
    if drained != expected || lost != 0 {
        return Err(format!(
            "{title} {drained} events drained and {lost} lost instead of {expected} and 0: the figures are void"
        ));
    }
    Ok((fault, run))
}

/// Nanoseconds to take one event out of the ring.
fn drain(rounds: usize, memory: &Memory) -> Result<f64, String> {
    let mut tracker = attach(std::process::id(), memory.pages, HookChoice::Auto)?;
    tracker.set_slots(&[memory.slot()])?;
    Ok(best(rounds, || {
        memory.touch();
        let start = Instant::now();
        let count = tracker.drain(|event| _ = black_box(event));
        start.elapsed().as_nanos() as f64 / count.max(1) as f64
    }))
}

fn main() -> Result<(), String> {
    let mut arguments = env::args().skip(1).map(|text| text.parse::<usize>().map_err(|error| format!("{text}: {error}")));
    let rounds = arguments.next().transpose()?.unwrap_or(9).max(1);
    let pages = arguments.next().transpose()?.unwrap_or(16384).max(1);
    let memory = Memory::new(pages);
    let own = std::process::id();

    let bare_call = best(rounds, plain_call);
    let bare = best(rounds, || memory.touch());
    println!("no hooks: {bare:.0} ns a first touch, {bare_call:.1} ns a plain system call");
    let (_, observed) = faults("observed, best hooks:", own, HookChoice::Auto, rounds, &memory)?;
    let (_, plain) = faults("observed, plain tracepoints:", own, HookChoice::PlainTracepoints, rounds, &memory)?;
    // Process 1 takes hardly any faults: what is measured is the way to "not mine".
    let (_, other) = faults("not observed, best hooks:", 1, HookChoice::Auto, rounds, &memory)?;
    let (_, plain_other) = faults("not observed, plain tracepoints:", 1, HookChoice::PlainTracepoints, rounds, &memory)?;
    println!("an event beyond the miss: {:.1} ns (plain tracepoints {:.1})", observed - other, plain - plain_other);

    let tracker = attach(1, 1, HookChoice::Auto)?;
    let hooked_call = best(rounds, plain_call);
    println!("added to every system call of the host: {:.1} ns ({} hooks)", hooked_call - bare_call, tracker.hooks().len());
    drop(tracker);
    println!("drain: {:.1} ns an event", drain(rounds, &memory)?);
    Ok(())
}
