//! Options of `pagesieve synth`, `pagesieve workload`, `pagesieve doctor` and `pagesieve demo`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pagesieve_recorder::workload::{Adversary, Class};

use crate::units;

/// Make a synthetic trace: seeded, of any length, from no machine
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve synth --class mixed --memory 1GiB --duration 60s --seed 7 -o mixed.trace")]
pub(crate) struct Synth {
    /// Class: idle, light, mixed or heavy-io
    #[arg(long)]
    pub(crate) class: Class,
    /// Guest memory
    #[arg(long, default_value = "256MiB", value_parser = units::bytes)]
    pub(crate) memory: u64,
    /// Seed: the same one makes the same bytes
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Length of the trace
    #[arg(long, default_value = "30s", value_parser = units::span)]
    pub(crate) duration: Duration,
    /// Length of an epoch
    #[arg(long, default_value = "1s", value_parser = units::span)]
    pub(crate) epoch: Duration,
    /// Leave out page summaries
    #[arg(long)]
    pub(crate) no_fingerprints: bool,
    /// Trace to write
    #[arg(short, long)]
    pub(crate) output: PathBuf,
    /// Replace the trace if it exists
    #[arg(long)]
    pub(crate) force: bool,
}

/// Run the guest workload of our own: a process that touches memory in a known way
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve workload --class mixed --seconds 10
  pagesieve record --fingerprints -o fork.trace -- pagesieve workload --class light --adversary fork

The same seed makes the same accesses: two runs without an adversary print the same digest.")]
pub(crate) struct Workload {
    /// Class: idle, light, mixed or heavy-io
    #[arg(long, default_value = "light")]
    pub(crate) class: Class,
    /// Guest memory
    #[arg(long, default_value = "256MiB", value_parser = units::bytes)]
    pub(crate) memory: u64,
    /// Seed of all choices
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long to run
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Guest memory is anonymous instead of a memfd
    #[arg(long)]
    pub(crate) anonymous: bool,
    /// Guest memory is the start of this file
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous")]
    pub(crate) file: Option<PathBuf>,
    /// A pattern that trackers miss: kernel-writes, thp, fork, discard, gup or sharer
    #[arg(long)]
    pub(crate) adversary: Option<Adversary>,
}

/// Say what this machine allows, and how to mend what it does not
#[derive(Args)]
#[command(after_help = "\
Examples:
  pagesieve doctor
  pagesieve doctor --json | grep selected

The exit status is 0 whatever is found: without the kernel program there are no events, and recordings are made all the same.")]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Workload, recording, verification and report in one go
#[derive(Args)]
#[command(after_help = "\
Example:
  pagesieve demo --seconds 10 -o /tmp/demo

As root the events come from the kernel program. Otherwise the demo says why not and takes the best source it can have.")]
pub(crate) struct Demo {
    /// Directory for traces and report; an earlier demo's files in it are replaced
    #[arg(short, long, default_value = "pagesieve-demo")]
    pub(crate) output: PathBuf,
    /// Length of each of the four recordings
    #[arg(long, default_value_t = 12)]
    pub(crate) seconds: u64,
    /// Guest memory of the workload
    #[arg(long, default_value = "64MiB", value_parser = units::bytes)]
    pub(crate) memory: u64,
}
