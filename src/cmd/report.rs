//! `pagesieve report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use pagesieve_core::series::Timeline;
use pagesieve_core::summary::Schema;
use pagesieve_core::{Nanos, PolicyKind};
use pagesieve_replayer::sweep::{Grid, Row, sweep};
use pagesieve_replayer::{
    ActionLog, HeatmapBuilder, PageUseBuilder, ReplayConfig, Scenario, TraceInfo, epoch_point, replay_all, trace_length,
};
use pagesieve_reports as reports;
use pagesieve_reports::FileFormat;
use pagesieve_traces::{FormatVersion, Frame, Happening, Header, ReadError};
use serde::Serialize;

use super::replay::name_of;
use super::verify::verify_file;
use crate::cli::{EngineOptions, Report};
use crate::output;

pub(crate) fn run(options: &Report) -> anyhow::Result<()> {
    let formats: Vec<FileFormat> = options.format.iter().flat_map(|format| format.files()).copied().collect();
    if !options.force && formats.iter().any(|format| options.output.join(format.place()).exists()) {
        bail!("write {}: a report is there already; name another directory with -o, or pass --force", options.output.display());
    }
    let command = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    let written = write(&options.files, &options.output, &formats, &options.engine, &command)?;
    if options.json {
        let files = written.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        return output::json(&Written { schema: Schema { name: "pagesieve.report".into(), version: "1.0".into() }, files });
    }
    written.iter().try_for_each(|path| output::line(path.display()))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Written {
    schema: Schema,
    files: Vec<String>,
}

/// Replays, verifies and draws; shared with `demo`.
pub(crate) fn write(
    files: &[PathBuf],
    dir: &Path,
    formats: &[FileFormat],
    engine: &EngineOptions,
    command: &str,
) -> anyhow::Result<Vec<PathBuf>> {
    let bar = output::bar(files.len() as u64, "{bar:24} {pos}/{len} {msg}, {eta} left");
    let mut traces = Vec::new();
    for file in files {
        bar.set_message(name_of(file));
        traces.push(trace_report(file, engine).with_context(|| format!("report on {}", file.display()))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let tool = format!("pagesieve {}", env!("CARGO_PKG_VERSION"));
    Ok(reports::write(&reports::Report::new(tool, command, traces), dir, formats)?)
}

/// What the report needs beside replay and verify, gathered from the frames as they pass.
struct Gathered {
    timeline: Timeline,
    heatmap: HeatmapBuilder,
    page_use: PageUseBuilder,
    notes: Vec<String>,
}

impl Gathered {
    fn observe(&mut self, frame: &Frame) {
        self.timeline.epochs.push(epoch_point(frame));
        self.heatmap.observe(frame);
        self.page_use.observe(frame);
        for note in &frame.notes {
            let seconds = note.time.0 as f64 / 1e9;
            self.notes.push(match &note.what {
                Happening::Exec => format!("{seconds:.1} s: another program replaced the target"),
                Happening::Forked { child } => format!("{seconds:.1} s: the target forked process {child}"),
                Happening::Ended { status, signal } => format!("{seconds:.1} s: the target ended ({status:?}, {signal:?})"),
                Happening::Message(text) => format!("{seconds:.1} s: {text}"),
            });
        }
    }
}

fn trace_report(file: &Path, engine: &EngineOptions) -> anyhow::Result<reports::TraceReport> {
    let mut reader = super::open(file)?;
    let length = trace_length(&mut reader)?;
    let header = reader.header().clone();
    let name = name_of(file);
    let mut gathered = Gathered {
        timeline: Timeline::default(),
        heatmap: HeatmapBuilder::of(&header),
        page_use: PageUseBuilder::default(),
        notes: Vec::new(),
    };
    let configs = Scenario::ALL.into_iter().flat_map(|scenario| {
        PolicyKind::ALL.map(|policy| (ReplayConfig { policy, scenario, ..engine.config() }, ActionLog::new()))
    });
    let frames = reader.frames().inspect(|frame: &Result<Frame, ReadError>| {
        if let Ok(frame) = frame {
            gathered.observe(frame);
        }
    });
    let trace = TraceInfo { name: &name, header: &header, length };
    let results = replay_all(trace, frames, configs.collect())?;
    let complete = reader.end().is_some_and(|end| matches!(end, pagesieve_traces::End::Complete));
    let replays: Vec<_> = results.into_iter().map(|result| result.summary).collect();
    let last = gathered.timeline.epochs.last().copied();
    const MOST_NOTES: usize = 20;
    let more = gathered.notes.len().saturating_sub(MOST_NOTES);
    gathered.notes.truncate(MOST_NOTES);
    if more > 0 {
        gathered.notes.push(format!("and {more} more"));
    }
    let (working_sets, redirty) = gathered.page_use.finish();
    Ok(reports::TraceReport {
        class: header.class.clone(),
        provenance: provenance(&header, reader.version(), complete),
        duration_ns: last.map_or(0, |point| point.end_ns),
        epochs: gathered.timeline.epochs.len() as u64,
        events: replays.first().map_or(0, |replay| replay.events),
        lost_events: replays.first().map_or(0, |replay| replay.lost_events),
        guest_bytes: replays.first().map_or(0, |replay| replay.bytes.guest),
        resident_bytes: last.map_or(0, |point| point.resident_pages * pagesieve_core::PAGE_SIZE),
        replays,
        grid: grid(file)?,
        verify: verify_file(file)?,
        timeline: gathered.timeline,
        heatmap: gathered.heatmap.finish(),
        working_sets,
        redirty,
        links: links(file, engine)?,
        trace_bytes: std::fs::metadata(file)?.len(),
        notes: gathered.notes,
        name,
    })
}

/// The seed's table is about block sizes and time between syncs: every combination of these.
fn grid(file: &Path) -> anyhow::Result<Vec<reports::GridRate>> {
    let intervals = [1, 5, 10, 30].map(|seconds| Nanos(seconds * Nanos::SECOND.0)).into();
    let rows = sweep(&[file.to_owned()], &Grid { intervals, ..Grid::default() }, &|_| ())?;
    let rate = |row: Row| reports::GridRate {
        block_size: row.block_size,
        interval_ns: row.interval.map_or(0, |interval| interval.0),
        rounds: row.rounds,
        blocks: row.blocks,
    };
    Ok(rows.into_iter().map(rate).collect())
}

/// Bytes per second of the links that a migration is foretold for: 100 Mbit, 1, 10 and 25 Gbit a second.
const LINKS: [u64; 4] = [12_500_000, 125_000_000, 1_250_000_000, 3_125_000_000];

/// Migrations over each link, by the policy without and the one with a forecast of writes.
fn links(file: &Path, engine: &EngineOptions) -> anyhow::Result<Vec<reports::LinkOutcome>> {
    let config = engine.config();
    let grid = Grid {
        policies: vec![PolicyKind::Proven, PolicyKind::Predictive],
        scenarios: vec![Scenario::Precopy],
        block_sizes: vec![config.block_size],
        agings: vec![config.aging],
        bandwidths: LINKS.into(),
        min_access: config.min_access,
        ..Grid::default()
    };
    let mut rows = sweep(&[file.to_owned()], &grid, &|_| ())?;
    rows.sort_by_key(|row| row.bandwidth);
    let outcome = |row: Row| reports::LinkOutcome {
        policy: row.policy.to_string(),
        bandwidth: row.bandwidth.unwrap_or_default(),
        converged: row.converged.unwrap_or_default(),
        rounds: row.rounds,
        total_time_ns: row.total_time.unwrap_or_default(),
        downtime_ns: row.downtime.unwrap_or_default(),
        bytes: row.bytes,
        lost_pages: row.lost_pages,
        forecast: row.forecast,
    };
    Ok(rows.into_iter().map(outcome).collect())
}

fn provenance(header: &Header, version: FormatVersion, complete: bool) -> reports::Provenance {
    reports::Provenance {
        created: header.created,
        cpu: header.machine.cpu.clone(),
        cpus: header.machine.cpus,
        memory: header.machine.memory,
        kernel: header.machine.kernel.clone(),
        arch: header.machine.arch.clone(),
        source: serde_json::json!(header.source).as_str().unwrap_or_default().to_owned(),
        hooks: header.hooks.clone(),
        arming: header.arming.clone(),
        target: header.target.command.clone(),
        tool: format!("pagesieve {}", header.tool),
        complete,
        clock: header.clock.clone(),
        epoch_ns: header.epoch_length.0,
        fingerprints: header.fingerprints,
        format: version.to_string(),
    }
}
