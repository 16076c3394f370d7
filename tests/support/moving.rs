//! Moving a guest with the library, as an embedder would.
#![allow(clippy::print_stderr, reason = "figures of a move, shown with --nocapture")]

use std::cell::Cell;
use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use pagesieve_core::migration::{Baseline, Config, Mode, Outcome, Purpose, Report, Unconverged};
use pagesieve_core::ports::{DirtyLog, PausableGuest};
use pagesieve_core::{Action, Epoch, Migration, Nanos, PolicyKind};
use pagesieve_live::{Driver, Local, Observer, Store, TokioClock};
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{DestinationRam, Incoming, LiveOptions, LiveTarget, StateLimits};
use pagesieve_traces::{Closing, Frame};

use super::pair::Pair;

const PATIENCE: Duration = Duration::from_secs(60);

/// Observes the guest. No epoch may be closed while it runs.
pub fn observe(pair: &Pair) -> LiveTarget {
    let at_rest = |frame: &Frame| assert_eq!(frame.closing, Closing::Quiescent, "closed while the guest ran");
    let spec = TargetSpec::Guest { qmp: pair.source.socket(), pid: None };
    let options = LiveOptions { device_state: Some(StateLimits::default()), ..LiveOptions::default() };
    LiveTarget::open(&spec, &options, Some(Box::new(at_rest))).expect("a guest with a monitor and shared RAM can be observed")
}

/// The RAM of the QEMU that waits, to be written.
pub fn ram_of(pair: &Pair) -> DestinationRam {
    let mut incoming = Incoming::connect(&pair.destination.socket()).expect("it waits for a guest");
    incoming.ram(None).expect("its RAM is shared")
}

/// The RAM of the QEMU that waits.
struct There {
    ram: DestinationRam,
    /// Nothing arrives any more.
    broken: Rc<Cell<bool>>,
}

impl There {
    fn works(&self) -> io::Result<()> {
        if self.broken.get() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}

impl Store for There {
    type Error = io::Error;

    fn write(&mut self, pages: Range<u64>, bytes: &[u8]) -> io::Result<u64> {
        self.works().and_then(|()| self.ram.write(pages, bytes)).map(|()| bytes.len() as u64)
    }

    fn zero(&mut self, pages: Range<u64>) -> io::Result<u64> {
        self.works().and_then(|()| self.ram.zero(pages)).map(|()| 0)
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
pub enum Trial {
    Nothing,
    /// Nothing arrives any more once the guest is paused.
    WireBreaks,
    /// It is never good enough for the pause, so there are as many rounds as there may be.
    ManyRounds,
}

/// Moves the RAM of a guest.
pub fn move_ram<L, G>(target: &LiveTarget, log: L, guest: G, ram: DestinationRam, trial: Trial) -> Report
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
            destination: Local::new(There { ram, broken: Rc::clone(&broken) }),
            clock: TokioClock::start(),
            observer: Saboteur((trial == Trial::WireBreaks).then(|| Rc::clone(&broken))),
            fingerprint: None,
            handover,
        }
    });
    runtime.block_on(driver.run(&mut migration)).expect("the guest obeys")
}

/// Moves a guest altogether: its RAM is the same at the handover, and it counts on at the destination and not here.
pub fn move_guest(pair: &mut Pair, what: &str, trial: Trial) -> Report {
    let target = observe(pair);
    let mut incoming = Incoming::connect(&pair.destination.socket()).expect("it waits for a guest");
    incoming.check(&target.ram_layout().expect("shared RAM")).expect("the same machine");
    let ram = incoming.ram(None).expect("its RAM is shared");
    let report = move_ram(&target, target.log(), target.guest(), ram, trial);
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(pair.source.status(), "postmigrate", "paused, and its devices taken");
    assert_eq!(target.written_since().count(), 0, "nothing is written after the last closing");
    let different = pair.different_pages();
    let state = target.take_device_state().expect("the pause has taken it");
    eprintln!(
        "{what}: {} rounds, {} blocks sent of {}, {} MiB sent, {different} different pages, {state:?}",
        report.rounds,
        report.blocks.sent,
        report.blocks.total,
        report.bytes_sent >> 20,
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
    pair.destination.counts_on(before);
    assert_eq!(pair.destination.status(), "running");
    report
}
