//! The state machine against a guest that writes as it likes, a wire that fails, and a log that is sometimes partial. Whatever
//! happens: at the handover the destination holds what the source holds.
//!
//! The model is naive on purpose: memory is a list of numbers, a write increments one, sending copies.

mod exhaustive;
mod random;

use alloc::vec;
use alloc::vec::Vec;

use super::tests::slots;
use super::*;
use crate::block::{BlockId, BlockSummary, Fingerprint};
use crate::evidence::Coverage;
use crate::policy::PolicyKind;
use crate::{Access, AccessKind, Gfn, Origin, PAGE_SIZE, PageBitmap};

/// What may happen between two actions.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The guest writes a page; the event may be lost on the way.
    Write { page: u64, seen: bool },
    /// The page is discarded and reads as zero.
    Discard { page: u64 },
    /// A page is read by the guest.
    Read { page: u64 },
    /// The driver closes the epoch unasked.
    Close,
    /// The next log is partial, as after a failed scan.
    ScanFails,
    /// The next send fails.
    SendFails,
    /// Acknowledgements are held back, or let through.
    HoldAcks(bool),
    /// The other table of slots takes effect.
    Slots(bool),
    /// The connection is cut: what is on its way is gone, and the migration fails.
    Cut,
    /// A migration that failed is tried again; the destination may have lost its memory meanwhile.
    Retry { lost: bool },
    /// Time passes.
    Wait(u64),
    /// The handover is asked for.
    Handover,
}

/// A guest, a wire and a destination.
struct World {
    migration: Migration,
    source: Vec<u32>,
    there: Vec<u32>,
    written: PageBitmap,
    complete: bool,
    fail_next: bool,
    hold_acks: bool,
    unacked: Vec<(BlockId, Vec<u32>)>,
    reading: Vec<u32>,
    running: bool,
    now: u64,
    saboteur: Saboteur,
    tables: [Table; 2],
    report: Option<Report>,
}

const FRAMES: usize = 32;

/// The least time that the engine tells apart.
const TICK: u64 = 1024;

/// Slots as first frame and length.
type Table = Vec<(u64, u64)>;

/// What a broken tracker does, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saboteur {
    /// Nothing: it works.
    None,
    /// It drops this page from the first dirty log that has it.
    DropsPage(u64),
    /// It calls the first log complete that is not.
    HidesFailure,
}

impl World {
    fn new(config: Config, tables: [Table; 2], baseline: Baseline) -> Self {
        let source: Vec<u32> = (0..FRAMES as u32).map(|page| page % 3).collect();
        let there = match baseline {
            Baseline::Empty => vec![0; FRAMES],
            Baseline::Equal { .. } => source.clone(),
            // Some pages are what they were, others are not.
            Baseline::Fingerprints => (0..FRAMES as u32).map(|page| page % 3 + page % 5 / 4).collect(),
        };
        let mut migration = Migration::new(config, slots(&tables[0]), baseline).unwrap();
        if baseline == Baseline::Fingerprints {
            for index in 0..migration.blocks().count() {
                let block = migration.blocks().id(index);
                let pages = migration.blocks().pages(block);
                migration.handle_baseline(block, &summary(&there[pages.start as usize..pages.end as usize]));
            }
        }
        Self {
            migration,
            there,
            tables,
            source,
            written: PageBitmap::new(FRAMES as u64),
            complete: true,
            fail_next: false,
            hold_acks: false,
            unacked: Vec::new(),
            reading: Vec::new(),
            running: true,
            now: 0,
            saboteur: Saboteur::None,
            report: None,
        }
    }

    fn happen(&mut self, event: Event) {
        let now = Nanos(self.now);
        match event {
            Event::Write { page, seen } if self.running => {
                self.source[page as usize] += 1;
                self.written.insert(Gfn(page));
                if seen {
                    self.touch(page, AccessKind::Write);
                } else {
                    self.migration.handle_lost(now, 1);
                }
            }
            Event::Discard { page } if self.running => {
                self.source[page as usize] = 0;
                self.written.insert(Gfn(page));
            }
            Event::Read { page } => self.touch(page, AccessKind::Read),
            Event::Close => self.close(),
            Event::ScanFails => self.complete = false,
            Event::SendFails => self.fail_next = true,
            Event::HoldAcks(hold) => self.hold_acks = hold,
            Event::Slots(large) if self.running => {
                self.migration.handle_slots(now, &slots(&self.tables[usize::from(large)])).unwrap()
            }
            Event::Cut => {
                self.lose_connection();
                self.migration.abort(now);
            }
            Event::Retry { lost } => self.retry(lost),
            Event::Wait(time) => self.now += time,
            Event::Handover => self.migration.request_handover(now),
            // A paused guest does nothing.
            Event::Write { .. } | Event::Discard { .. } | Event::Slots(_) => {}
        }
    }

    /// Of what was on its way, some bytes arrive and the rest never does.
    fn lose_connection(&mut self) {
        for (block, content) in core::mem::take(&mut self.unacked) {
            if let Some(first) = self.migration.blocks().pages(block).next() {
                self.there[first as usize] = content[0];
            }
        }
    }

    fn retry(&mut self, lost: bool) {
        if self.report.is_some() {
            self.lose_connection();
        }
        let kept = if lost { Kept::Nothing { empty: (self.now / TICK).is_multiple_of(2) } } else { Kept::Everything };
        if !self.migration.retry(Nanos(self.now), kept) {
            return;
        }
        self.report = None;
        match kept {
            Kept::Everything => {}
            Kept::Nothing { empty: true } => self.there.fill(0),
            Kept::Nothing { empty: false } => self.there.fill(77),
        }
    }

    fn touch(&mut self, page: u64, kind: AccessKind) {
        let access = Access { time: Nanos(self.now), gfn: Gfn(page), kind, origin: Origin::User, cpu: 0, tid: 1 };
        self.migration.handle_access(Nanos(self.now), access);
    }

    fn close(&mut self) {
        let epoch = self.migration.open_epoch();
        let mut complete = self.complete;
        match self.saboteur {
            Saboteur::DropsPage(page) if self.written.remove(Gfn(page)) => self.saboteur = Saboteur::None,
            Saboteur::HidesFailure if !complete => {
                self.saboteur = Saboteur::None;
                complete = true;
            }
            _ => {}
        }
        let mut populated = PageBitmap::new(FRAMES as u64);
        for (page, _) in self.source.iter().enumerate().filter(|&(_, &content)| content != 0) {
            populated.insert(Gfn(page as u64));
        }
        if !epoch.0.is_multiple_of(3) {
            self.migration.handle_populated(Nanos(self.now), epoch, &populated);
        }
        // A failed scan has cleared the log all the same.
        let coverage = if complete { Coverage::Complete } else { Coverage::Partial };
        let log = if self.complete { self.written.clone() } else { PageBitmap::default() };
        self.migration.handle_dirty_log(Nanos(self.now), epoch, &log, coverage);
        self.written.clear();
        self.complete = true;
    }

    /// Does one action; returns false if there is none.
    fn step(&mut self) -> bool {
        let now = Nanos(self.now);
        self.migration.handle_timeout(now);
        let Some(action) = self.migration.poll_action() else { return false };
        match action {
            Action::CloseEpoch => self.close(),
            Action::Pause => {
                self.running = false;
                self.migration.handle_paused(now);
            }
            Action::Resume => self.running = true,
            Action::ReadBlock(block) => self.read(block),
            Action::Send { block, .. } => self.send(block, self.reading.clone()),
            Action::SendZero(block) => {
                let pages = self.migration.blocks().pages(block);
                self.send(block, vec![0; (pages.end - pages.start) as usize]);
            }
            Action::Finish(report) => self.report = Some(*report),
            Action::Skip { .. } | Action::Defer { .. } | Action::Throttle(_) => {}
        }
        true
    }

    fn read(&mut self, block: BlockId) {
        let pages = self.migration.blocks().pages(block);
        self.reading = self.source[pages.start as usize..pages.end as usize].to_vec();
        let summary = summary(&self.reading);
        self.migration.handle_block(Nanos(self.now), block, summary);
    }

    fn send(&mut self, block: BlockId, content: Vec<u32>) {
        if core::mem::take(&mut self.fail_next) {
            // Half of it arrived.
            let first = self.migration.blocks().pages(block).start as usize;
            self.there[first] = content[0];
            return self.migration.handle_failed(Nanos(self.now), block);
        }
        if self.hold_acks {
            self.unacked.push((block, content));
        } else {
            self.arrive(block, &content);
        }
    }

    fn arrive(&mut self, block: BlockId, content: &[u32]) {
        let first = self.migration.blocks().pages(block).start as usize;
        // A block of an older table: the answer is dropped, and so is the block.
        if !self.migration.blocks().pages(block).is_empty() {
            self.there[first..first + content.len()].copy_from_slice(content);
        }
        self.migration.handle_acked(Nanos(self.now), block);
    }

    /// Lets everything come to its end without further events; what fails is tried again.
    fn settle(&mut self) {
        self.hold_acks = false;
        for _ in 0..100_000 {
            self.migration.request_handover(Nanos(self.now));
            for (block, content) in core::mem::take(&mut self.unacked) {
                self.arrive(block, &content);
            }
            match &self.report {
                Some(report) if report.outcome == Outcome::Completed => return,
                Some(_) => {
                    assert!(self.running, "after a failure the guest runs at the source");
                    self.retry(false);
                }
                None => {}
            }
            if !self.step() {
                self.now = self.migration.poll_timeout().map_or(self.now, |timeout| timeout.0.max(self.now));
            }
        }
        panic!("the migration does not end: {:?}", self.migration);
    }

    /// The oracle: the destination equals the source, whose guest stands still.
    fn check(&self) -> Result<(), (Gfn, u32, u32)> {
        assert!(!self.running);
        for slot in self.migration.slots().iter() {
            for page in slot.base.index()..slot.end().index() {
                if self.source[page] != self.there[page] {
                    return Err((Gfn(page as u64), self.source[page], self.there[page]));
                }
            }
        }
        Ok(())
    }
}

fn summary(content: &[u32]) -> BlockSummary {
    let hash = content.iter().fold(1_u128, |hash, &content| hash * 1009 + u128::from(content));
    BlockSummary {
        zero: content.iter().all(|&content| content == 0),
        fingerprint: Some(Fingerprint(hash)),
        raw_len: PAGE_SIZE,
        wire_len: PAGE_SIZE,
    }
}

fn config(policy: PolicyKind, sync: bool, pages_per_block: u64) -> Config {
    let mode = if sync {
        Mode::Sync { interval: Nanos(3 * TICK) }
    } else {
        Mode::Precopy { bandwidth: Some(PAGE_SIZE), downtime_limit: Nanos::SECOND, max_rounds: 5 }
    };
    Config {
        block_size: PAGE_SIZE * pages_per_block,
        aging_threshold: Nanos(4 * TICK),
        retry_delay: Nanos(2 * TICK),
        max_in_flight: 3,
        throttle: Some(Throttle::QEMU),
        ..Config::new(Purpose::Live, policy, mode)
    }
}
