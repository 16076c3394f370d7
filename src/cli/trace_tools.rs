//! Options of `pagesieve trace cut|merge|convert|import`.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use pagesieve_convert::{Format, Rows, Tool};
use pagesieve_core::PolicyKind;
use pagesieve_replayer::Scenario;

use super::EngineOptions;
use crate::units;

/// Write a part of a trace as a trace of its own
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve trace cut demo.trace -o middle.trace --from 1s --to 2s
  pagesieve trace cut demo.trace -o low.trace --gfn 0..0x200,0x300..0x380

Whole epochs are kept. The first is the one that --from falls into, the last one begins before --to.
A cut in the middle begins with a baseline of its own: the end of the epoch before. Times count from
there; a note in the trace says by how much they were moved. Pages outside of --gfn are left out.")]
pub(crate) struct TraceCut {
    /// Trace
    pub(crate) file: PathBuf,
    /// Trace to write
    #[arg(short, long)]
    pub(crate) output: PathBuf,
    /// Start, from the start of the recording. Default: all from the start
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) from: Option<Duration>,
    /// End, from the start of the recording. Default: all to the end
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) to: Option<Duration>,
    /// Only these guest frames: ranges A..B without B, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::gfns)]
    pub(crate) gfn: Vec<Range<u64>>,
    #[command(flatten)]
    pub(crate) how: HowToWrite,
}

/// Join recordings of one guest that were made one after the other
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve trace merge monday.trace tuesday.trace -o both.trace

They must be of the same process or guest, with the same memory slots. What happened between two of
them is unknown, so every page is unknown in the epoch that spans the gap.")]
pub(crate) struct TraceMerge {
    /// Traces, two or more; they are put in the order of their time
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Trace to write
    #[arg(short, long)]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) how: HowToWrite,
}

/// Write events or verdicts as CSV, JSON lines or Parquet, or draw them for ui.perfetto.dev
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve trace convert demo.trace -o events.parquet
  pagesieve trace convert demo.trace -o - --to csv | head
  pagesieve trace convert demo.trace -o verdicts.csv --rows verdicts --policy aging --interval 1s
  pagesieve trace convert demo.trace -o demo.json --to perfetto

The ending of the file names the format: .csv, .jsonl, .parquet, or .json for Perfetto. The columns
are described in traces/TOOLS.md. The options from --policy on need --rows verdicts.")]
#[command(group = ArgGroup::new("replay").multiple(true).requires("rows").args([
    "policy", "scenario", "block_size", "aging", "min_access", "interval", "bandwidth",
]))]
pub(crate) struct TraceConvert {
    /// Trace
    pub(crate) file: PathBuf,
    /// File to write; - is standard output
    #[arg(short, long)]
    pub(crate) output: PathBuf,
    /// Format: csv, jsonl, parquet or perfetto. Default: by the ending of the file
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Option<Format>,
    /// Which table. Default: events
    #[arg(long)]
    pub(crate) rows: Option<RowsOption>,
    #[command(flatten)]
    pub(crate) how: HowToWrite,
    /// Policy: send-all, proven, aging, adaptive, predictive or aging-literal
    #[arg(long, default_value = "proven")]
    pub(crate) policy: PolicyKind,
    /// sync or precopy
    #[arg(long, default_value = "sync")]
    pub(crate) scenario: Scenario,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// Make a trace of what perf, damo or valgrind's lackey recorded
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve trace import faults.txt -o faults.trace
  pagesieve trace import damon.json -o damon.trace --class idle
  pagesieve trace import mem.txt -o app.trace --epoch 10ms

Made by:
  perf record -d --sample-cpu -e page-faults -c 1 -p 4711
  perf script --ns -F comm,pid,tid,cpu,time,event,addr,ip > faults.txt
  damo report access --json > damon.json
  valgrind --tool=lackey --trace-mem=yes --log-file=mem.txt ./app

None of these tools proves that a page was not written. In traces of perf and damo every page is
unknown in every epoch; their events give times only. Lackey sees each store of the program, but not
what the kernel writes for it. Its times are instructions: 1ms is a million of them.")]
pub(crate) struct TraceImport {
    /// What the tool printed; - is standard input
    pub(crate) file: PathBuf,
    /// Trace to write
    #[arg(short, long)]
    pub(crate) output: PathBuf,
    /// Tool: perf, damo or lackey. Default: by the first lines, if they leave no doubt
    #[arg(long, value_name = "TOOL")]
    pub(crate) from: Option<Tool>,
    /// Length of an epoch. Default: 1s, and 1ms for lackey
    #[arg(long, value_parser = units::span)]
    pub(crate) epoch: Option<Duration>,
    /// Workload class to name in the trace
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// perf: only this process
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    #[command(flatten)]
    pub(crate) how: HowToWrite,
}

/// What all of them share.
#[derive(Args)]
pub(crate) struct HowToWrite {
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Print what was done as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RowsOption {
    /// A row for each access event
    Events,
    /// A row for each verdict of a replay on a block
    Verdicts,
}

impl From<RowsOption> for Rows {
    fn from(rows: RowsOption) -> Self {
        match rows {
            RowsOption::Events => Rows::Events,
            RowsOption::Verdicts => Rows::Verdicts,
        }
    }
}
