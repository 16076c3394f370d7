//! The command line: verbs and their options.

mod compare;
mod migrate;
mod network;
mod record;
mod replay;
mod sweep;
mod sync;
mod tools;
mod trace;

use clap::{Parser, Subcommand};

pub(crate) use compare::{Compare, CompareFormat};
pub(crate) use migrate::Migrate;
pub(crate) use network::{Keys, Security, Serve, Tls};
pub(crate) use record::Record;
pub(crate) use replay::{EngineOptions, Replay, Verify};
pub(crate) use sweep::{BestBy, Sweep, SweepFormat};
pub(crate) use sync::Sync;
pub(crate) use tools::{Demo, Doctor, Synth, Workload};
pub(crate) use trace::{Report, Trace, TraceFile};

/// Finds out which memory pages of a running VM or process really need to be sent, and proves it.
#[derive(Parser)]
#[command(name = "pagesieve", version, max_term_width = 110, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  verify or trace validate found a violation, compare a regression
  2  wrong usage
  3  failed; one line on standard error says why and what to do";

#[derive(Subcommand)]
pub(crate) enum Verb {
    Record(Record),
    Replay(Replay),
    Verify(Verify),
    Sweep(Sweep),
    Report(Report),
    Compare(Compare),
    #[command(subcommand)]
    Trace(Trace),
    Sync(Sync),
    Migrate(Migrate),
    Serve(Serve),
    Keys(Keys),
    Synth(Synth),
    Workload(Workload),
    Doctor(Doctor),
    Demo(Demo),
}
