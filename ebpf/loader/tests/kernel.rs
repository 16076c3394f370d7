//! On the real kernel: what is touched is reported, and nothing else.

use std::collections::BTreeSet;

use pagesieve_ebpf::abi::{self, Slot};
use pagesieve_ebpf::{HookChoice, Tracker, TrackerConfig, testing};

const PAGE: usize = 4096;

/// An anonymous mapping without huge pages.
struct Memory(*mut u8, usize);

impl Memory {
    fn new(pages: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), pages * PAGE, protection, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        // SAFETY: the range is the mapping just made.
        unsafe { libc::madvise(at, pages * PAGE, libc::MADV_NOHUGEPAGE) };
        Self(at.cast(), pages)
    }

    fn slot(&self, base: u64) -> Slot {
        Slot { start: self.0 as u64, end: self.0 as u64 + (self.1 * PAGE) as u64, base }
    }

    fn write(&self, page: usize) {
        assert!(page < self.1);
        // SAFETY: the page lies in the mapping.
        unsafe { self.0.add(page * PAGE).write_volatile(1) };
    }

    fn read(&self, page: usize) {
        assert!(page < self.1);
        // SAFETY: the page lies in the mapping.
        std::hint::black_box(unsafe { self.0.add(page * PAGE).read_volatile() });
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours.
        unsafe { libc::munmap(self.0.cast(), self.1 * PAGE) };
    }
}

fn config() -> TrackerConfig {
    TrackerConfig { pid: std::process::id(), page_limit: 4096, ..TrackerConfig::default() }
}

fn own_events(tracker: &mut Tracker) -> Vec<abi::AccessEvent> {
    let mut events = Vec::new();
    tracker.drain(|event| events.push(event));
    events
}

#[test]
fn every_first_touch_is_reported_by_frame_and_kind() {
    for hooks in [HookChoice::Auto, HookChoice::PlainTracepoints] {
        if !testing::can_attach("every_first_touch_is_reported_by_frame_and_kind") {
            return;
        }
        let mut tracker = Tracker::attach(&TrackerConfig { hooks, ..config() }).unwrap();
        let (tracked, other) = (Memory::new(64), Memory::new(64));
        tracker.set_slots(&[tracked.slot(100)]).unwrap();
        (0..32).for_each(|page| tracked.write(page));
        (32..64).for_each(|page| tracked.read(page));
        (0..64).for_each(|page| other.write(page));
        let events = own_events(&mut tracker);
        let of_kind = |kind| events.iter().filter(|event| event.kind == kind).map(|event| event.gfn).collect::<BTreeSet<_>>();
        assert_eq!(of_kind(abi::WRITE), (100..132).collect(), "{hooks:?}");
        assert_eq!(of_kind(abi::READ), (132..164).collect(), "{hooks:?}");
        assert!(events.iter().all(|event| event.origin == abi::USER && event.tid != 0 && event.time > 0));
        let outside: u64 = tracker.counters().iter().map(|counters| counters.outside).sum();
        assert!(outside >= 64, "touches outside every slot are counted: {outside}");
        let page = tracker.page_table().page_info(100).expect("the page was seen");
        assert!(page.dirty && page.count == 1);
        assert!(tracker.page_table().page_info(99).is_none());
        assert!(tracker.page_table().get(4096).is_none(), "beyond the table there is no word");
    }
}

#[test]
fn a_kernel_write_is_reported_as_such() {
    if !testing::can_attach("a_kernel_write_is_reported_as_such") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    let memory = Memory::new(16);
    tracker.set_slots(&[memory.slot(0)]).unwrap();
    let file = std::fs::File::open("/dev/zero").unwrap();
    // SAFETY: the kernel writes 16 pages of the mapping.
    let got = unsafe { libc::read(std::os::fd::AsRawFd::as_raw_fd(&file), memory.0.cast(), 16 * PAGE) };
    assert_eq!(got as usize, 16 * PAGE);
    let events = own_events(&mut tracker);
    assert_eq!(events.len(), 16);
    assert!(events.iter().all(|event| event.origin == abi::KERNEL && event.kind == abi::WRITE));
}

#[test]
fn a_full_ring_counts_what_it_loses() {
    if !testing::can_attach("a_full_ring_counts_what_it_loses") {
        return;
    }
    let mut tracker = Tracker::attach(&TrackerConfig { ring_bytes: 4096, ..config() }).unwrap();
    let memory = Memory::new(1024);
    tracker.set_slots(&[memory.slot(0)]).unwrap();
    (0..1024).for_each(|page| memory.write(page));
    let seen = own_events(&mut tracker).len() as u64;
    let lost: u64 = tracker.counters().iter().map(|counters| counters.lost).sum();
    assert!(seen > 0 && lost > 0);
    assert_eq!(seen + lost, 1024, "an event is either seen or counted as lost");
}

#[test]
fn under_overload_on_all_rings_every_fault_is_received_or_counted_as_lost() {
    const THREADS: usize = 4;
    const FAULTS: u64 = 20_000;
    if !testing::can_attach("under_overload_on_all_rings_every_fault_is_received_or_counted_as_lost") {
        return;
    }
    for rings in [1, 2] {
        let tiny = TrackerConfig { ring_bytes: 4096, rings: Some(rings), ..config() };
        let mut tracker = Tracker::attach(&tiny).unwrap();
        assert_eq!(tracker.rings(), rings as usize);
        let memory = Memory::new(1024 * THREADS);
        tracker.set_slots(&[memory.slot(0)]).unwrap();
        let at = memory.0 as usize;
        let (mut received, mut faults) = (0, 0);
        std::thread::scope(|scope| {
            let work = |thread: usize| move || fault_often(at + thread * 1024 * PAGE, FAULTS);
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(thread))).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                received += tracker.drain(|_| ()) as u64;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            faults = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        });
        received += tracker.drain(|_| ()) as u64;
        let lost: u64 = tracker.counters().iter().map(|counters| counters.lost).sum();
        assert!(received > 0 && lost > 0, "{received} received, {lost} lost");
        assert_eq!(received + lost, THREADS as u64 * FAULTS, "{rings} rings: a fault is received or counted as lost");
        assert!(faults >= received + lost, "the kernel counted only {faults} faults");
    }
}

/// Faults on 1024 pages again and again. Returns the faults of this thread by the kernel's own count.
fn fault_often(at: usize, faults: u64) -> u64 {
    let count = || {
        // SAFETY: all zeros is a valid `rusage`, and the kernel fills it.
        unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
            usage.ru_minflt as u64
        }
    };
    let before = count();
    for fault in 0..faults as usize {
        // SAFETY: the pages belong to this thread alone, and nobody holds a reference into them.
        unsafe {
            if fault % 1024 == 0 {
                libc::madvise(at as *mut libc::c_void, 1024 * PAGE, libc::MADV_DONTNEED);
            }
            std::hint::black_box((at as *const u8).add(fault % 1024 * PAGE).read_volatile());
        }
    }
    count() - before
}

#[test]
fn discards_and_forks_come_as_events_of_their_own() {
    if !testing::can_attach("discards_and_forks_come_as_events_of_their_own") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    if !tracker.sees_control() {
        testing::skipped("discards_and_forks_come_as_events_of_their_own", "system call tracepoints are refused");
        return;
    }
    let memory = Memory::new(16);
    // SAFETY: discards the mapping's own pages; the child ends at once.
    let child = unsafe {
        assert_eq!(libc::madvise(memory.0.cast(), 4 * PAGE, libc::MADV_DONTNEED), 0);
        assert_eq!(libc::madvise(memory.0.cast(), 4 * PAGE, libc::MADV_WILLNEED), 0);
        match libc::fork() {
            0 => libc::_exit(0),
            child => child,
        }
    };
    // SAFETY: waits for the child.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    let mut events = Vec::new();
    tracker.drain_control(|event| events.push(event));
    let discards: Vec<_> = events.iter().filter(|event| event.op == abi::MADVISE && event.start == memory.0 as u64).collect();
    assert_eq!(discards.len(), 1, "an advice that keeps data is not reported");
    assert_eq!(discards[0].length, 4 * PAGE as u64);
    assert!(events.iter().any(|event| event.op == abi::MADVISE && event.returned == 1));
    assert!(events.iter().any(|event| event.op == abi::FORK && event.argument == child as u32));
    assert!(events.iter().any(|event| event.op == abi::EXITED && event.tgid == child as u32));
}

#[test]
fn slots_are_found_wherever_they_lie_in_the_table() {
    if !testing::can_attach("slots_are_found_wherever_they_lie_in_the_table") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    let memory = Memory::new(2 * abi::MAX_SLOTS as usize);
    // Every second page is a slot of its own; frames run backwards so that an index cannot pass for a frame.
    let slots: Vec<Slot> = (0..u64::from(abi::MAX_SLOTS))
        .map(|index| {
            let start = memory.0 as u64 + 2 * index * PAGE as u64;
            Slot { start, end: start + PAGE as u64, base: 1000 - index }
        })
        .collect();
    tracker.set_slots(&slots[..1]).unwrap();
    tracker.set_slots(&slots).unwrap();
    (0..2 * abi::MAX_SLOTS as usize).for_each(|page| memory.write(page));
    let frames: BTreeSet<u64> = own_events(&mut tracker).iter().map(|event| event.gfn).collect();
    assert_eq!(frames, (1000 - u64::from(abi::MAX_SLOTS) + 1..=1000).collect());
    assert!(tracker.set_slots(&vec![slots[0]; 129]).is_err());
}

fn control(tracker: &mut Tracker) -> Vec<abi::ControlEvent> {
    let mut events = Vec::new();
    tracker.drain_control(|event| events.push(event));
    events
}

#[test]
fn a_move_onto_other_memory_reports_both_places() {
    if !testing::can_attach("a_move_onto_other_memory_reports_both_places") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    let (from, to) = (Memory::new(4), Memory::new(4));
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: both ranges are our own; afterwards `from` names nothing, which its unmapping tolerates.
    let moved = unsafe { libc::mremap(from.0.cast(), 4 * PAGE, 4 * PAGE, flags, to.0) };
    assert_eq!(moved, to.0.cast());
    let events = control(&mut tracker);
    for place in [&from, &to] {
        assert!(events.iter().any(|event| event.op == abi::MREMAP && event.start == place.0 as u64));
    }
}

#[test]
fn guard_pages_are_discards() {
    const MADV_GUARD_INSTALL: i32 = 102;
    if !testing::can_attach("guard_pages_are_discards") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    let memory = Memory::new(4);
    // SAFETY: makes the mapping's own pages inaccessible; nobody touches them again. Older kernels refuse the advice, which is
    // reported all the same.
    unsafe { libc::madvise(memory.0.cast(), 4 * PAGE, MADV_GUARD_INSTALL) };
    assert!(control(&mut tracker).iter().any(|event| event.op == abi::MADVISE && event.start == memory.0 as u64));
}

extern "C" fn discard_four_pages(at: *mut libc::c_void) -> i32 {
    // SAFETY: runs in a child on our own page tables; discards pages of the mapping that it was given.
    unsafe { libc::syscall(libc::SYS_madvise, at, 4 * PAGE, libc::MADV_DONTNEED) };
    0
}

#[test]
fn a_child_on_the_same_page_tables_counts_as_the_target() {
    if !testing::can_attach("a_child_on_the_same_page_tables_counts_as_the_target") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    let (memory, stack) = (Memory::new(4), Memory::new(16));
    memory.write(0);
    // SAFETY: the child runs on a stack of its own and ends before the stack is unmapped.
    unsafe {
        let top = stack.0.add(16 * PAGE).cast();
        let child = libc::clone(discard_four_pages, top, libc::CLONE_VM | libc::SIGCHLD, memory.0.cast());
        assert!(child > 0);
        libc::waitpid(child, std::ptr::null_mut(), 0);
        assert_eq!(memory.0.read_volatile(), 0, "it discarded our page");
    }
    assert!(control(&mut tracker).iter().any(|event| event.op == abi::MADVISE && event.start == memory.0 as u64));
}

#[test]
fn what_makes_no_sense_is_refused_or_mended() {
    if !testing::can_attach("what_makes_no_sense_is_refused_or_mended") {
        return;
    }
    let mut tracker = Tracker::attach(&config()).unwrap();
    let slot = Slot { start: 0x1_0000, end: 0x2_0000, base: 0 };
    assert!(tracker.set_slots(&[slot, Slot { base: 99, ..slot }]).is_err(), "two slots at one place");
    assert!(tracker.set_slots(&[Slot { end: 0x1000, ..slot }]).is_err(), "a slot that ends before it starts");
    assert!(Tracker::attach(&TrackerConfig { page_limit: 0, ..config() }).is_ok(), "there is at least one page");
}
