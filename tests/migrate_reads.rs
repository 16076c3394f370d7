//! Disk reads that are in flight when an epoch is closed: lost without the stops, and not with them.
#![allow(clippy::print_stderr, reason = "figures of a move, shown with --nocapture")]

mod support;

use std::cell::RefCell;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;

use pagesieve_core::migration::Outcome;
use pagesieve_core::ports::{ClosedEpoch, DirtyLog, PausableGuest};
use pagesieve_core::{Epoch, PageBitmap};
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{FrameListener, LiveError, LiveOptions, LiveTarget, Log};
use pagesieve_traces::{Frame, UnknownReason};
use support::moving::{Trial, move_guest, move_ram, ram_of};
use support::pair::Pair;
use support::qemu::{Qemu, can_run_systems};
use support::slow_disk::{self, SlowDisk};
use support::{scratch, wait_long};

/// A log that trusts the scan although I/O may be in flight.
struct Naive {
    log: Log,
    scanned: Rc<RefCell<PageBitmap>>,
}

impl Naive {
    /// What the frames say without the doubt about I/O in flight.
    fn listen(scanned: &Rc<RefCell<PageBitmap>>) -> FrameListener {
        let scanned = Rc::clone(scanned);
        Box::new(move |frame: &Frame| {
            let mut log = frame.log.clone();
            log.unknown.retain(|set| set.reason != UnknownReason::DirectIo);
            *scanned.borrow_mut() = log.all();
        })
    }
}

impl DirtyLog for Naive {
    type Error = LiveError;

    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, Self::Error> {
        let closed = self.log.close(epoch)?;
        Ok(ClosedEpoch { log: self.scanned.borrow().clone(), ..closed })
    }
}

/// Pauses a guest at the end only, by the test's own monitor.
struct Late<'a>(&'a mut Qemu);

impl PausableGuest for Late<'_> {
    type Error = Infallible;

    fn pause(&mut self) -> Result<(), Infallible> {
        self.0.execute("stop", serde_json::json!({}));
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Infallible> {
        self.0.execute("cont", serde_json::json!({}));
        Ok(())
    }
}

/// What the disk can do in a second, in reads and in bytes: less than the guest can.
const DISK: (u32, u64) = (300, 16 << 20);

/// A guest under heavy I/O, which also reads pages that it never had from a slow disk.
fn starts(aio: &str, data: &Path) -> (Pair, std::io::Result<SlowDisk>) {
    let pair = Pair::start("heavy-io", aio, &slow_disk::drive(&slow_disk::noise(data), aio));
    let slow = SlowDisk::for_process(pair.source.process.pid(), data, DISK.0, DISK.1);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    (pair, slow)
}

/// Moves the RAM as a program would that does not stop the guest in each round. Returns how many pages are not the same.
fn lost_without_the_stops(pair: &mut Pair) -> u64 {
    let scanned = Rc::default();
    let spec = TargetSpec::Pid(pair.source.process.pid());
    let target = LiveTarget::open(&spec, &LiveOptions::default(), Some(Naive::listen(&scanned))).expect("QEMU is a process too");
    let naive = Naive { log: target.log(), scanned };
    let ram = ram_of(pair);
    let report = move_ram(&target, naive, Late(&mut pair.source), ram, Trial::ManyRounds);
    assert_eq!(report.outcome, Outcome::Completed);
    let lost = pair.different_pages();
    eprintln!("without the stops: {} rounds, {lost} pages are not the same", report.rounds);
    drop(target);
    pair.source.execute("cont", serde_json::json!({}));
    lost
}

/// The oracle of the other tests can see what it is for: without the stops, what was in flight at a closing is lost.
fn nothing_in_flight_is_lost(test: &str, aio: &str) {
    if !can_run_systems(test) {
        return;
    }
    let data = scratch();
    let (mut pair, slow) = starts(aio, data.path());
    let lost = lost_without_the_stops(&mut pair);
    match &slow {
        Ok(_) => assert!(lost > 0, "this test shows nothing"),
        Err(error) => pagesieve_ebpf::testing::skipped(test, &format!("the disk is not slow: {error}")),
    }
    move_guest(&mut pair, &format!("heavy-io, {aio}, with the stops"), Trial::ManyRounds);
}

#[test]
fn reads_in_flight_by_native_aio_are_not_lost() {
    nothing_in_flight_is_lost("reads_in_flight_by_native_aio_are_not_lost", "native");
}

#[test]
fn reads_in_flight_by_io_uring_are_not_lost() {
    nothing_in_flight_is_lost("reads_in_flight_by_io_uring_are_not_lost", "io_uring");
}
