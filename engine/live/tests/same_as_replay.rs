//! The live loop and the replayer are two drivers of one engine: for the same guest they take the same actions at the same
//! times. The guest here is a script, played by a stepped clock on one side and written down as a trace on the other.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use pagesieve_core::ports::{AccessSource, ClosedEpoch, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{
    Access, AccessKind, Action, Backing, Baseline, BlockSummary, Config, Coverage, Epoch, Fingerprint, Gfn, Hva, MemSlot,
    MemSlots, Migration, Mode, Nanos, Origin, Outcome, PAGE_SIZE, PageBitmap, PolicyKind, Purpose, Unconverged,
};
use pagesieve_live::{Clock, Driver, Local, Observer, Store};
use pagesieve_replayer::wire::{BLOCK_HEADER, PAGE_HEADER};
use pagesieve_replayer::{ActionLog, ReplayConfig, Scenario, Start, TraceInfo, replay};
use pagesieve_traces::{ContentId, EventSource, Frame, Header, Machine, PageSummary, Target};
use tokio::sync::watch;

const PAGES: u64 = 8;
const SECOND: u64 = Nanos::SECOND.0;

/// Page and new content of each write; a write at the same place of the list happens in the same epoch.
type Writes = &'static [(u64, u32)];

/// What the guest does in each epoch. The last one is half as long, so that it does not end with a sync interval.
const SCRIPT: &[Writes] = &[
    &[(0, 11), (3, 12)],
    &[],
    // Page 1 gets its old content again, page 3 turns into a hole.
    &[(1, 5), (1, 2), (3, 0)],
    &[(0, 13), (5, 14), (6, 15)],
    &[(0, 16), (5, 0)],
];
/// Contents at the start: pages 4 to 7 are empty.
const START: [u32; PAGES as usize] = [1, 2, 3, 4, 0, 0, 0, 0];

fn end_of(epoch: usize) -> u64 {
    let whole = epoch as u64 * SECOND;
    if epoch == SCRIPT.len() { whole - SECOND / 2 } else { whole }
}

fn slots() -> Vec<MemSlot> {
    vec![MemSlot { base: Gfn(0), pages: PAGES, hva: Hva(0x4000_0000), backing: Backing::Shared, numa_node: None }]
}

fn accesses(epoch: usize) -> Vec<Access> {
    let time = |at: usize| Nanos(end_of(epoch) - SECOND / 4 + at as u64);
    let write = |(at, &(page, _)): (usize, &(u64, u32))| Access {
        time: time(at),
        gfn: Gfn(page),
        kind: AccessKind::Write,
        origin: Origin::User,
        cpu: 0,
        tid: 1,
    };
    SCRIPT[epoch - 1].iter().enumerate().map(write).collect()
}

/// The pages with content.
fn populated(contents: &[u32]) -> PageBitmap {
    let mut set = PageBitmap::new(PAGES);
    for (page, _) in contents.iter().enumerate().filter(|&(_, &content)| content != 0) {
        set.insert(Gfn(page as u64));
    }
    set
}

fn bytes(content: u32) -> Vec<u8> {
    content.to_le_bytes().repeat(PAGE_SIZE as usize / 4)
}

fn hash(bytes: &[u8]) -> Fingerprint {
    // Distinct for the contents of this test, which fill a page with one number.
    Fingerprint(u128::from(u32::from_le_bytes(bytes[..4].try_into().unwrap())))
}

// The guest as a trace.

fn header() -> Header {
    Header {
        tool: String::new(),
        created: 0,
        clock: String::new(),
        machine: Machine::default(),
        source: EventSource::Synthetic,
        hooks: Vec::new(),
        arming: String::new(),
        target: Target::default(),
        class: None,
        epoch_length: Nanos::SECOND,
        fingerprints: true,
        fingerprint_key: None,
        slots: slots(),
    }
}

fn frames() -> Vec<Frame> {
    let mut contents = START;
    let summary = |(page, &content): (usize, &u32)| PageSummary {
        gfn: Gfn(page as u64),
        content: ContentId(content),
        compressed: 4096,
        delta: None,
    };
    let first = START.iter().enumerate().filter(|&(_, &content)| content != 0).map(summary).collect();
    let mut frames = vec![Frame { populated: populated(&contents), summaries: Some(first), ..Frame::default() }];
    for epoch in 1..=SCRIPT.len() {
        let before = contents;
        let mut written = PageBitmap::new(PAGES);
        for &(page, content) in SCRIPT[epoch - 1] {
            contents[page as usize] = content;
            written.insert(Gfn(page));
        }
        let changed = contents.iter().enumerate().filter(|&(page, &content)| content != before[page]);
        let end = Nanos(end_of(epoch));
        let mut frame = Frame {
            epoch: Epoch(epoch as u32),
            start: Nanos(end_of(epoch - 1)),
            scan_start: end,
            end,
            events: accesses(epoch),
            populated: populated(&contents),
            summaries: Some(changed.map(summary).collect()),
            ..Frame::default()
        };
        frame.log.written = written;
        frames.push(frame);
    }
    frames
}

// The guest as a machine.

struct World {
    now: u64,
    contents: Vec<u32>,
    there: Vec<Vec<u8>>,
    /// Epochs that have happened.
    epochs: usize,
    written: PageBitmap,
    /// True if an epoch ended since the log was read.
    ended: bool,
    paused: bool,
    events: Vec<Access>,
    handover: watch::Sender<bool>,
    lines: String,
    /// Sends that fail.
    failures: u32,
}

#[derive(Clone)]
struct Part(Rc<RefCell<World>>);

impl World {
    /// Time goes on to `time`, or to the end of the script.
    fn pass(&mut self, time: u64) {
        while self.epochs < SCRIPT.len() && end_of(self.epochs + 1) <= time && !self.paused {
            self.epochs += 1;
            for &(page, content) in SCRIPT[self.epochs - 1] {
                self.contents[page as usize] = content;
                self.written.insert(Gfn(page));
            }
            self.events.extend(accesses(self.epochs));
            self.ended = true;
            self.now = end_of(self.epochs);
            if self.epochs == SCRIPT.len() {
                self.handover.send_replace(true);
                return;
            }
        }
        self.now = self.now.max(time);
    }
}

impl Clock for Part {
    fn now(&self) -> Nanos {
        Nanos(self.0.borrow().now)
    }

    async fn sleep_until(&mut self, time: Nanos) {
        self.0.borrow_mut().pass(time.0);
    }
}

impl AccessSource for Part {
    type Error = Infallible;

    fn drain(&mut self, each: &mut dyn FnMut(Access)) -> Result<u64, Infallible> {
        let events = std::mem::take(&mut self.0.borrow_mut().events);
        events.into_iter().for_each(each);
        Ok(0)
    }
}

impl DirtyLog for Part {
    type Error = Infallible;

    /// Takes until the end of the epoch in progress, if one is.
    fn close(&mut self, _: Epoch) -> Result<ClosedEpoch, Infallible> {
        let mut world = self.0.borrow_mut();
        if !world.ended && !world.paused {
            let end = end_of(world.epochs + 1);
            world.pass(end);
        }
        world.ended = false;
        let log = std::mem::replace(&mut world.written, PageBitmap::new(PAGES));
        Ok(ClosedEpoch { log, coverage: Coverage::Complete, populated: Some(populated(&world.contents)), slots: None })
    }
}

impl GuestMemory for Part {
    type Error = Infallible;

    fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> Result<(), Infallible> {
        for (page, into) in pages.zip(into.chunks_mut(PAGE_SIZE as usize)) {
            into.copy_from_slice(&bytes(self.0.borrow().contents[page as usize]));
        }
        Ok(())
    }
}

impl PausableGuest for Part {
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

impl Store for Part {
    type Error = &'static str;

    fn write(&mut self, pages: Range<u64>, bytes: &[u8]) -> Result<u64, &'static str> {
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        for (page, bytes) in pages.clone().zip(bytes.chunks(PAGE_SIZE as usize)) {
            world.there[page as usize] = bytes.to_vec();
            if world.failures > 0 {
                world.failures -= 1;
                world.there[page as usize][100..].fill(0xee);
                return Err("the wire broke in the middle of a page");
            }
        }
        Ok(BLOCK_HEADER + (pages.end - pages.start) * (PAGE_HEADER + PAGE_SIZE))
    }

    fn zero(&mut self, pages: Range<u64>) -> Result<u64, &'static str> {
        for page in pages {
            self.0.borrow_mut().there[page as usize].fill(0);
        }
        Ok(BLOCK_HEADER)
    }
}

impl Observer for Part {
    fn action(&mut self, now: Nanos, action: &Action) {
        writeln!(self.0.borrow_mut().lines, "{} {action}", now.0).unwrap();
    }
}

fn replay_config(policy: PolicyKind, scenario: Scenario) -> ReplayConfig {
    ReplayConfig {
        policy,
        scenario,
        block_size: PAGE_SIZE,
        interval: Nanos::SECOND,
        aging: Nanos(SECOND * 3 / 2),
        warm_up: Some(Nanos(0)),
        ..ReplayConfig::default()
    }
}

/// The engine as the replayer makes it, but for a live guest.
fn migration(config: &ReplayConfig) -> Migration {
    let mode = match config.scenario {
        Scenario::Sync => Mode::Sync { interval: config.interval },
        Scenario::Precopy => {
            Mode::Precopy { bandwidth: config.bandwidth, downtime_limit: config.downtime_limit, max_rounds: Mode::MAX_ROUNDS }
        }
    };
    let engine = Config {
        block_size: config.block_size,
        aging_threshold: config.aging,
        unconverged: Unconverged::HandOver,
        ..Config::new(Purpose::Live, config.policy, mode)
    };
    let baseline = match start(config) {
        Start::Empty => Baseline::Empty,
        Start::Checkpoint => Baseline::Equal { as_of: Epoch(0) },
        Start::Fingerprints => Baseline::Fingerprints,
    };
    let mut table = MemSlots::new();
    slots().into_iter().for_each(|slot| table.insert(slot).unwrap());
    let mut migration = Migration::new(engine, table, baseline).unwrap();
    migration.handle_populated(Nanos(0), Epoch(0), &populated(&START));
    if start(config) != Start::Empty {
        for (index, &content) in (0..).zip(&START) {
            let fingerprint = Some(hash(&bytes(content)));
            let summary = BlockSummary { zero: content == 0, fingerprint, raw_len: PAGE_SIZE, wire_len: PAGE_SIZE };
            let block = migration.blocks().id(index);
            migration.handle_baseline(block, &summary);
        }
    }
    migration
}

/// What the destination holds at the start; the default is the replayer's.
fn start(config: &ReplayConfig) -> Start {
    config.start.unwrap_or(if config.scenario == Scenario::Sync { Start::Checkpoint } else { Start::Empty })
}

/// Runs the live loop. Returns the action log and how it ended; checks that the destination is right.
fn live(config: &ReplayConfig, failures: u32) -> (String, Outcome) {
    let (sender, handover) = watch::channel(false);
    let there = match start(config) {
        Start::Empty => vec![bytes(0); PAGES as usize],
        Start::Checkpoint | Start::Fingerprints => START.map(bytes).to_vec(),
    };
    let world = Part(Rc::new(RefCell::new(World {
        now: 0,
        contents: START.to_vec(),
        there,
        epochs: 0,
        written: PageBitmap::new(PAGES),
        ended: false,
        paused: false,
        events: Vec::new(),
        handover: sender,
        lines: String::new(),
        failures,
    })));
    let part = || world.clone();
    let mut driver = Driver {
        accesses: part(),
        log: part(),
        memory: part(),
        guest: part(),
        destination: Local::new(part()),
        clock: part(),
        observer: part(),
        fingerprint: Some(hash),
        handover,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = runtime.block_on(driver.run(&mut migration(config))).unwrap();
    let world = world.0.borrow();
    if report.outcome == Outcome::Completed {
        assert!(world.paused);
        let source: Vec<_> = world.contents.iter().map(|&content| bytes(content)).collect();
        assert!(world.there == source, "the destination differs");
    } else {
        assert!(!world.paused);
    }
    (world.lines.clone(), report.outcome)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn replayed(config: &ReplayConfig) -> String {
    let (header, lines) = (header(), Lines::default());
    let trace = TraceInfo { name: "script", header: &header, length: None };
    let log = ActionLog::with_sink(Box::new(lines.clone()));
    let result = replay(trace, frames().into_iter().map(Ok), *config, log).unwrap();
    assert_eq!(result.summary.lost_pages, 0);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn both_drivers_take_the_same_actions() {
    // Not send-all: it sends pages that are there already, which the replayer's encoder makes small and the live loop does not.
    for policy in PolicyKind::ALL.into_iter().filter(|&kind| kind.is_sound() && kind != PolicyKind::SendAll) {
        for (scenario, start) in Scenario::ALL.into_iter().flat_map(|scenario| Start::ALL.map(|start| (scenario, start))) {
            let config = ReplayConfig { start: Some(start), ..replay_config(policy, scenario) };
            let (mut lines, outcome) = live(&config, 0);
            let mut expected = replayed(&config);
            assert_eq!(outcome, Outcome::Completed);
            if policy == PolicyKind::Adaptive {
                // Its blocks grow to several pages, of which the replayer's encoder leaves out those that are there already.
                (lines, expected) = (without_encoding(&lines), without_encoding(&expected));
            }
            similar(&lines, &expected, &format!("{policy} {scenario} {}", start.name()));
        }
    }
}

fn without_encoding(lines: &str) -> String {
    let before_wire = |line: &str| line.split(" wire=").next().unwrap_or_default().replace(" smallest", "").replace(" raw", "");
    lines.lines().map(|line| before_wire(line) + "\n").collect()
}

/// Equal, or the first line that differs.
fn similar(live: &str, replayed: &str, label: &str) {
    for (at, (live, replayed)) in live.lines().zip(replayed.lines()).enumerate() {
        assert_eq!(live, replayed, "{label}, line {at}");
    }
    assert_eq!(live.lines().count(), replayed.lines().count(), "{label}");
}

#[test]
fn the_script_shows_every_kind_of_verdict() {
    let text = [PolicyKind::Proven, PolicyKind::Aging].map(|policy| live(&replay_config(policy, Scenario::Sync), 0).0).concat();
    for verdict in ["Unchanged", "Unpopulated", "SameContent", "send-zero", " raw", "Hot", "pause"] {
        assert!(text.contains(verdict), "{verdict} is missing:\n{text}");
    }
}

#[test]
fn a_broken_wire_is_tried_again_and_then_given_up() {
    for scenario in Scenario::ALL {
        let config = replay_config(PolicyKind::Proven, scenario);
        assert_eq!(live(&config, 2).1, Outcome::Completed);
        assert!(matches!(live(&config, u32::MAX).1, Outcome::BlockFailed(_)));
    }
}
