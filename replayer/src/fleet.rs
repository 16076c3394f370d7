//! Several replays over one reading of a trace. Memory is that of the guest's page tables, one frame, and the frame after it;
//! it does not grow with the trace.

use pagesieve_core::summary::{ByteCounts, FilterStats, ReplaySummary, Schema, share};
use pagesieve_core::{Epoch, Gfn, Nanos, PAGE_SIZE, PageBitmap};
use pagesieve_traces::{EventSource, Frame};

use crate::config::{ReplayConfig, ReplayError, Scenario, TraceInfo};
use crate::log::{ActionLog, Digest};
use crate::run::Run;
use crate::source::Source;

/// Replays of one trace in lockstep: feed it the frames in order, then finish.
#[derive(Debug)]
pub struct Fleet<'a> {
    trace: TraceInfo<'a>,
    source: Source,
    /// Replays that wait for the first frame.
    waiting: Vec<(ReplayConfig, ActionLog)>,
    runs: Vec<Run>,
    /// The frame fed last: it is replayed when it is known whether another one follows.
    pending: Option<Frame>,
    events: u64,
    lost_events: u64,
    epochs: u64,
}

/// What one replay came to.
#[derive(Debug)]
pub struct ReplayResult {
    /// What `replay` prints.
    pub summary: ReplaySummary,
    /// The pages that were lost.
    pub lost: PageBitmap,
    /// The first of them, and the last epoch that was closed when it was lost.
    pub first_lost: Option<(Epoch, Gfn)>,
    /// Fingerprint of all actions.
    pub digest: Digest,
    /// The action log, for the error of its sink.
    pub log: ActionLog,
}

impl<'a> Fleet<'a> {
    /// A fleet without replays.
    ///
    /// # Errors
    /// The header's slots contradict each other or reach too far.
    pub fn new(trace: TraceInfo<'a>) -> Result<Self, ReplayError> {
        Ok(Self {
            source: Source::new(trace.header)?,
            trace,
            waiting: Vec::new(),
            runs: Vec::new(),
            pending: None,
            events: 0,
            lost_events: 0,
            epochs: 0,
        })
    }

    /// Adds a replay. One that is added after the first frames takes no part.
    pub fn add(&mut self, config: ReplayConfig, log: ActionLog) {
        self.waiting.push((config, log));
    }

    /// The next frame.
    ///
    /// # Errors
    /// The engine refuses a block size or a table of slots.
    pub fn feed(&mut self, frame: Frame) -> Result<(), ReplayError> {
        self.epochs += 1;
        self.events += frame.events.len() as u64;
        self.lost_events = self.lost_events.saturating_add(frame.lost.events());
        match self.pending.replace(frame) {
            Some(before) => self.replay(&before, false),
            None => Ok(()),
        }
    }

    fn replay(&mut self, frame: &Frame, last: bool) -> Result<(), ReplayError> {
        let slots_changed = self.source.open(frame)?;
        for run in &mut self.runs {
            run.during(frame, &self.source, slots_changed)?;
        }
        self.source.close(frame);
        for run in &mut self.runs {
            run.close(frame, &self.source, last)?;
        }
        if self.epochs <= 2 && self.runs.is_empty() {
            for (config, log) in self.waiting.drain(..) {
                self.runs.push(Run::new(config, log, frame, &self.source, self.trace.length)?);
            }
        }
        Ok(())
    }

    /// The trace is over. The results come in the order in which the replays were added.
    ///
    /// # Errors
    /// There was no frame.
    pub fn finish(mut self) -> Result<Vec<ReplayResult>, ReplayError> {
        let last = self.pending.take().ok_or(ReplayError::NoFrames)?;
        self.replay(&last, true)?;
        for run in &mut self.runs {
            run.finish(&self.source)?;
        }
        let runs = std::mem::take(&mut self.runs);
        runs.into_iter().map(|run| self.result(run)).collect()
    }

    fn result(&self, run: Run) -> Result<ReplayResult, ReplayError> {
        let report = run.report.ok_or(ReplayError::Stalled)?;
        let precopy = run.config.scenario == Scenario::Precopy;
        let span = |from: Option<Nanos>| from.filter(|_| precopy).map(|from| report.finished.since(from).0);
        let lost = run.shadow.lost().clone();
        let redirty = Some(report.redirty).filter(|score| score.forecasts > 0);
        let summary = ReplaySummary {
            schema: Schema { name: "pagesieve.replay".into(), version: "1.1".into() },
            trace: self.trace.name.to_owned(),
            class: self.trace.header.class.clone(),
            policy: run.config.policy.to_string(),
            scenario: run.config.scenario.to_string(),
            block_size: run.config.block_size,
            events: self.events,
            lost_events: self.lost_events,
            epochs: self.epochs,
            rounds: report.rounds.into(),
            blocks: report.blocks,
            skip_rate: report.blocks.skip_rate(),
            bytes: ByteCounts {
                guest: run.migration.slots().pages() * PAGE_SIZE,
                sent: report.bytes_sent,
                resent: report.bytes_resent,
                wire: report.bytes_wire,
            },
            causes: report.causes,
            times_sent: report.times_sent,
            nodes: report.nodes,
            lost_pages: lost.count(),
            judged_by_content: self.source.by_content(),
            downtime: span(report.paused),
            total_time: span(Some(run.start)),
            converged: report.converged,
            forecast: report.forecast,
            redirty,
            explained: run.watch.map(crate::watch::Watch::into_history),
            tracker: report.tracker,
            filter: FilterStats {
                ebpf_enabled: self.trace.header.source == EventSource::Ebpf,
                blocks_skipped: report.skipped_unread,
                bytes_skipped: report.bytes_skipped_unread,
                skip_percent: share(report.skipped_unread, report.blocks.total) * 100.0,
            },
        };
        Ok(ReplayResult { summary, lost, first_lost: run.shadow.first_lost(), digest: run.log.digest(), log: run.log })
    }
}
