//! Options of `pagesieve replay` and `pagesieve verify`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pagesieve_core::{Gfn, PolicyKind};
use pagesieve_replayer::{Scenario, Start};

use crate::units;

/// Replay traces through the engine: what would have been skipped, sent and lost
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve replay idle.trace
  pagesieve replay --policy aging-literal --json *.trace
  pagesieve replay --scenario precopy --bandwidth 1Gbit --block-size 128KiB heavy.trace
  pagesieve replay --scenario precopy --policy predictive --explain 0x40 heavy.trace

sync: the destination starts equal and is brought up to date at each interval. precopy: it starts empty.")]
pub(crate) struct Replay {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
    /// Policy: send-all, proven, aging, adaptive, predictive or aging-literal
    #[arg(long, default_value = "proven")]
    pub(crate) policy: PolicyKind,
    /// sync or precopy
    #[arg(long, default_value = "sync")]
    pub(crate) scenario: Scenario,
    /// What the destination holds at the start: empty, checkpoint or fingerprints, the latter two as of the end of the first
    /// epoch. Default: checkpoint for sync, empty for precopy
    #[arg(long)]
    pub(crate) baseline: Option<Start>,
    /// precopy: longest pause that is planned for
    #[arg(long, default_value = "300ms", value_parser = units::duration)]
    pub(crate) downtime_limit: Duration,
    /// Print the history of this guest frame: each access, its place in the dirty logs, and every verdict with its evidence
    #[arg(long, value_name = "GFN", value_parser = units::gfn)]
    pub(crate) explain: Option<Gfn>,
    /// Replay twice and fail unless both runs decide alike
    #[arg(long)]
    pub(crate) doublecheck: bool,
    /// Print JSON: one document for one trace, an array for several
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of the engine; the defaults are the seed's.
#[derive(Args, Clone, Copy)]
pub(crate) struct EngineOptions {
    /// Transfer unit: a power of two from 4 KiB up
    #[arg(long, default_value = "64KiB", value_parser = units::block_size)]
    pub(crate) block_size: u64,
    /// Time after which a page counts as aged out
    #[arg(long, default_value = "5s", value_parser = units::duration)]
    pub(crate) aging: Duration,
    /// Accesses below which a page counts as unused
    #[arg(long, default_value_t = 1)]
    pub(crate) min_access: u32,
    /// sync: time between two rounds
    #[arg(long, default_value = "5s", value_parser = units::span)]
    pub(crate) interval: Duration,
    /// precopy: speed of the link
    #[arg(long, default_value = "1Gbit", value_parser = units::bandwidth)]
    pub(crate) bandwidth: u64,
}

/// Check traces: is the dirty log complete, and does any policy lose a page?
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve verify demo.trace
  pagesieve verify --json *.trace

Checks that every page whose content changed is in the dirty log of its epoch, and replays all
policies against a shadow of the destination. aging-literal, the seed's rule, is expected to lose
pages; that is no violation.")]
pub(crate) struct Verify {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Print JSON: one document for one trace, an array for several
    #[arg(long)]
    pub(crate) json: bool,
}
