//! A process under live observation: what the engine is told of it.

mod support;

use std::process::{Command, Stdio};

use pagesieve_core::ports::{AccessSource, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{AccessKind, Coverage, Epoch, PAGE_SIZE};
use pagesieve_recorder::SourceChoice;
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{LiveError, LiveOptions, LiveTarget};
use support::{Background, PAGESIEVE, can_record, wait_until};

const PAGES: u64 = 16 << 8;

/// Our workload: 16 MiB that it goes on writing.
fn workload(more: &[&str]) -> Background {
    let mut command = Command::new(PAGESIEVE);
    command.args(["workload", "--class", "light", "--memory", "16MiB", "--seconds", "600"]).args(more).stdout(Stdio::null());
    Background::spawn(&mut command)
}

/// Observes it as soon as it has its memory.
fn observe(process: &Background, options: &LiveOptions) -> LiveTarget {
    let mut target = None;
    wait_until("the workload's memory", || {
        let opened = LiveTarget::open(&TargetSpec::Pid(process.pid()), options, None);
        target = opened.ok().filter(|target| target.slots().pages() >= PAGES);
        target.is_some()
    });
    target.expect("it was waited for")
}

/// Closes epochs until one has pages in its log. Returns the number of the epoch that is open then.
fn close_until_written(target: &LiveTarget, mut epoch: Epoch) -> (Epoch, pagesieve_core::PageBitmap) {
    let mut log = target.log();
    let mut written = None;
    wait_until("the workload to write", || {
        let closed = log.close(epoch).expect("it runs");
        assert_eq!(closed.coverage, Coverage::Complete);
        epoch = epoch.next();
        written = Some(closed.log);
        written.as_ref().is_some_and(|log| !log.is_empty())
    });
    (epoch, written.unwrap_or_default())
}

#[test]
fn writes_come_as_accesses_and_in_the_log_and_what_is_left_is_proven() {
    let test = "writes_come_as_accesses_and_in_the_log_and_what_is_left_is_proven";
    if !can_record(test) || !pagesieve_ebpf::testing::can_attach(test) {
        return;
    }
    let process = workload(&[]);
    let target = observe(&process, &LiveOptions { require_ebpf: true, ..LiveOptions::default() });
    assert!(target.status().ebpf_enabled && target.status().tracks_writes);
    let (mut accesses, mut seen) = (target.accesses(), Vec::new());
    let mut epoch = target.first_epoch();
    // The kernel program knows the slots only once they are found, so the very first writes have no events.
    wait_until("writes that are in the log to be seen as they happen", || {
        let (next, written) = close_until_written(&target, epoch);
        epoch = next;
        assert!(written.count() < PAGES, "a light load does not write everything");
        accesses.drain(&mut |access| seen.push(access)).expect("the ring can be read");
        seen.iter().any(|access| access.kind == AccessKind::Write && written.contains(access.gfn))
    });
    // One call after the other gives them in order; the order within a call is checked alone.
    seen.clear();
    std::thread::sleep(std::time::Duration::from_millis(200));
    accesses.drain(&mut |access| seen.push(access)).expect("the ring can be read");
    assert!(seen.is_sorted_by_key(|access| access.time));
}

/// Resident and allocated memory, in KiB.
fn takes(pid: u32) -> Vec<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let lines = status.lines().filter(|line| line.starts_with("RssAnon") || line.starts_with("RssShmem"));
    lines.map(str::to_owned).collect()
}

#[test]
fn memory_is_read_without_populating_its_holes() {
    if !can_record("memory_is_read_without_populating_its_holes") {
        return;
    }
    for kind in [&["--anonymous"][..], &[]] {
        let process = workload(kind);
        let target = observe(&process, &LiveOptions::default());
        // Stopped, so that only we could change it.
        process.signal(rustix::process::Signal::STOP);
        let before = takes(process.pid());
        let (mut memory, mut page) = (target.memory(), vec![1; PAGE_SIZE as usize]);
        let mut data = 0;
        for slot in target.slots().iter() {
            for gfn in slot.base.0..slot.end().0 {
                memory.read(gfn..gfn + 1, &mut page).expect("it is there");
                let hva = slot.hva_of(pagesieve_core::Gfn(gfn)).0;
                if page.iter().any(|&byte| byte != 0) {
                    data += 1;
                    assert_eq!(page, straight(process.pid(), hva), "{kind:?}");
                }
            }
        }
        assert!(data > 0, "the workload has data");
        assert_eq!(takes(process.pid()), before, "{kind:?}: reading holes took memory");
        assert!(memory.read(u64::MAX - 1..u64::MAX, &mut page).is_err());
        process.signal(rustix::process::Signal::CONT);
    }
}

/// A page as the process itself has it.
fn straight(pid: u32, hva: u64) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut page = vec![0; PAGE_SIZE as usize];
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).expect("we may");
    file.read_exact_at(&mut page, hva).expect("it is mapped");
    page
}

#[test]
fn without_the_kernel_program_the_reason_is_told_and_nothing_is_lost() {
    if !can_record("without_the_kernel_program_the_reason_is_told_and_nothing_is_lost") {
        return;
    }
    let process = workload(&["--anonymous"]);
    let options = LiveOptions { source: SourceChoice::PagemapScan, ..LiveOptions::default() };
    let target = observe(&process, &options);
    assert!(!target.status().ebpf_enabled && target.status().tracks_writes);
    close_until_written(&target, target.first_epoch());
    assert_eq!(target.accesses().drain(&mut |_| panic!("from where?")).expect("nothing to read"), 0);
}

/// Memory belongs to one userfaultfd at a time. A second observer that scanned it would take the first one's marks away.
#[test]
fn of_two_observers_one_has_the_log_and_the_other_says_that_it_has_none() {
    if !can_record("of_two_observers_one_has_the_log_and_the_other_says_that_it_has_none") {
        return;
    }
    let process = workload(&["--anonymous"]);
    let options = LiveOptions { source: SourceChoice::PagemapScan, ..LiveOptions::default() };
    let first = observe(&process, &options);
    let (epoch, _) = close_until_written(&first, first.first_epoch());
    let second = observe(&process, &options);
    let mut in_second = None;
    wait_until("the workload to write", || {
        in_second = second.log().close(second.first_epoch()).ok();
        first.written_since().count() > 0
    });
    process.signal(rustix::process::Signal::STOP);
    let written = first.written_since();
    let in_second = in_second.into_iter().chain(second.log().close(second.first_epoch()).ok());
    in_second.for_each(|closed| assert!(closed.log.count() >= PAGES, "what is not armed by it is in its log"));
    let mut missing = written.clone();
    missing.subtract(&first.log().close(epoch).expect("it is there").log);
    assert!(!written.is_empty() && missing.is_empty(), "{} of {} were taken away", missing.count(), written.count());
    process.signal(rustix::process::Signal::CONT);
    drop(first);
    second.log().close(second.first_epoch()).expect("it runs");
    let (_, written) = close_until_written(&second, second.first_epoch());
    assert!(written.count() < PAGES, "it is the second one's now");
}

#[test]
fn a_process_cannot_be_paused_for_a_handover_and_one_that_ended_has_no_log() {
    if !can_record("a_process_cannot_be_paused_for_a_handover_and_one_that_ended_has_no_log") {
        return;
    }
    let mut process = workload(&[]);
    let target = observe(&process, &LiveOptions::default());
    assert!(matches!(target.guest().pause(), Err(LiveError::NoMonitor)));
    process.signal(rustix::process::Signal::KILL);
    wait_until("its end", || !process.is_running());
    assert!(matches!(target.log().close(target.first_epoch()), Err(LiveError::Ended { .. })));
    assert!(target.written_since().count() >= PAGES, "nobody knows, so it counts as written");
}
