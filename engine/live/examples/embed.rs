//! A virtual machine monitor in small that moves its guest, a thread that writes. A real one brings its hypervisor's dirty log
//! instead of `NoCpus`: `cargo run -p pagesieve-live --features vm-memory --example embed`
#![allow(clippy::print_stdout, reason = "a command")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{RwLock, RwLockWriteGuard};
use std::{convert::Infallible, time::Duration};

use pagesieve_core::{Baseline, Config, Migration, Mode, Outcome, PolicyKind, Purpose, delta, ports::PausableGuest};
use pagesieve_live::vm_memory::{BitmapLog, Memory, NoCpus, VmMemory, slots};
use pagesieve_live::{Driver, Local, NoEvents, Store, TokioClock};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

const SIZE: usize = 64 << 20;

/// The memory at the destination, here in the same process.
struct There<'a>(&'a Memory);
impl Store for There<'_> {
    type Error = GuestMemoryError;
    fn write(&mut self, pages: Range<u64>, bytes: &[u8]) -> Result<u64, GuestMemoryError> {
        self.0.write_slice(bytes, GuestAddress(pages.start * 4096)).map(|()| bytes.len() as u64)
    }
}

/// The guest runs while nobody holds the gate.
struct Guest<'a>(&'a RwLock<()>, Option<RwLockWriteGuard<'a, ()>>);
impl PausableGuest for Guest<'_> {
    type Error = Infallible;
    fn pause(&mut self) -> Result<(), Infallible> {
        self.1 = self.0.write().ok();
        Ok(())
    }
    fn resume(&mut self) -> Result<(), Infallible> {
        self.1 = None;
        Ok(())
    }
}

fn run(memory: &Memory, gate: &RwLock<()>, ended: &AtomicBool) {
    for step in (0_u64..).take_while(|_| !ended.load(Relaxed)) {
        let _running = gate.read();
        memory.write_obj(step, GuestAddress(step * 4096 % (SIZE as u64 / 4))).expect("the address is in the guest");
        std::thread::sleep(Duration::from_micros(20));
    }
}

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let new = || Memory::from_ranges(&[(GuestAddress(0), SIZE)]);
    let (here, there, gate, ended) = (new()?, new()?, RwLock::new(()), AtomicBool::new(false));
    let mode = Mode::Precopy { bandwidth: None, downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: Mode::MAX_ROUNDS };
    let config = Config::new(Purpose::Live, PolicyKind::Proven, mode);
    let mut migration = Migration::new(config, slots(&here)?, Baseline::Empty)?;
    let mut driver = Driver {
        accesses: NoEvents,
        log: BitmapLog { memory: &here, cpus: NoCpus },
        memory: VmMemory(&here),
        guest: Guest(&gate, None),
        destination: Local::new(There(&there)),
        clock: TokioClock::start(),
        observer: (),
        fingerprint: Some(delta::fingerprint),
        handover: tokio::sync::watch::channel(false).1,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let report = std::thread::scope(|scope| {
        scope.spawn(|| run(&here, &gate, &ended));
        let report = runtime.block_on(driver.run(&mut migration));
        let same =
            (0..SIZE as u64).step_by(4096).map(GuestAddress).all(|at| here.read_obj::<u64>(at).ok() == there.read_obj(at).ok());
        assert!(same, "the paused guest and its copy differ");
        ended.store(true, Relaxed);
        driver.guest.resume().map(|()| report)
    })??;
    println!("{:?} after {} rounds; {} bytes sent", report.outcome, report.rounds, report.bytes_sent);
    if report.outcome == Outcome::Completed { Ok(()) } else { Err("the guest stays here".into()) }
}
