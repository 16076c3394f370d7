//! The verbs, a file each: parse, call a library, print.

mod demo;
mod doctor;
mod record;
mod replay;
mod report;
mod synth;
mod trace;
mod verify;
mod workload;

use std::process::ExitCode;

use crate::cli::Verb;

/// Exit status of a check that found something.
pub(crate) const VIOLATION: u8 = 1;

pub(crate) fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Record(options) => record::run(&options)?,
        Verb::Replay(options) => replay::run(&options)?,
        Verb::Verify(options) => return verify::run(&options),
        Verb::Report(options) => report::run(&options)?,
        Verb::Trace(verb) => return trace::run(&verb),
        Verb::Synth(options) => synth::run(&options)?,
        Verb::Workload(options) => workload::run(&options)?,
        Verb::Doctor(options) => doctor::run(&options)?,
        Verb::Demo(options) => return demo::run(&options),
    }
    Ok(ExitCode::SUCCESS)
}
