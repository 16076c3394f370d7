//! Options of `pagesieve sweep`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use pagesieve_core::PolicyKind;
use pagesieve_replayer::Scenario;
use pagesieve_replayer::sweep::Best;

use crate::units;

/// Replay traces over a grid of parameters, to see what one saves and what it costs
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve sweep idle.trace
  pagesieve sweep --scenario sync,precopy --policy proven,predictive --best wire *.trace
  pagesieve sweep --interval 1s,5s,10s,30s --format csv -o intervals.csv heavy.trace
  pagesieve sweep --sweep grid.toml --best skip heavy.trace

A row for each trace and each combination of the lists; a parameter that changes nothing is not
varied: interval in precopy, bandwidth in sync, aging in sync for policies that do not use it. In
precopy aging is also how long accesses are watched before the migration starts, so it counts for
every policy. In csv and json sizes are in bytes, times in nanoseconds, bandwidth in bytes a second.

A file for --sweep is TOML; its keys are the options:
  policy = [\"proven\", \"aging\"]
  block-size = [\"32KiB\", \"64KiB\"]
  min-access = 1
  best = \"wire\"")]
pub(crate) struct Sweep {
    /// Traces
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Policies, separated by commas: send-all, proven, aging, adaptive, predictive or aging-literal. Default: proven
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) policy: Vec<PolicyKind>,
    /// Scenarios: sync, precopy. Default: sync
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) scenario: Vec<Scenario>,
    /// Transfer units, each a power of two from 4 KiB up. Default: 32KiB,64KiB,128KiB,256KiB
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::block_size)]
    pub(crate) block_size: Vec<u64>,
    /// Times after which a page counts as aged out. Default: 5s
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::duration)]
    pub(crate) aging: Vec<Duration>,
    /// sync: times between two rounds. Default: 5s
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::span)]
    pub(crate) interval: Vec<Duration>,
    /// precopy: speeds of the link. Default: 1Gbit
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = units::bandwidth)]
    pub(crate) bandwidth: Vec<u64>,
    /// Accesses below which a page counts as unused, the same for all rows. Default: 1
    #[arg(long)]
    pub(crate) min_access: Option<u32>,
    /// Take the options that are not given from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) sweep: Option<PathBuf>,
    /// Name the best row of each trace, of those that lost no page
    #[arg(long, value_name = "COLUMN")]
    pub(crate) best: Option<BestBy>,
    /// How to print. Default: table
    #[arg(long)]
    pub(crate) format: Option<SweepFormat>,
    /// File to write to. Default: standard output
    #[arg(short, long)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum BestBy {
    /// Fewest bytes on the wire
    #[value(aliases = ["wire_bytes", "wire-bytes", "bytes.wire"])]
    Wire,
    /// Fewest bytes sent again
    #[value(aliases = ["resent_bytes", "resent-bytes", "bytes.resent"])]
    Resent,
    /// Shortest pause; precopy only
    Downtime,
    /// Highest skip rate over all blocks
    #[value(aliases = ["skip_rate", "skip-rate", "skip_rate.total"])]
    Skip,
}

impl From<BestBy> for Best {
    fn from(by: BestBy) -> Self {
        match by {
            BestBy::Wire => Best::Wire,
            BestBy::Resent => Best::Resent,
            BestBy::Downtime => Best::Downtime,
            BestBy::Skip => Best::Skip,
        }
    }
}

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum SweepFormat {
    /// For people; a column that applies to no row is left out
    #[default]
    Table,
    /// A line for each row below a line of names
    Csv,
    /// One document
    Json,
}
