//! Several guests move over one wire at the same time, each turned by its own `Migration`; the wire is divided by policy.

use pagesieve_core::budget::{SharePolicy, divide};
use pagesieve_core::{
    Action, Backing, Baseline, BlockId, BlockSummary, Config, Coverage, Fingerprint, Gfn, Hva, MemSlot, MemSlots, Migration,
    Mode, Nanos, Outcome, PAGE_SIZE, PageBitmap, PolicyKind, Purpose, Report,
};

const PAGES: u64 = 1024;
const MIB: u64 = 1 << 20;
/// Time of one step of the simulation.
const TICK: u64 = 10 * Nanos::MILLISECOND.0;

/// A guest that writes its first pages in turn, again and again, and its destination. A page's content is a number.
struct Guest {
    migration: Migration,
    source: Vec<u64>,
    there: Vec<u64>,
    /// Pages that it writes in turn, and how many of them a second.
    hot: u64,
    rate: u64,
    /// Pages written so far.
    writes: u64,
    dirty: PageBitmap,
    running: bool,
    read: Vec<u64>,
    /// The block on the wire with its content, and the bytes of it that are still to go.
    sending: Option<(BlockId, Vec<u64>, u64)>,
    report: Option<Report>,
}

impl Guest {
    fn new(hot: u64, rate: u64) -> Self {
        let mut slots = MemSlots::new();
        let backing = Backing::Shared;
        slots.insert(MemSlot { base: Gfn(0), pages: PAGES, hva: Hva(1 << 30), backing, numa_node: None }).unwrap();
        let mode = Mode::Precopy { bandwidth: None, downtime_limit: Nanos(100 * Nanos::MILLISECOND.0), max_rounds: 30 };
        // Watched for two seconds before.
        let config = Config { start: Nanos(2 * Nanos::SECOND.0), ..Config::new(Purpose::Live, PolicyKind::Proven, mode) };
        Self {
            migration: Migration::new(config, slots, Baseline::Empty).unwrap(),
            source: (1..=PAGES).collect(),
            there: vec![0; PAGES as usize],
            hot,
            rate,
            writes: 0,
            dirty: PageBitmap::new(PAGES),
            running: true,
            read: Vec::new(),
            sending: None,
            report: None,
        }
    }

    /// Time passes: the guest writes, and the wire takes so many bytes.
    fn step(&mut self, now: u64, bytes: u64) {
        let due = if self.running { now / TICK * TICK * self.rate / Nanos::SECOND.0 } else { self.writes };
        for write in self.writes..due.max(self.writes) {
            let page = write % self.hot;
            self.source[page as usize] += PAGES;
            self.dirty.insert(Gfn(page));
        }
        self.writes = due.max(self.writes);
        let mut left = bytes;
        self.migration.handle_timeout(Nanos(now));
        loop {
            if let Some((block, content, missing)) = self.sending.take() {
                if missing > left {
                    self.sending = Some((block, content, missing - left));
                    return;
                }
                left -= missing;
                let first = self.migration.blocks().pages(block).start as usize;
                self.there[first..first + content.len()].copy_from_slice(&content);
                self.migration.handle_acked(Nanos(now), block);
            }
            let Some(action) = self.migration.poll_action() else { return };
            self.perform(now, action);
        }
    }

    fn perform(&mut self, now: u64, action: Action) {
        match action {
            Action::CloseEpoch => self.close(now),
            Action::ReadBlock(block) => {
                let pages = self.migration.blocks().pages(block);
                let bytes = (pages.end - pages.start) * PAGE_SIZE;
                self.read = self.source[pages.start as usize..pages.end as usize].to_vec();
                let hash = self.read.iter().fold(0, |hash: u128, &content| hash.wrapping_mul(1 << 61 | 9) + u128::from(content));
                let summary = BlockSummary { zero: false, fingerprint: Some(Fingerprint(hash)), raw_len: bytes, wire_len: bytes };
                self.migration.handle_block(Nanos(now), block, summary);
            }
            Action::Send { block, .. } => {
                let bytes = self.read.len() as u64 * PAGE_SIZE;
                self.migration.handle_sent(Nanos(now), block, bytes);
                self.sending = Some((block, self.read.clone(), bytes));
            }
            Action::Pause => {
                self.running = false;
                self.migration.handle_paused(Nanos(now));
            }
            Action::Resume => self.running = true,
            Action::Finish(report) => self.report = Some(*report),
            Action::SendZero(_) | Action::Skip { .. } | Action::Defer { .. } | Action::Throttle(_) => {}
        }
    }

    fn close(&mut self, now: u64) {
        let epoch = self.migration.open_epoch();
        self.migration.handle_dirty_log(Nanos(now), epoch, &self.dirty, Coverage::Complete);
        self.dirty.clear();
    }
}

/// Moves these guests over a wire of 8 MiB/s. Each is told its share at every tenth of a second.
fn together(policy: SharePolicy, guests: &mut [Guest]) {
    let mut shares = vec![0; guests.len()];
    for tick in 0..100_000 {
        let now = tick * TICK;
        let watching = now < 2 * Nanos::SECOND.0;
        if watching && now.is_multiple_of(Nanos::SECOND.0 / 4) {
            guests.iter_mut().for_each(|guest| guest.close(now));
        }
        if now.is_multiple_of(Nanos::SECOND.0 / 10) {
            let demands: Vec<_> = guests.iter().map(|guest| guest.migration.demand(1)).collect();
            shares = divide(8 * MIB, policy, &demands);
            for (guest, &share) in guests.iter_mut().zip(&shares) {
                guest.migration.set_bandwidth(Nanos(now), Some(share));
            }
        }
        for (guest, &share) in guests.iter_mut().zip(&shares).filter(|(guest, _)| guest.report.is_none()) {
            guest.step(now, share * TICK / Nanos::SECOND.0);
        }
        if guests.iter().all(|guest| guest.report.is_some()) {
            return;
        }
    }
    panic!("some guest never came to an end");
}

/// How many of three guests that write 3 MiB/s each have moved.
fn moved(policy: SharePolicy) -> usize {
    let mut guests = [0; 3].map(|_| Guest::new(768, 768));
    together(policy, &mut guests);
    for guest in &guests {
        let report = guest.report.as_ref().unwrap();
        if report.outcome == Outcome::Completed {
            assert!(!guest.running && guest.there == guest.source, "{policy}");
        } else {
            assert!(guest.running && report.outcome == Outcome::NotConverging, "{policy}");
        }
    }
    guests.iter().filter(|guest| !guest.running).count()
}

#[test]
fn in_parallel_nobody_converges_and_in_turn_everybody_does() {
    assert_eq!(moved(SharePolicy::Equal), 0);
    for policy in [SharePolicy::OneByOne, SharePolicy::ShortestFirst, SharePolicy::Converging] {
        assert_eq!(moved(policy), 3, "{policy}");
    }
}

#[test]
fn calm_guests_move_side_by_side_whatever_the_policy() {
    for policy in SharePolicy::ALL {
        let mut guests = [Guest::new(16, 16), Guest::new(64, 32), Guest::new(1, 1000)];
        together(policy, &mut guests);
        assert!(guests.iter().all(|guest| !guest.running && guest.there == guest.source), "{policy}");
    }
}
