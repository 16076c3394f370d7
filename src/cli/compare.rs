//! Options of `pagesieve compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pagesieve_reports::compare::Threshold;

/// Compare two reports: did anything get worse?
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve compare base/summary.json new/summary.json
  pagesieve compare --threshold 1%,skip=0.5% --same-input base/summary.json new/summary.json
  pagesieve compare --format markdown -o compare.md --force base/summary.json new/summary.json

Takes two summary.json of report, or two documents of sweep --format json, replay --json or
verify --json. Traces are paired by name; replays by policy, scenario and block size; syncs by
block size and interval.

Thresholds: skip, sent, resent, wire, rounds, downtime, total, lost-events. A percentage is one
of the base; for skip (skip.all, skip.resident) it is one in points. The default is 0.1%:
replays have no noise, so any difference was made by a change of the program, and it need not be
large to matter. Lost pages, violations, recall and convergence have no threshold: any change for
the worse is a regression. What aging-literal loses is only noted.

Exit status: 0 no regression, 1 regression, 2 wrong usage, 3 failed")]
pub(crate) struct Compare {
    /// What to compare with
    pub(crate) base: PathBuf,
    /// What to judge
    pub(crate) new: PathBuf,
    /// How much worse something may get: 1% for all quantities, wire=2% for one; several separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "0.1%")]
    pub(crate) threshold: Vec<Threshold>,
    /// How to print
    #[arg(long, default_value = "table")]
    pub(crate) format: CompareFormat,
    /// File to write to. Default: standard output
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// Show also what did not change
    #[arg(long)]
    pub(crate) all: bool,
    /// It is no regression if NEW lacks traces, replays or values that BASE has
    #[arg(long)]
    pub(crate) allow_missing: bool,
    /// Fail if traces of the same name are different recordings, instead of warning
    #[arg(long)]
    pub(crate) same_input: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompareFormat {
    /// For people: what changed, the worst first
    Table,
    /// For a comment on a pull request
    Markdown,
    /// One document, pagesieve.compare
    Json,
    /// JUnit XML: a test case for each trace and group of quantities
    Junit,
}
