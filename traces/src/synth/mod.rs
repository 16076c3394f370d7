//! Synthetic traces: made from a seed, so that a test or a benchmark needs no recording. A trace made here is consistent: every
//! page whose content changed is in the dirty log, and every page that the log calls written has a write event. The same
//! configuration makes the same frames on every machine. [`class`] lists the rates.

pub mod class;
mod guest;
mod rng;

pub use class::Class;

use pagesieve_core::{Access, AccessKind, Epoch, Gfn, Nanos, Origin, PAGE_SHIFT, PageBitmap};

use crate::model::{Closing, DirtyLog, EventSource, Frame, Header, Lost, Machine, Target};
use class::{ALLOCATION_RUN, CACHE_RUN, FREE_RUN, HEAP_RUN, Rates};
use guest::Guest;
use rng::Rng;

const CPUS: u64 = 4;
/// vCPU threads are numbered from here.
const VCPU: u64 = 1001;
/// Threads that touch memory for the kernel and by GUP.
const IO_THREAD: u32 = 1010;
const WORKER: u32 = 77;
/// Smallest and largest guest, in pages: 1 MiB and 1 TiB.
const PAGES: std::ops::RangeInclusive<u64> = 256..=1 << 28;

/// Parameters of a synthetic trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynthConfig {
    /// Kind of workload.
    pub class: Class,
    /// Guest memory in bytes, 1 MiB to 1 TiB; a rest below a page is dropped.
    pub memory: u64,
    /// Another seed makes another trace of the same kind.
    pub seed: u64,
    /// How long the guest is imagined to run; rounded up to whole epochs.
    pub duration: Nanos,
    /// Length of an epoch without its scan.
    pub epoch: Nanos,
    /// True for page summaries in the frames. The events are the same either way.
    pub fingerprints: bool,
}

impl SynthConfig {
    /// 64 MiB for 10 seconds in epochs of one second, seed 1, with page summaries.
    #[must_use]
    pub fn new(class: Class) -> Self {
        Self { class, memory: 64 << 20, seed: 1, duration: Nanos(10_000_000_000), epoch: Nanos::SECOND, fingerprints: true }
    }
}

/// Why a synthetic trace cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SynthError {
    /// There is no such class.
    #[error("make a trace of class `{0}`: the classes are idle, light, mixed and heavy-io")]
    Class(String),
    /// Memory out of range.
    #[error("make a trace of a guest with {0} bytes: choose 1 MiB to 1 TiB")]
    Memory(u64),
    /// An epoch of no length, or one longer than an hour.
    #[error("make a trace with epochs of {} ns: choose more than zero and at most an hour", .0.0)]
    Epoch(Nanos),
    /// More epochs than can be numbered.
    #[error("make a trace of {} ns: it has too many epochs; choose longer ones", .0.0)]
    Duration(Nanos),
}

/// A synthetic trace: its header, and its frames as an iterator. Memory: some 5 bytes for each guest page.
pub struct Synth {
    header: Header,
    config: SynthConfig,
    rates: &'static Rates,
    rng: Rng,
    guest: Guest,
    areas: Areas,
    epoch: u32,
    epochs: u32,
    time: u64,
}

/// Areas of guest memory as first page and end, and where the sweeps through them are.
struct Areas {
    hot: (u64, u64),
    heap: (u64, u64),
    cache: (u64, u64),
    next_allocation: u64,
    next_fill: u64,
}

/// What an imagined guest does at a moment.
#[derive(Clone, Copy)]
enum Operation {
    HotWrite,
    HeapWrite,
    Allocate,
    Fill,
    Free,
}

/// An epoch in the making.
struct Draft {
    start: u64,
    scan_start: u64,
    events: Vec<Access>,
    written: PageBitmap,
    discarded: PageBitmap,
}

/// Begins a synthetic trace.
///
/// # Errors
/// A parameter is out of its range.
pub fn synth(config: SynthConfig) -> Result<Synth, SynthError> {
    let pages = config.memory >> PAGE_SHIFT;
    if !PAGES.contains(&pages) {
        return Err(SynthError::Memory(config.memory));
    }
    if config.epoch.0 == 0 || config.epoch.0 > 3600 * Nanos::SECOND.0 {
        return Err(SynthError::Epoch(config.epoch));
    }
    let epochs = config.duration.0.div_ceil(config.epoch.0).max(1);
    let epochs = u32::try_from(epochs).map_err(|_| SynthError::Duration(config.duration))?;
    let rates = config.class.rates();
    let areas = Areas::new(pages, rates);
    let mut rng = Rng::new(config.seed);
    let guest = Guest::new(pages, rates, &[areas.hot, areas.heap, areas.cache], config.seed, &mut rng);
    Ok(Synth { header: header(&config, pages), config, rates, rng, guest, areas, epoch: 0, epochs, time: 0 })
}

fn header(config: &SynthConfig, pages: u64) -> Header {
    let command = format!(
        "synth --class {} --memory {} --seed {} --duration {} --epoch {}",
        config.class, config.memory, config.seed, config.duration.0, config.epoch.0
    );
    Header {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        created: 0,
        clock: "synthetic".to_owned(),
        machine: Machine::default(),
        source: EventSource::Synthetic,
        hooks: Vec::new(),
        arming: "synthetic".to_owned(),
        target: Target { kind: "synthetic".to_owned(), pid: 0, command },
        class: Some(config.class.name().to_owned()),
        epoch_length: config.epoch,
        fingerprints: config.fingerprints,
        fingerprint_key: None,
        slots: Guest::slots(pages),
    }
}

impl Areas {
    fn new(pages: u64, rates: &Rates) -> Self {
        let hot = (0, rates.hot_pages.min(pages / 16));
        let heap = (hot.1, pages / 2);
        let cache = (pages / 2, pages);
        let populated = |(start, end): (u64, u64)| start + (end - start) * rates.populated / 1000;
        Self { hot, heap, cache, next_allocation: populated(heap), next_fill: populated(cache) }
    }
}

impl Synth {
    /// The header of the trace.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Frames in the whole trace.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    fn draft(&mut self) -> Draft {
        let pages = self.config.memory >> PAGE_SHIFT;
        let mut draft = Draft {
            start: self.time,
            scan_start: self.time.saturating_add(self.config.epoch.0),
            events: Vec::new(),
            written: PageBitmap::new(pages),
            discarded: PageBitmap::new(pages),
        };
        for (time, operation) in self.operations(&draft) {
            self.perform(operation, time, &mut draft);
        }
        // Two CPUs work at the same time: the runs of operations overlap. The sort is stable, so the order is fixed.
        draft.events.sort_by_key(|event| event.time);
        draft
    }

    /// What happens in the epoch, in the order of time.
    fn operations(&mut self, draft: &Draft) -> Vec<(u64, Operation)> {
        let rates = self.rates;
        let mut operations = Vec::new();
        for (operation, rate) in [
            (Operation::HotWrite, rates.hot_writes),
            (Operation::HeapWrite, rates.heap_writes),
            (Operation::Allocate, rates.allocations),
            (Operation::Fill, rates.cache_fills),
            (Operation::Free, rates.frees),
        ] {
            for _ in 0..self.count(rate) {
                operations.push((draft.start + self.rng.below(self.config.epoch.0), operation));
            }
        }
        operations.sort_by_key(|&(time, _)| time);
        operations
    }

    /// Operations in this epoch at a rate in 1000 seconds: three to five quarters of the mean, the fraction by chance.
    fn count(&mut self, rate: u64) -> u64 {
        let quarters = self.rng.within((750, 1250));
        let scaled = u128::from(rate) * u128::from(self.config.epoch.0) * u128::from(quarters);
        const UNIT: u128 = 1_000 * 1_000_000_000 * 1_000;
        (scaled / UNIT) as u64 + u64::from(self.rng.below(UNIT as u64) < (scaled % UNIT) as u64)
    }

    fn perform(&mut self, operation: Operation, time: u64, draft: &mut Draft) {
        match operation {
            Operation::HotWrite => {
                let (start, end) = self.areas.hot;
                let page = self.rng.below(end - start).min(self.rng.below(end - start));
                self.write_run(start + page, 1, Origin::User, time, draft);
            }
            Operation::HeapWrite => {
                let (start, end) = self.areas.heap;
                let page = start + self.rng.below(end - start);
                let length = self.rng.within(HEAP_RUN).min(end - page);
                if self.guest.is_populated(page) {
                    self.write_run(page, length, Origin::User, time, draft);
                } else {
                    self.read(page, time, draft);
                }
            }
            Operation::Allocate => {
                let (page, length) = sweep(&mut self.areas.next_allocation, self.areas.heap, self.rng.within(ALLOCATION_RUN));
                self.write_run(page, length, Origin::User, time, draft);
            }
            Operation::Fill => {
                let (page, length) = sweep(&mut self.areas.next_fill, self.areas.cache, self.rng.within(CACHE_RUN));
                let origin = if self.rng.chance(self.rates.gup) { Origin::Gup } else { Origin::Kernel };
                self.write_run(page, length, origin, time, draft);
            }
            Operation::Free => {
                let (start, end) = (self.areas.heap.0, self.areas.cache.1);
                let page = start + self.rng.below(end - start);
                let length = self.rng.within(FREE_RUN).min(end - page);
                draft.discarded.insert_range(page..page + length);
                (page..page + length).for_each(|page| self.guest.discard(page));
            }
        }
    }

    /// Writes neighbouring pages one after the other. Only the first write of a page in an epoch faults, as write protection
    /// is set once an epoch; a page discarded in between faults again, which is not shown.
    fn write_run(&mut self, page: u64, length: u64, origin: Origin, time: u64, draft: &mut Draft) {
        let mut time = time;
        let (cpu, tid) = self.actor(origin);
        for page in page..page + length {
            self.guest.write(page, self.rates, &mut self.rng);
            if draft.written.insert(Gfn(page)) {
                draft.push(time, page, AccessKind::Write, origin, (cpu, tid));
            }
            time += self.rng.within((600, 1800));
        }
    }

    /// A page that was never written is read: it reads as zeros, and stays unpopulated.
    fn read(&mut self, page: u64, time: u64, draft: &mut Draft) {
        let actor = self.actor(Origin::User);
        draft.push(time, page, AccessKind::Read, Origin::User, actor);
    }

    /// vCPUs mostly stay on their CPU; I/O threads run anywhere.
    fn actor(&mut self, origin: Origin) -> (u16, u32) {
        let cpu = self.rng.below(CPUS);
        match origin {
            Origin::User => (if self.rng.chance(950) { cpu } else { (cpu + 1) % CPUS } as u16, (VCPU + cpu) as u32),
            Origin::Kernel => (cpu as u16, IO_THREAD),
            Origin::Gup => (cpu as u16, WORKER),
        }
    }

    /// A scan takes 0.35 ms for each GiB, and 12 ms where every page is dirty: measured for `PAGEMAP_SCAN`.
    fn scan_time(&self, dirty: u64) -> u64 {
        let pages = self.config.memory >> PAGE_SHIFT;
        1000 + pages * 350_000 / (1 << 18) + dirty * 11_650_000 / (1 << 18)
    }
}

impl Draft {
    fn push(&mut self, time: u64, page: u64, kind: AccessKind, origin: Origin, (cpu, tid): (u16, u32)) {
        // A run that began just before the scan is not drawn out into it.
        let time = Nanos(time.min(self.scan_start));
        self.events.push(Access { time, gfn: Guest::gfn(page), kind, origin, cpu, tid });
    }
}

/// The next pages of a sweep: where it is, at most to the end of the area; behind the end it begins anew.
fn sweep(next: &mut u64, (start, end): (u64, u64), length: u64) -> (u64, u64) {
    if *next >= end {
        *next = start;
    }
    let page = *next;
    let length = length.min(end - page);
    *next += length;
    (page, length)
}

impl Iterator for Synth {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.epoch == self.epochs {
            return None;
        }
        self.epoch += 1;
        let draft = self.draft();
        let summaries = self.guest.close(self.epoch == 1, &mut self.rng);
        let scan = self.scan_time(draft.written.count());
        let end = draft.scan_start.saturating_add(scan);
        self.time = end;
        Some(Frame {
            // The first one is the baseline.
            epoch: Epoch(self.epoch - 1),
            start: Nanos(draft.start),
            scan_start: Nanos(draft.scan_start),
            end: Nanos(end),
            closing: Closing::Running,
            slots: None,
            events: draft.events,
            log: DirtyLog {
                written: Guest::frames(&draft.written),
                discarded: Guest::frames(&draft.discarded),
                unknown: Vec::new(),
            },
            populated: self.guest.populated(),
            huge: PageBitmap::new(Guest::frame_end(self.config.memory >> PAGE_SHIFT)),
            lost: Lost { per_cpu: vec![0; CPUS as usize], control: 0, outside: 0 },
            summaries: self.config.fingerprints.then_some(summaries),
            notes: Vec::new(),
        })
    }
}
