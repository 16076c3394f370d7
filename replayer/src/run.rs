//! One replay: the engine, a shadow destination and a wire, turned by virtual time.
//!
//! The trace fixes when an epoch can be closed: at the end of a frame. So an engine that asks for the dirty log, or for the
//! pause, gets it at the end of the frame in progress. Behind the last frame the guest is taken to stand still.

use pagesieve_core::{Action, Baseline, BlockId, BlockSummary, Coverage, Fingerprint, Gfn, Migration, Nanos, PageBitmap, Report};
use pagesieve_traces::Frame;

use crate::config::{ReplayConfig, ReplayError, Scenario, Start};
use crate::log::ActionLog;
use crate::shadow::Shadow;
use crate::source::{Source, Version};
use crate::watch::Watch;
use crate::wire::{self, BLOCK_HEADER, PAGE_HEADER};

/// One replay in progress.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) config: ReplayConfig,
    pub(crate) migration: Migration,
    pub(crate) shadow: Shadow,
    pub(crate) log: ActionLog,
    pub(crate) report: Option<Report>,
    /// When the migration began.
    pub(crate) start: Nanos,
    now: Nanos,
    /// The block that the engine asked for, as it was read.
    held: Held,
    /// The block on the wire, and when it arrives.
    sending: Option<(Nanos, BlockId)>,
    rounds: u32,
    /// Where the guest is.
    guest: Guest,
    wants_pause: bool,
    /// The engine waits for a dirty log.
    wants_log: bool,
    pub(crate) watch: Option<Watch>,
}

/// A block's pages as they were read, or as they are sent.
#[derive(Debug, Default)]
struct Held {
    first: u64,
    versions: Vec<Version>,
    wire_len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guest {
    /// Somewhere inside an epoch.
    Running,
    /// At the end of an epoch whose dirty log was not delivered yet; paused there or not.
    AtEnd { paused: bool },
    /// At the end of an epoch, log delivered, no time passed since.
    Settled,
    /// It will do nothing more: the trace is over, or the engine paused it.
    Still,
}

impl Run {
    /// A replay that begins at the end of the trace's first frame, where `source` stands. That frame is the baseline: its
    /// accesses are known, but nothing in it can be proven.
    pub(crate) fn new(
        config: ReplayConfig,
        log: ActionLog,
        first: &Frame,
        source: &Source,
        length: Option<Nanos>,
    ) -> Result<Self, ReplayError> {
        if config.bandwidth == Some(0) {
            return Err(ReplayError::Bandwidth);
        }
        if let Some(gfn) = config.explain.filter(|&gfn| source.slots().slot_of(gfn).is_none()) {
            return Err(ReplayError::NoSuchPage(gfn));
        }
        let mut engine = config.engine();
        engine.first_epoch = first.epoch.next();
        let (baseline, shadow) = match config.start() {
            Start::Empty => (Baseline::Empty, Shadow::empty(source)),
            Start::Checkpoint => (Baseline::Equal { as_of: first.epoch }, Shadow::equal(source)),
            Start::Fingerprints if !source.by_content() => return Err(ReplayError::NoSummaries),
            Start::Fingerprints => (Baseline::Fingerprints, Shadow::equal(source)),
        };
        engine.start = match config.scenario {
            Scenario::Sync => first.end,
            Scenario::Precopy => first.end.max(first.start.after(config.warm_up(length))),
        };
        let mut run = Self {
            migration: Migration::new(engine, source.slots().clone(), baseline)?,
            shadow,
            log,
            report: None,
            start: engine.start,
            now: first.end,
            held: Held::default(),
            sending: None,
            rounds: 0,
            guest: Guest::Settled,
            wants_pause: false,
            wants_log: false,
            watch: config.explain.map(Watch::new),
            config,
        };
        for &access in &first.events {
            run.migration.handle_access(first.end, access);
        }
        run.migration.handle_lost(first.end, first.lost.events());
        run.migration.handle_populated(first.end, first.epoch, &first.populated);
        if config.start() != Start::Empty && source.by_content() {
            run.hand_over_signatures(source);
        }
        run.pump(source);
        if run.guest == Guest::Still {
            run.run_out(source)?;
        }
        Ok(run)
    }

    /// What the destination holds is known by its fingerprints too.
    fn hand_over_signatures(&mut self, source: &Source) {
        for index in 0..self.migration.blocks().count() {
            let block = self.migration.blocks().id(index);
            let summary = self.read(block, source);
            self.migration.handle_baseline(block, &summary);
        }
    }

    /// Time passes through the frame's epoch, up to its end.
    pub(crate) fn during(&mut self, frame: &Frame, source: &Source, slots_changed: bool) -> Result<(), ReplayError> {
        if self.report.is_some() {
            return Ok(());
        }
        if slots_changed {
            self.shadow.fit(source);
            let changed = self.migration.handle_slots(self.now, source.slots());
            changed.map_err(pagesieve_core::ConfigError::from)?;
        }
        self.guest = Guest::Running;
        self.pump(source);
        for &access in &frame.events {
            self.advance(access.time.min(frame.end), source);
            self.migration.handle_access(self.now, access);
            if let Some(watch) = &mut self.watch {
                watch.access(frame.epoch, &access);
            }
        }
        self.migration.handle_lost(self.now, frame.lost.events());
        self.advance(frame.end, source);
        Ok(())
    }

    /// The frame's epoch ends; `source` stands at its end too. The dirty log is delivered, asked for or not.
    pub(crate) fn close(&mut self, frame: &Frame, source: &Source, last: bool) -> Result<(), ReplayError> {
        if self.report.is_some() {
            return Ok(());
        }
        self.guest = Guest::AtEnd { paused: self.wants_pause };
        if std::mem::take(&mut self.wants_pause) {
            self.migration.handle_paused(self.now);
        }
        if last {
            self.migration.request_handover(self.now);
        }
        // A pause that is granted here makes the engine ask for the very log that follows.
        self.pump(source);
        let paused = self.guest == Guest::AtEnd { paused: true };
        self.guest = if paused { Guest::Still } else { Guest::Settled };
        if let Some(watch) = &mut self.watch {
            watch.frame(self.now, frame);
        }
        self.migration.handle_populated(self.now, frame.epoch, &frame.populated);
        self.wants_log = false;
        self.migration.handle_dirty_log(self.now, frame.epoch, &frame.log.all(), Coverage::Complete);
        self.pump(source);
        // For a paused guest no frame matters any more, and `source` is about to move on.
        if self.guest == Guest::Still { self.run_out(source) } else { Ok(()) }
    }

    /// The trace is over: what is on its way arrives, and the engine comes to its end.
    pub(crate) fn finish(&mut self, source: &Source) -> Result<(), ReplayError> {
        self.guest = Guest::Still;
        // In a trace of one frame nobody has answered yet what was asked at its end.
        if std::mem::take(&mut self.wants_pause) {
            self.migration.handle_paused(self.now);
        }
        if std::mem::take(&mut self.wants_log) {
            self.close_asked();
        }
        self.migration.request_handover(self.now);
        self.pump(source);
        self.run_out(source)
    }

    fn run_out(&mut self, source: &Source) -> Result<(), ReplayError> {
        while self.report.is_none() {
            let Some(next) = self.next_instant() else { return Err(ReplayError::Stalled) };
            self.advance(next, source);
        }
        Ok(())
    }

    fn next_instant(&self) -> Option<Nanos> {
        match self.sending {
            Some((arrival, _)) => Some(arrival),
            None => self.migration.poll_timeout(),
        }
    }

    /// Lets time pass until `to`, with everything that happens on the way.
    fn advance(&mut self, to: Nanos, source: &Source) {
        while let Some(next) = self.next_instant().filter(|&next| next <= to) {
            self.now = self.now.max(next);
            self.guest_moved_on();
            match self.sending.take() {
                Some((_, block)) => self.arrive(block),
                None => self.migration.handle_timeout(self.now),
            }
            self.pump(source);
        }
        if to > self.now {
            self.now = to;
            self.guest_moved_on();
        }
    }

    fn guest_moved_on(&mut self) {
        if self.guest == Guest::Settled {
            self.guest = Guest::Running;
        }
    }

    /// Does what the engine wants, until it waits for something. The wire takes one block at a time.
    fn pump(&mut self, source: &Source) {
        while self.sending.is_none() {
            let before = self.watch.as_ref().map(|watch| self.migration.explain(watch.gfn()));
            let Some(action) = self.migration.poll_action() else { break };
            self.log.push(self.now, &action);
            self.log.observe(self.now, &action, &self.migration);
            if let (Some(watch), Some(before)) = (&mut self.watch, before) {
                watch.action(self.now, &action, &before, &self.migration);
            }
            self.perform(action, source);
        }
        if self.config.scenario == Scenario::Sync && self.migration.rounds() > self.rounds {
            self.rounds = self.migration.rounds();
            self.shadow.judge(self.migration.evidence().closed_epoch(), source);
        }
    }

    fn perform(&mut self, action: Action, source: &Source) {
        match action {
            Action::CloseEpoch => {
                self.shadow.begin_round();
                self.close_asked();
            }
            Action::Pause => match self.guest {
                Guest::Running => self.wants_pause = true,
                Guest::AtEnd { .. } => {
                    self.guest = Guest::AtEnd { paused: true };
                    self.migration.handle_paused(self.now);
                }
                Guest::Settled | Guest::Still => {
                    self.guest = Guest::Still;
                    self.migration.handle_paused(self.now);
                }
            },
            Action::ReadBlock(block) => {
                let summary = self.read(block, source);
                self.migration.handle_block(self.now, block, summary);
            }
            Action::Send { block, .. } => self.send(block),
            Action::SendZero(block) => {
                let pages = self.migration.blocks().pages(block);
                self.held.first = pages.start;
                self.held.versions.clear();
                self.held.versions.resize((pages.end - pages.start) as usize, Version::ZERO);
                self.held.wire_len = BLOCK_HEADER;
                self.send(block);
            }
            Action::Defer { block, .. } => self.shadow.defer(self.migration.blocks().pages(block)),
            Action::Finish(report) => {
                if self.config.scenario == Scenario::Precopy {
                    self.shadow.judge(self.migration.evidence().closed_epoch(), source);
                }
                self.report = Some(*report);
            }
            // A recorded guest cannot be slowed down.
            Action::Skip { .. } | Action::Resume | Action::Throttle(_) => {}
        }
    }

    /// A guest that stands still has written nothing since the last log. Otherwise the end of the frame answers.
    fn close_asked(&mut self) {
        if self.guest == Guest::Still {
            let epoch = self.migration.open_epoch();
            self.migration.handle_dirty_log(self.now, epoch, &PageBitmap::default(), Coverage::Complete);
        } else {
            self.wants_log = true;
        }
    }

    fn read(&mut self, block: BlockId, source: &Source) -> BlockSummary {
        let pages = self.migration.blocks().pages(block);
        // At the end of an epoch the source's truth is what is there; inside one only what the epoch leaves alone.
        let held = &mut self.held;
        held.first = pages.start;
        held.versions.clear();
        held.versions.extend(pages.clone().map(|page| source.read(Gfn(page))));
        held.wire_len = BLOCK_HEADER;
        for (page, &version) in pages.clone().zip(&held.versions) {
            held.wire_len += PAGE_HEADER + source.wire_len(Gfn(page), version, self.shadow.there(Gfn(page)));
        }
        let settled = source.by_content() && !held.versions.contains(&Version::TORN);
        BlockSummary {
            zero: settled && held.versions.iter().all(|&version| version == Version::ZERO),
            fingerprint: settled.then(|| Fingerprint(wire::fingerprint(held.versions.iter().map(|version| version.0)))),
            raw_len: pagesieve_core::block::bytes_of(&pages),
            wire_len: held.wire_len,
        }
    }

    fn send(&mut self, block: BlockId) {
        self.migration.handle_sent(self.now, block, self.held.wire_len);
        match self.config.scenario {
            Scenario::Sync => self.arrive(block),
            Scenario::Precopy => {
                let arrival = self.now.after(wire::time_for(self.held.wire_len, self.config.bandwidth));
                self.sending = Some((arrival, block));
                if arrival == self.now {
                    self.sending = None;
                    self.arrive(block);
                }
            }
        }
    }

    fn arrive(&mut self, block: BlockId) {
        self.shadow.apply(self.held.first, &self.held.versions);
        self.migration.handle_acked(self.now, block);
    }
}
