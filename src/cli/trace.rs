//! Options of `pagesieve report` and `pagesieve trace`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pagesieve_reports::FileFormat;

use super::{EngineOptions, TraceConvert, TraceCut, TraceImport, TraceMerge};

/// Write a report on traces: a page with figures, and its numbers
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve report demo.trace -o report
  pagesieve report traces/corpus/*.trace -o report --force
  pagesieve report demo.trace -o report --format csv,png")]
pub(crate) struct Report {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Directory to write to
    #[arg(short, long, default_value = "report")]
    pub(crate) output: PathBuf,
    /// What to write: index.html, summary.json, summary.md, tables in csv/, figures in svg/ and png/, or all of it
    #[arg(long, value_enum, value_delimiter = ',', default_value = "html,json,md")]
    pub(crate) format: Vec<ReportFormat>,
    /// Print the names of the files as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Replace a report that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// What `--format` takes.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ReportFormat {
    Html,
    Json,
    Md,
    Csv,
    Svg,
    Png,
    All,
}

impl ReportFormat {
    pub(crate) fn files(self) -> &'static [FileFormat] {
        match self {
            Self::Html => &[FileFormat::Html],
            Self::Json => &[FileFormat::Json],
            Self::Md => &[FileFormat::Markdown],
            Self::Csv => &[FileFormat::Csv],
            Self::Svg => &[FileFormat::Svg],
            Self::Png => &[FileFormat::Png],
            Self::All => &FileFormat::ALL,
        }
    }
}

/// Look at traces, cut and join them, and exchange them with other tools
#[derive(Subcommand)]
pub(crate) enum Trace {
    /// Print what a trace is and what it holds
    #[command(after_help = "\
Examples:
  pagesieve trace info demo.trace
  pagesieve trace info --json demo.trace | grep lost_events")]
    Info(TraceFile),
    /// Check a trace's structure and whether its facts can be true together
    #[command(after_help = "\
Example:
  pagesieve trace validate demo.trace

A trace that was cut is valid up to its last whole frame. Whether its dirty log is complete is for `pagesieve verify` to say.")]
    Validate(TraceFile),
    /// Print everything in a trace
    #[command(after_help = "\
Example:
  pagesieve trace dump --json demo.trace | head")]
    Dump(TraceFile),
    Cut(TraceCut),
    Merge(TraceMerge),
    Convert(TraceConvert),
    Import(TraceImport),
}

#[derive(Args)]
pub(crate) struct TraceFile {
    /// Trace
    pub(crate) file: PathBuf,
    /// Print JSON (dump: JSON lines)
    #[arg(long)]
    pub(crate) json: bool,
}
