//! A running guest moves from one QEMU to another on this host: its RAM by the engine, its devices by QEMU.
#![allow(clippy::print_stderr, reason = "figures of a move, shown with --nocapture")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use pagesieve_core::migration::{Baseline, Config, Mode, Outcome, Purpose, Report, Unconverged};
use pagesieve_core::ports::{ClosedEpoch, DirtyLog, PausableGuest};
use pagesieve_core::{Action, BlockId, Epoch, Migration, Nanos, PAGE_SIZE, PageBitmap, PolicyKind};
use pagesieve_live::{Answer, Destination, Driver, Observer, Outgoing, TokioClock};
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{Incoming, LiveOptions, LiveTarget, Log, StateLimits};
use pagesieve_traces::{Closing, Frame, UnknownReason};
use rustix::fs::{SeekFrom, seek};
use support::pair::{Pair, Ram};
use support::qemu::{Qemu, can_run_systems};
use support::slow_disk::{self, SlowDisk};
use support::{scratch, wait_long};

const PAGE: usize = PAGE_SIZE as usize;
const PATIENCE: Duration = Duration::from_secs(60);

/// Observes the guest. No epoch may be closed while it runs.
fn observe(pair: &Pair) -> LiveTarget {
    let at_rest = |frame: &Frame| assert_eq!(frame.closing, Closing::Quiescent, "closed while the guest ran");
    let spec = TargetSpec::Guest { qmp: pair.source.socket(), pid: None };
    let options = LiveOptions { device_state: Some(StateLimits::default()), ..LiveOptions::default() };
    LiveTarget::open(&spec, &options, Some(Box::new(at_rest))).expect("a guest with a monitor and shared RAM can be observed")
}

/// Bytes of a file that are no holes.
fn allocated(file: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.metadata().expect("a file").blocks() * 512
}

/// The RAM of a QEMU that waits, as the file that it is.
struct RamFile {
    file: File,
    answers: VecDeque<Answer<io::Error>>,
    /// Nothing arrives any more.
    broken: Rc<Cell<bool>>,
}

impl RamFile {
    fn open(ram: &Ram, broken: &Rc<Cell<bool>>) -> Self {
        let file = File::options().read(true).write(true).open(&ram.0).expect("the destination has made its RAM");
        Self { file, answers: VecDeque::new(), broken: Rc::clone(broken) }
    }

    /// Writes a page, but no zeros into a hole.
    fn write(&self, offset: u64, page: &[u8]) -> io::Result<()> {
        if page.iter().all(|&byte| byte == 0) && seek(&self.file, SeekFrom::Data(offset)).map_or(true, |data| data > offset) {
            return Ok(());
        }
        self.file.write_all_at(page, offset)
    }

    fn apply(&self, pages: Range<u64>, bytes: &[u8]) -> io::Result<u64> {
        if self.broken.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        for (gfn, page) in pages.zip(bytes.chunks(PAGE)) {
            self.write(gfn * PAGE_SIZE, page)?;
        }
        Ok(bytes.len() as u64)
    }
}

impl Destination for RamFile {
    type Error = io::Error;

    async fn put(&mut self, block: Outgoing<'_>) {
        let result = self.apply(block.pages, block.bytes);
        self.answers.push_back(Answer { block: block.block, result });
    }

    async fn zero(&mut self, block: BlockId, pages: Range<u64>) {
        let bytes = vec![0; (pages.end - pages.start) as usize * PAGE];
        let result = self.apply(pages, &bytes).map(|_| 0);
        self.answers.push_back(Answer { block, result });
    }

    fn try_answer(&mut self) -> Option<Answer<io::Error>> {
        self.answers.pop_front()
    }

    async fn answer(&mut self) -> Answer<io::Error> {
        match self.answers.pop_front() {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

/// Breaks the wire when the guest is paused.
struct Saboteur(Option<Rc<Cell<bool>>>);

impl Observer for Saboteur {
    fn action(&mut self, _now: Nanos, action: &Action) {
        if let (Action::Pause, Some(broken)) = (action, &self.0) {
            broken.set(true);
        }
    }

    fn trouble(&mut self, now: Nanos, what: &str, error: &dyn Display) {
        assert!(self.0.is_some(), "{now:?}: failed to {what}: {error}");
    }
}

/// What is special about a move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    Nothing,
    /// Nothing arrives any more once the guest is paused.
    WireBreaks,
    /// It is never good enough for the pause, so there are as many rounds as there may be.
    ManyRounds,
}

/// Moves the RAM of a guest.
fn move_ram<L, G>(target: &LiveTarget, log: L, guest: G, there: &Ram, trial: Trial) -> Report
where
    L: DirtyLog<Error: Display>,
    G: PausableGuest<Error: Display>,
{
    let downtime_limit = if trial == Trial::ManyRounds { Nanos(0) } else { Mode::DOWNTIME_LIMIT };
    let mode = Mode::Precopy { bandwidth: None, downtime_limit, max_rounds: 10 };
    let mut config = Config::new(Purpose::Live, PolicyKind::Proven, mode);
    (config.first_epoch, config.unconverged) = (target.first_epoch(), Unconverged::HandOver);
    config.retry_delay = Nanos(Nanos::MILLISECOND.0);
    let mut migration = Migration::new(config, target.slots().clone(), Baseline::Empty).expect("a sound policy");
    migration.handle_populated(Nanos(0), Epoch(target.first_epoch().0 - 1), target.populated());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let broken = Rc::new(Cell::new(false));
    let (_keep, handover) = tokio::sync::watch::channel(false);
    let mut driver = runtime.block_on(async {
        Driver {
            accesses: target.accesses(),
            log,
            memory: target.memory(),
            guest,
            destination: RamFile::open(there, &broken),
            clock: TokioClock::start(),
            observer: Saboteur((trial == Trial::WireBreaks).then(|| Rc::clone(&broken))),
            fingerprint: None,
            handover,
        }
    });
    runtime.block_on(driver.run(&mut migration)).expect("the guest obeys")
}

fn moves(class: &str, disk: &str) {
    let mut pair = Pair::start(class, disk, &[]);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    let empty = allocated(&pair.there.0);
    let target = observe(&pair);
    let mut incoming = Incoming::connect(&pair.destination.socket()).expect("it waits for a guest");
    incoming.check(&target.ram_layout().expect("shared RAM")).expect("the same machine");
    let report = move_ram(&target, target.log(), target.guest(), &pair.there, Trial::Nothing);
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(pair.source.status(), "postmigrate", "paused, and its devices taken");
    assert_eq!(target.written_since().count(), 0, "nothing is written after the last closing");
    let different = pair.different_pages();
    let state = target.take_device_state().expect("the pause has taken it");
    eprintln!(
        "{class}: {} rounds, {} blocks sent of {}, {} MiB sent, {} different pages, {state:?}, destination {} KiB before and {} KiB after",
        report.rounds,
        report.blocks.sent,
        report.blocks.total,
        report.bytes_sent >> 20,
        different,
        empty >> 10,
        allocated(&pair.there.0) >> 10,
    );
    assert_eq!(different, 0, "the RAM is the same");
    assert!(report.bytes_sent > 0);
    incoming.load(&state, PATIENCE).expect("the same devices");
    let before = pair.source.self_check();
    target.give_away().expect("the monitor answers");
    incoming.resume().expect("it has all that it needs");
    drop(target);
    assert_eq!(pair.source.status(), "postmigrate", "it must not run twice");
    pair.source.execute("quit", serde_json::json!({}));
    let mut seen = 0;
    wait_long("the guest to count on at the destination", || {
        seen = seen.max(pair.destination.self_check());
        assert!(seen == 0 || seen >= before, "the counter jumped back from {before} to {seen}");
        seen >= before + 5
    });
    assert_eq!(pair.destination.status(), "running");
}

#[test]
fn an_idle_guest_moves_while_it_runs() {
    if can_run_systems("an_idle_guest_moves_while_it_runs") {
        moves("idle", "none");
    }
}

#[test]
fn a_busy_guest_moves_while_it_runs() {
    if can_run_systems("a_busy_guest_moves_while_it_runs") {
        moves("mixed", "buffered");
    }
}

#[test]
fn a_guest_under_heavy_io_moves_while_it_runs() {
    if can_run_systems("a_guest_under_heavy_io_moves_while_it_runs") {
        moves("heavy-io", "native");
    }
}

#[test]
fn a_guest_goes_on_here_if_the_move_fails_or_is_not_wanted() {
    if !can_run_systems("a_guest_goes_on_here_if_the_move_fails_or_is_not_wanted") {
        return;
    }
    let mut pair = Pair::start("light", "buffered", &[]);
    let target = observe(&pair);
    let counts_on = |pair: &mut Pair, what: &str| {
        assert_eq!(pair.source.status(), "running", "{what}");
        let before = pair.source.self_check();
        wait_long("the guest to count on at the source", || pair.source.self_check() > before + 2);
    };
    let report = move_ram(&target, target.log(), target.guest(), &pair.there, Trial::WireBreaks);
    assert!(matches!(report.outcome, Outcome::BlockFailed(_)), "{:?}", report.outcome);
    assert!(target.take_device_state().is_none(), "a state of the past is of no use");
    counts_on(&mut pair, "the wire broke while it was paused");
    drop(target);

    let target = observe(&pair);
    assert_eq!(move_ram(&target, target.log(), target.guest(), &pair.there, Trial::Nothing).outcome, Outcome::Completed);
    assert!(target.take_device_state().is_some());
    assert_eq!(pair.source.status(), "postmigrate");
    target.guest().resume().expect("it is still ours");
    counts_on(&mut pair, "nobody wants it elsewhere");

    target.guest().pause().expect("once more");
    assert_eq!(pair.source.status(), "postmigrate");
    drop(target);
    counts_on(&mut pair, "whoever drops a guest lets it go on");
}

/// A log that trusts the scan although I/O may be in flight.
struct Naive {
    log: Log,
    scanned: Rc<RefCell<PageBitmap>>,
}

impl Naive {
    /// What the frames say without the doubt about I/O in flight.
    fn listen(scanned: &Rc<RefCell<PageBitmap>>) -> pagesieve_recorder::live::FrameListener {
        let scanned = Rc::clone(scanned);
        Box::new(move |frame: &Frame| {
            let mut log = frame.log.clone();
            log.unknown.retain(|set| set.reason != UnknownReason::DirectIo);
            *scanned.borrow_mut() = log.all();
        })
    }
}

impl DirtyLog for Naive {
    type Error = pagesieve_recorder::live::LiveError;

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

/// The oracle of the other tests can see what it is for: without the stops, what was in flight at a closing is lost.
#[test]
fn reads_in_flight_are_lost_without_the_stops_and_not_with_them() {
    if !can_run_systems("reads_in_flight_are_lost_without_the_stops_and_not_with_them") {
        return;
    }
    let data = scratch();
    let mut pair = Pair::start("idle", "buffered", &slow_disk::drive(&slow_disk::noise(data.path())));
    let slow = SlowDisk::for_process(pair.source.process.pid(), data.path(), 4);

    let scanned = Rc::default();
    let spec = TargetSpec::Pid(pair.source.process.pid());
    let target = LiveTarget::open(&spec, &LiveOptions::default(), Some(Naive::listen(&scanned))).expect("QEMU is a process too");
    let naive = Naive { log: target.log(), scanned };
    let report = move_ram(&target, naive, Late(&mut pair.source), &pair.there, Trial::ManyRounds);
    assert_eq!(report.outcome, Outcome::Completed);
    let lost = pair.different_pages();
    eprintln!("without the stops: {} rounds, {lost} pages are not the same", report.rounds);
    drop(target);
    pair.source.execute("cont", serde_json::json!({}));
    match slow {
        Ok(_) => assert!(lost > 0, "this test shows nothing"),
        Err(error) => pagesieve_ebpf::testing::skipped("the loss without the stops", &format!("the disk is not slow: {error}")),
    }

    let target = observe(&pair);
    let report = move_ram(&target, target.log(), target.guest(), &pair.there, Trial::ManyRounds);
    let different = pair.different_pages();
    eprintln!("with the stops: {} rounds, {different} pages are not the same", report.rounds);
    assert_eq!((report.outcome, different, target.written_since().count()), (Outcome::Completed, 0, 0));
}
