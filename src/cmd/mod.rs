//! The verbs, a file each: parse, call a library, print.

mod compare;
mod completions;
mod demo;
mod doctor;
mod filter;
mod host;
mod keys;
mod machine;
mod man;
mod migrate;
mod network;
mod place;
mod record;
mod replay;
mod report;
mod serve;
mod sweep;
mod sync;
mod synth;
mod top;
mod trace;
mod verify;
mod workload;

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use pagesieve_traces::{ReadError, ReadOptions, Reader};

use crate::cli::Verb;

/// Exit status of a check that found something.
pub(crate) const VIOLATION: u8 = 1;

pub(crate) fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Record(options) => record::run(&options)?,
        Verb::Top(options) => top::run(&options)?,
        Verb::Replay(options) => replay::run(&options)?,
        Verb::Verify(options) => return verify::run(&options),
        Verb::Sweep(options) => sweep::run(&options)?,
        Verb::Report(options) => report::run(&options)?,
        Verb::Compare(options) => return compare::run(&options),
        Verb::Trace(verb) => return trace::run(&verb),
        Verb::Sync(options) => sync::run(&options)?,
        Verb::Migrate(options) => migrate::run(&options)?,
        Verb::Serve(options) => serve::run(&options)?,
        Verb::Keys(options) => keys::run(&options)?,
        Verb::Synth(options) => synth::run(&options)?,
        Verb::Workload(options) => workload::run(&options)?,
        Verb::Doctor(options) => doctor::run(&options)?,
        Verb::Demo(options) => return demo::run(&options),
        Verb::Completions(options) => completions::run(&options)?,
        Verb::Man(options) => man::run(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a trace. An error says what to do; the caller names the file.
pub(crate) fn open(file: &Path) -> anyhow::Result<Reader> {
    open_with(file, ReadOptions::default())
}

/// Opens a trace as [`open`] does, with choices.
pub(crate) fn open_with(file: &Path, options: ReadOptions) -> anyhow::Result<Reader> {
    if file.is_dir() {
        bail!("it is a directory; name a trace in it");
    }
    match Reader::open_with(file, options) {
        Err(ReadError::Open { error, .. }) if error.kind() == ErrorKind::NotFound => {
            bail!("there is no such file; check its name and path")
        }
        opened => Ok(opened?),
    }
}

/// Refuses a place where no trace can be written, before any work is done.
pub(crate) fn check_output(path: &Path) -> anyhow::Result<()> {
    check_output_of(path, "-o")
}

/// As [`check_output`], for a place that another option named.
pub(crate) fn check_output_of(path: &Path, option: &str) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("create {}: it is a directory; name a file in it with {option}", path.display());
    }
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.is_dir() => {
            bail!("create {}: there is no directory {}; make it or name another with {option}", path.display(), dir.display())
        }
        _ => Ok(()),
    }
}
