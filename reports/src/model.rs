//! What a report is made from. Everything here is plain data: whoever builds it has read the traces and run the replays.
//!
//! All times are nanoseconds since the start of the recording, all memory sizes are bytes, all rates are shares from 0 to 1.

use pagesieve_core::forecast::Forecast;
use pagesieve_core::series::{Heatmap, RedirtyIntervals, Timeline, WorkingSets};
use pagesieve_core::summary::{BlockCounts, ByteCounts, ReplaySummary, Schema, VerifySummary};
use serde::{Deserialize, Serialize};

/// Everything that goes into one report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`Report::schema`].
    pub schema: Schema,
    /// Name and version of the program that made the report.
    pub tool: String,
    /// The command line that made it.
    pub command: String,
    /// One entry for each trace, in the order of the page.
    pub traces: Vec<TraceReport>,
}

impl Report {
    /// Name and version of `summary.json`: `pagesieve.summary` 1.2.
    #[must_use]
    pub fn schema() -> Schema {
        Schema { name: "pagesieve.summary".into(), version: "1.2".into() }
    }

    /// A report with the current schema.
    #[must_use]
    pub fn new(tool: impl Into<String>, command: impl Into<String>, traces: Vec<TraceReport>) -> Self {
        Self { schema: Self::schema(), tool: tool.into(), command: command.into(), traces }
    }
}

/// What is known about one trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceReport {
    /// File name of the trace without the folder.
    pub name: String,
    /// Workload class: `idle`, `light`, `mixed`, `heavy-io`, or any other word. The seed makes a claim only for these four.
    pub class: Option<String>,
    /// Where the trace comes from.
    pub provenance: Provenance,
    /// Time from the start of the recording to the end of its last epoch.
    pub duration_ns: u64,
    /// Epochs in the trace.
    pub epochs: u64,
    /// Access events in the trace.
    pub events: u64,
    /// Events dropped while recording.
    pub lost_events: u64,
    /// Guest memory: all slots.
    pub guest_bytes: u64,
    /// Guest memory that held data at the end of the last epoch.
    pub resident_bytes: u64,
    /// Replays of the trace: any number of policies and scenarios, in the order of the page.
    pub replays: Vec<ReplaySummary>,
    /// Skip rates of the proven policy in repeated syncs, by block size and interval.
    #[serde(default)]
    pub grid: Vec<GridRate>,
    /// What the check of the trace found.
    pub verify: VerifySummary,
    /// Dirty pages over time.
    pub timeline: Timeline,
    /// Dirty pages over address and time.
    pub heatmap: Heatmap,
    /// Pages in use together, over time.
    #[serde(default)]
    pub working_sets: WorkingSets,
    /// How long pages rest between two writes.
    #[serde(default)]
    pub redirty: RedirtyIntervals,
    /// Migrations over links of several speeds, and what was foretold of each.
    #[serde(default)]
    pub links: Vec<LinkOutcome>,
    /// Size of the trace's file.
    #[serde(default)]
    pub trace_bytes: u64,
    /// Anything else that a reader should know, a line each.
    pub notes: Vec<String>,
}

/// What repeated syncs with one block size and one interval would have skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GridRate {
    /// Transfer unit in bytes.
    pub block_size: u64,
    /// Time between two syncs.
    pub interval_ns: u64,
    /// Completed syncs.
    pub rounds: u64,
    /// Verdicts, summed over syncs.
    pub blocks: BlockCounts,
}

/// A live migration over one link: what was foretold before it began, and what came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkOutcome {
    /// Name of the policy.
    pub policy: String,
    /// Bytes per second that the link takes.
    pub bandwidth: u64,
    /// True if the rest fitted the downtime limit by itself.
    pub converged: bool,
    /// Rounds, the full one and the last one included.
    pub rounds: u64,
    /// Time of the whole migration.
    pub total_time_ns: u64,
    /// Time from the pause to the end of the last round.
    pub downtime_ns: u64,
    /// Bytes.
    pub bytes: ByteCounts,
    /// Pages that were taken for current at the destination although they were not.
    pub lost_pages: u64,
    /// What was foretold; `None` if nothing had been watched by then.
    pub forecast: Option<Forecast>,
}

/// Where a trace comes from: when, on which machine, by which means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Start of the recording in seconds since the Unix epoch; 0 if no machine was observed.
    pub created: u64,
    /// CPU model name.
    pub cpu: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Memory of the machine in bytes.
    pub memory: u64,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// Where the events come from: `ebpf`, `perf`, `pagemap_scan`, `synthetic`, `imported`.
    pub source: String,
    /// Kernel hooks in use, best first.
    pub hooks: Vec<String>,
    /// How memory was write-protected: `handover`, `ptrace`, `none`, `synthetic`.
    pub arming: String,
    /// What was observed, as a line for people: kind and command.
    pub target: String,
    /// Name and version of the program that recorded it.
    pub tool: String,
    /// False if the file has no footer, so that the recording was cut short.
    pub complete: bool,
    /// Clock of all times.
    #[serde(default)]
    pub clock: String,
    /// Intended length of an epoch in nanoseconds.
    #[serde(default)]
    pub epoch_ns: u64,
    /// True if the trace tells equal page contents from different ones.
    #[serde(default)]
    pub fingerprints: bool,
    /// Version of the trace format.
    #[serde(default)]
    pub format: String,
}
