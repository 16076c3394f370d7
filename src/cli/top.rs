//! Options of `pagesieve top`.

use std::time::Duration;

use clap::Args;

use super::TargetOptions;
use super::record::MeansOptions;
use crate::units;

/// Show live what a guest or process writes, and what could be skipped
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve top --qmp /run/web1.qmp
  pagesieve top --pid $(pidof redis-server) --interval 2s --bandwidth 10Gbit
  pagesieve top --batch -n 3 -- pagesieve workload --class light
  pagesieve top --batch --json --vm web1 | head -60 >web1.jsonl

Keys: q or Esc ends it, l another link, s another order, arrows move through the ranges, space holds the display, ? help.

The skip rate is that of a sync by the policy `proven` at each interval, played by the engine without a look at any content: a real \
sync skips no less. Time and downtime are those of a migration that began now, to a destination that holds nothing.

Nothing is sent. Each page that is written costs its writer a fault in each interval. A guest goes on running; where it does direct \
I/O, --qmp stops it for a moment at the end of each interval. A command is started without input and output, unless --batch is given, \
and ended with the display. What runs already goes on, unobserved.")]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) target: TargetOptions,
    /// Length of an epoch: time between two readings
    #[arg(long, default_value = "1s", value_parser = units::span)]
    pub(crate) interval: Duration,
    /// End after so many readings
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Print a line for each reading, for scripts and where there is no terminal
    #[arg(short, long)]
    pub(crate) batch: bool,
    /// Print a line of JSON for each reading
    #[arg(long, requires = "batch")]
    pub(crate) json: bool,
    /// Link over which a migration is foretold
    #[arg(long, default_value = "1Gbit", value_parser = units::bandwidth)]
    pub(crate) bandwidth: u64,
    /// Longest pause that is planned for
    #[arg(long, default_value = "300ms", value_parser = units::span)]
    pub(crate) downtime_limit: Duration,
    /// Unit of comparison and transfer: a power of two from 4 KiB up
    #[arg(long, default_value = "64KiB", value_parser = units::block_size)]
    pub(crate) block_size: u64,
    #[command(flatten)]
    pub(crate) means: MeansOptions,
}
