//! A guest over real sockets, with both of its ends in this process: what the wire carries, and what arrives.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pagesieve_core::forecast::{Forecast, Link};
use pagesieve_core::migration::Unconverged;
use pagesieve_core::ports::{ClosedEpoch, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Backing, Coverage, Epoch, Gfn, Hva, MemSlot, MemSlots, Nanos, PAGE_SIZE, PageBitmap, Report};
use pagesieve_live::NoEvents;
use pagesieve_live::migrate::{
    Guest, Handover, MigrateConfig, MigrateError, MigrateListener, Migrated, Phase, Round, foretell, migrate,
};
use pagesieve_live::serve::{Ended, GuestHost, Handovers, ResumeError, Root, Takes, serve};
use pagesieve_live::sync::SyncConfig;
use pagesieve_live::transport::{ClientSecurity, Connector, Listener, ListenerLimits, ServerSecurity, Timeouts};
use pagesieve_live::wire::{Name, Slot};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

const PAGE: usize = PAGE_SIZE as usize;
const PAGES: u64 = 512;
/// The block whose pages the guest writes in every epoch.
const HOT: Range<u64> = 64..80;
/// A page that it writes in every epoch, the only one in its block.
const LONELY: u64 = 130;
const STATE: &[u8] = b"the devices";

/// A guest that writes a few bytes into each page of [`HOT`] and into [`LONELY`] in every epoch.
#[derive(Clone)]
struct Source(Rc<RefCell<State>>);

struct State {
    memory: Vec<u8>,
    epochs: u8,
    paused: bool,
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn place(pages: &Range<u64>) -> Range<usize> {
    pages.start as usize * PAGE..pages.end as usize * PAGE
}

fn bitmap(pages: Range<u64>) -> PageBitmap {
    let mut bitmap = PageBitmap::new(PAGES);
    bitmap.insert_range(pages);
    bitmap
}

impl DirtyLog for Source {
    type Error = Infallible;

    fn close(&mut self, _: Epoch) -> Result<ClosedEpoch, Infallible> {
        let mut state = self.0.borrow_mut();
        let mut log = PageBitmap::new(PAGES);
        if !state.paused {
            state.epochs += 1;
            let epochs = state.epochs;
            for page in HOT.chain([LONELY]) {
                state.memory[page as usize * PAGE + 100..][..3].fill(epochs);
                log.insert(Gfn(page));
            }
        }
        Ok(ClosedEpoch { log, coverage: Coverage::Complete, populated: None, slots: None })
    }
}

impl GuestMemory for Source {
    type Error = Infallible;

    fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> Result<(), Infallible> {
        into.copy_from_slice(&self.0.borrow().memory[place(&pages)]);
        Ok(())
    }
}

impl PausableGuest for Source {
    type Error = Infallible;

    fn pause(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().paused = true;
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Infallible> {
        self.0.borrow_mut().paused = false;
        Ok(())
    }
}

struct Devices;

impl Handover for Devices {
    fn device_state(&mut self) -> Result<Vec<u8>, String> {
        Ok(STATE.to_vec())
    }

    fn give_away(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn take_back(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Where the guest goes. `spoiled` writes into the hot block go wrong afterwards, as if someone else had written there.
#[derive(Clone)]
struct Home {
    memory: Arc<Mutex<Vec<u8>>>,
    spoiled: Arc<Mutex<u32>>,
}

impl GuestHost for Home {
    fn check(&mut self, slots: &[Slot]) -> Result<(), String> {
        (slots == [Slot { first: 0, pages: PAGES }]).then_some(()).ok_or_else(|| "another size".to_owned())
    }

    fn populated(&mut self) -> PageBitmap {
        PageBitmap::new(PAGES)
    }

    fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        into.copy_from_slice(&self.memory.lock().unwrap()[place(&frames)]);
        Ok(())
    }

    fn write(&mut self, frames: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.memory.lock().unwrap();
        memory[place(&frames)].copy_from_slice(bytes);
        let mut spoiled = self.spoiled.lock().unwrap();
        if frames == HOT && *spoiled > 0 {
            *spoiled -= 1;
            memory[place(&frames)].fill(0xaa);
        }
        Ok(())
    }

    fn zero(&mut self, frames: Range<u64>) -> io::Result<()> {
        self.memory.lock().unwrap()[place(&frames)].fill(0);
        Ok(())
    }

    fn load(&mut self, device_state: &[u8]) -> Result<(), String> {
        (device_state == STATE).then_some(()).ok_or_else(|| "other devices".to_owned())
    }

    fn resume(&mut self) -> Result<(), ResumeError> {
        Ok(())
    }
}

/// What was told.
#[derive(Default)]
struct Heard {
    phases: Vec<Phase>,
    forecasts: Vec<Forecast>,
    rounds: Vec<Round>,
    report: Option<Report>,
    /// In which phase to end it all, and how.
    abort_in: Option<Phase>,
    abort: Option<watch::Sender<bool>>,
}

impl MigrateListener for Heard {
    fn phase(&mut self, phase: Phase) {
        self.phases.push(phase);
        if let Some(abort) = self.abort.as_ref().filter(|_| self.abort_in == Some(phase)) {
            abort.send_replace(true);
        }
    }

    fn forecast(&mut self, forecast: &Forecast) {
        assert!(self.rounds.len() < 2, "it is of use at the beginning");
        self.forecasts.push(*forecast);
    }

    fn round(&mut self, round: &Round) {
        self.rounds.push(*round);
    }

    fn report(&mut self, report: &Report) {
        self.report = Some(report.clone());
    }
}

impl Heard {
    /// The parts of the story make up the whole.
    fn check(&self, done: &Migrated, rounds: u32) {
        use Phase::{Devices, Handover, Opening, Precopy, StopAndCopy, Watching};
        assert_eq!(self.phases, [Opening, Watching, Precopy, StopAndCopy, Devices, Handover]);
        assert_eq!(self.report.as_ref(), Some(&done.report));
        let numbers: Vec<_> = self.rounds.iter().map(|round| (round.number, round.paused)).collect();
        assert_eq!(numbers, (0..=rounds).map(|number| (number, number == rounds)).collect::<Vec<_>>());
        let sum = |part: fn(&Round) -> u64| self.rounds.iter().map(part).sum::<u64>();
        assert_eq!(sum(|round| round.bytes_wire), done.report.bytes_wire);
        assert_eq!(sum(|round| round.blocks_sent), done.report.blocks.sent);
        assert_eq!(sum(|round| round.bytes_sent), done.report.bytes_sent);
        for round in &self.rounds {
            assert_eq!(round.left, if round.paused { 0 } else { 2 * BLOCK_PAGES * PAGE_SIZE }, "{round:?}");
        }
        // Before the first round no bandwidth is known, after it one is.
        let known: Vec<_> = self.forecasts.iter().map(|forecast| forecast.link.bandwidth.is_some()).collect();
        assert_eq!(known, [false, true]);
    }
}

fn home(spoiled: u32) -> Home {
    Home { memory: Arc::new(Mutex::new(vec![0; PAGES as usize * PAGE])), spoiled: Arc::new(Mutex::new(spoiled)) }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn source() -> Source {
    Source(Rc::new(RefCell::new(State { memory: noise(PAGES as usize * PAGE), epochs: 0, paused: false })))
}

fn parts(source: &Source) -> Guest<NoEvents, Source, Source, Source> {
    let slot = MemSlot { base: Gfn(0), pages: PAGES, hva: Hva(0), backing: Backing::Shared, numa_node: None };
    let slots = MemSlots::from_slots([slot]).unwrap();
    let (log, memory, guest) = (source.clone(), source.clone(), source.clone());
    Guest { accesses: NoEvents, log, memory, guest, slots, first_epoch: Epoch(1), populated: bitmap(0..PAGES) }
}

/// Moves the guest in so many rounds, and sees that all of it arrived.
fn moved(rounds: u32, delta_room: u64, spoiled: u32) -> Migrated {
    let (home, source) = (home(spoiled), source());
    let mut heard = Heard::default();
    let (done, ended) = runtime().block_on(run(&source, home.clone(), rounds, delta_room, &mut heard));
    let done = done.unwrap();
    assert!(matches!(ended, Ended::HandedOver { ref name } if name == "guest"), "{ended:?}");
    heard.check(&done, rounds);
    assert!(source.0.borrow().paused, "it runs at the other end");
    assert!(*home.memory.lock().unwrap() == source.0.borrow().memory, "the sides differ");
    done
}

async fn run(
    source: &Source,
    home: Home,
    rounds: u32,
    delta_room: u64,
    heard: &mut Heard,
) -> (Result<Migrated, MigrateError>, Ended) {
    let address = "127.0.0.1:0".parse().unwrap();
    let bound = Listener::bind(address, ServerSecurity::PlainLoopback, Timeouts::default(), ListenerLimits::default()).await;
    let mut listener = bound.unwrap();
    let port = listener.address().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let hosts = move |_: &str| Ok(Box::new(home.clone()) as Box<dyn GuestHost>);
    let (root, handovers) = (Root::open(dir.path()).unwrap(), Handovers::default());
    let takes = Takes { root, config: SyncConfig::default(), hosts: Some(Box::new(hosts)), handovers };
    let server = tokio::spawn(async move {
        let session = listener.accept(|trouble| panic!("{trouble:?}")).await;
        serve(session, Arc::new(takes)).await
    });
    let connector = Connector { security: ClientSecurity::PlainLoopback, timeouts: Timeouts::default(), limiter: None };
    let session = connector.connect("127.0.0.1", port, 2).await.unwrap();
    let config = MigrateConfig {
        watch: Duration::from_millis(40),
        max_rounds: rounds,
        downtime_limit: Duration::ZERO,
        unconverged: Unconverged::HandOver,
        delta_room,
        verify: true,
        ..MigrateConfig::default()
    };
    let ((_handover, handover), (abort_sender, abort)) = (watch::channel(false), watch::channel(false));
    heard.abort = Some(abort_sender);
    let name = Name::new("guest").unwrap();
    let done = migrate(parts(source), &mut Devices, session, name, &config, (handover, abort), heard).await;
    (done, server.await.unwrap().unwrap_or(Ended::Left))
}

/// Pages of each of the two blocks that are written.
const BLOCK_PAGES: u64 = HOT.end - HOT.start;

#[test]
fn what_is_sent_again_travels_as_differences() {
    let without = moved(4, 0, 0);
    let with = moved(4, 64 << 20, 0);
    assert_eq!((without.report.rounds, with.report.rounds), (5, 5), "four, and the one after the pause");
    assert_eq!((without.traffic.forms.xbzrle, with.traffic.forms.xbzrle), (0, 4 * (BLOCK_PAGES + 1)));
    assert!(with.traffic.sent < without.traffic.sent - 3 * BLOCK_PAGES * PAGE_SIZE, "{:?} {:?}", with.traffic, without.traffic);
    assert!(with.traffic.sent > with.report.bytes_wire, "frames have more than blocks in them");
    // With room or without: pages of a block that were not written are not sent again.
    for moved in [with, without] {
        assert_eq!(moved.traffic.forms.unchanged, 4 * (BLOCK_PAGES - 1), "{:?}", moved.traffic);
    }
}

#[test]
fn a_delta_to_what_is_not_there_is_sent_again_whole() {
    let done = moved(4, 64 << 20, 2);
    // The two that followed a spoiled one came out wrong, were refused, and went again without a base.
    assert_eq!(done.traffic.forms.xbzrle, 4 * (BLOCK_PAGES + 1));
    assert_eq!(done.report.causes.retried, 2, "{:?}", done.report.causes);
}

#[test]
fn whoever_ends_it_in_any_phase_finds_the_guest_running_here() {
    use Phase::{Devices, Opening, Precopy, StopAndCopy, Watching};
    for phase in [Opening, Watching, Precopy, StopAndCopy, Devices] {
        let source = source();
        let mut heard = Heard { abort_in: Some(phase), ..Heard::default() };
        let (done, ended) = runtime().block_on(run(&source, home(0), 4, 0, &mut heard));
        assert!(matches!(done, Err(MigrateError::Aborted)), "{phase:?}: {done:?}");
        assert!(!matches!(ended, Ended::HandedOver { .. }), "{phase:?}: {ended:?}");
        assert!(!source.0.borrow().paused, "{phase:?}");
        assert_eq!(heard.phases.last(), Some(&phase));
    }
}

#[test]
fn a_guest_is_foretold_without_being_touched() {
    let source = source();
    let link = |bandwidth| Link { bandwidth: Some(bandwidth), downtime_limit: Nanos(300 * Nanos::MILLISECOND.0), max_rounds: 30 };
    let config = MigrateConfig { watch: Duration::from_millis(40), ..MigrateConfig::default() };
    let forecasts = runtime().block_on(foretell(parts(&source), &config, &[link(1000), link(1 << 40)])).unwrap();
    // It writes 64 KiB in every 10 ms: too much for the one, nothing for the other.
    assert_eq!(forecasts.iter().map(|forecast| forecast.converges).collect::<Vec<_>>(), [false, true]);
    let state = source.0.borrow();
    assert!(!state.paused && state.epochs > 0);
}
