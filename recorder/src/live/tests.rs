//! What the engine is told where little is known.

use std::process::{Child, Command};

use pagesieve_core::Coverage;
use pagesieve_core::ports::DirtyLog;
use pagesieve_ebpf::HookChoice;
use pagesieve_traces::Frame;

use super::*;
use crate::maps::Region;
use crate::pagemap;
use crate::target::CommandOutput;

/// A process that is ended with the test.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The heap of a process that does nothing, of which no writes are tracked.
fn untracked(process: &Sleeper) -> Rc<RefCell<Shared>> {
    let heap = vec!["[heap]".parse::<Region>().unwrap()];
    let mut target = Target::start(&TargetSpec::Pid(process.0.id()), true, CommandOutput::Discard).unwrap();
    let (events, _) = Events::open(target.pid, SourceChoice::PagemapScan, HookChoice::Auto, 4096, 1 << 20).unwrap();
    let writes = writes::untracked(&target).unwrap();
    let observer = Observer::new(&mut target, writes, events, None, heap, 1 << 20).unwrap();
    let shared = Shared {
        observer,
        target,
        in_doubt: false,
        stops_threads: false,
        device_state: None,
        state: None,
        listener: None,
        recording: None,
    };
    Rc::new(RefCell::new(shared))
}

#[test]
fn without_tracking_every_page_is_in_every_log() {
    if !pagemap::is_supported() {
        pagesieve_ebpf::testing::skipped("without_tracking", "this kernel has no PAGEMAP_SCAN");
        return;
    }
    let process = Sleeper(Command::new("sleep").arg("600").spawn().unwrap());
    let mut shared = untracked(&process);
    // It begins as a copy of this process and becomes another one.
    while shared.borrow_mut().frame().map_or(true, |frame| frame.populated.is_empty()) {
        std::thread::sleep(std::time::Duration::from_millis(10));
        shared = untracked(&process);
    }
    let all = shared.borrow().observer.layout.pages();
    for epoch in 1..4 {
        let closed = Log::new(Rc::clone(&shared)).close(Epoch(epoch)).unwrap();
        assert!(!all.is_empty() && closed.log == all, "epoch {epoch}");
    }
    assert_eq!(shared.borrow_mut().observer.written_since(), all);
}

#[test]
fn an_epoch_after_one_that_failed_proves_nothing() {
    assert_eq!(ports::told(Frame::default(), false).unwrap().coverage, Coverage::Complete);
    assert_eq!(ports::told(Frame::default(), true).unwrap().coverage, Coverage::Partial);
    let mut process = Sleeper(Command::new("sleep").arg("600").spawn().unwrap());
    let shared = untracked(&process);
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    assert!(Log::new(Rc::clone(&shared)).close(Epoch(1)).is_err());
    assert!(shared.borrow().in_doubt);
}
