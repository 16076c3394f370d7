//! The command line: verbs and their options.

mod compare;
mod manners;
mod migrate;
mod network;
mod record;
mod replay;
mod shell;
mod sweep;
mod sync;
mod target;
mod tools;
mod top;
mod trace;
mod trace_tools;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use compare::{Compare, CompareFormat};
use manners::MannersOptions;
pub(crate) use migrate::Migrate;
pub(crate) use network::{Keys, Security, Serve, Tls};
pub(crate) use record::Record;
pub(crate) use replay::{EngineOptions, Replay, Verify};
pub(crate) use shell::{Completions, Man};
pub(crate) use sweep::{BestBy, Sweep, SweepFormat};
pub(crate) use sync::Sync;
pub(crate) use target::TargetOptions;
pub(crate) use tools::{Demo, Doctor, Synth, Workload};
pub(crate) use top::Top;
pub(crate) use trace::{Report, Trace, TraceFile};
pub(crate) use trace_tools::{TraceConvert, TraceCut, TraceImport, TraceMerge};

/// Finds out which memory pages of a running VM or process really need to be sent, and proves it.
#[derive(Parser)]
#[command(name = "pagesieve", version, max_term_width = 110, after_help = EXIT_STATUS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) manners: MannersOptions,
}

impl Cli {
    /// What this process was called with. Ends it with a message if that makes no sense, or if help was asked for.
    pub(crate) fn of_this_process() -> Self {
        let command = Self::command().color(manners::color_of(std::env::args_os()));
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }
}

/// What each exit status means: at the end of the command's help and of every page of the manual.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  verify, trace validate or demo found a violation, compare a regression
  2  wrong usage
  3  failed; one line on standard error says why and what to do";

#[derive(Subcommand)]
pub(crate) enum Verb {
    Record(Record),
    Top(Top),
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
    Completions(Completions),
    Man(Man),
}
