//! `pagesieve trace`: to look at traces is done here, to make others of them in the modules below.

mod convert;
mod cut;
mod import;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use indicatif::ProgressBar;
use pagesieve_traces::{DumpFormat, Info, OnDamage, Problem, ReadOptions, Reader, Validation, dump, info, validate};

use super::VIOLATION;
use crate::cli::{Trace, TraceFile};
use crate::{output, units};

pub(crate) fn run(verb: &Trace) -> anyhow::Result<ExitCode> {
    match verb {
        Trace::Info(file) => show_info(file).with_context(|| format!("show {}", file.file.display()))?,
        Trace::Validate(file) => return check(file).with_context(|| format!("validate {}", file.file.display())),
        Trace::Dump(file) => match show_all(file).with_context(|| format!("dump {}", file.file.display())) {
            // A dump is long: it is usual to look at its beginning only.
            Err(error) if output::is_closed_pipe(&error) => {}
            done => done?,
        },
        Trace::Cut(options) => cut::run_cut(options)?,
        Trace::Merge(options) => cut::run_merge(options)?,
        Trace::Convert(options) => match convert::run(options) {
            Err(error) if output::is_closed_pipe(&error) => {}
            done => done?,
        },
        Trace::Import(options) => import::run(options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens a trace of which the whole frames are wanted, even if others behind them are damaged.
fn open_whole(file: &Path) -> anyhow::Result<Reader> {
    super::open_with(file, ReadOptions { on_damage: OnDamage::Stop, ..ReadOptions::default() })
}

/// A bar over the bytes of these files, each read so many times.
fn bar_of<'a>(files: impl Iterator<Item = &'a PathBuf>, times: u64) -> ProgressBar {
    let bytes: u64 = files.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum();
    output::bar(bytes * times, "{bar:24} {percent:>3} % {eta}")
}

/// Prints what a tool did: a line, or its document with the name of the output.
fn result(verb: &str, file: &Path, as_json: bool, text: String, mut document: serde_json::Value) -> anyhow::Result<()> {
    if !as_json {
        return output::line(format_args!("{}: {text}", file.display()));
    }
    if let Some(fields) = document.as_object_mut() {
        let schema = serde_json::json!({ "name": format!("pagesieve.trace.{verb}"), "version": "1.0" });
        fields.insert("schema".to_owned(), schema);
        fields.insert("output".to_owned(), file.display().to_string().into());
    }
    output::json(&document)
}

fn show_info(file: &TraceFile) -> anyhow::Result<()> {
    let info = info(&mut super::open(&file.file)?)?;
    if file.json { output::json(&info) } else { output::line(text(&info)) }
}

fn text(info: &Info) -> String {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut rows = vec![
        ("target", format!("{} {} ({})", info.target.kind, info.target.pid, info.target.command)),
        ("class", info.class.clone().unwrap_or_else(|| "not given".to_owned())),
        ("source", format!("{}, armed by {}", serde_json::json!(info.source).as_str().unwrap_or_default(), info.arming)),
        ("hooks", if info.hooks.is_empty() { "none".to_owned() } else { info.hooks.join(", ") }),
        (
            "machine",
            format!(
                "{}, {} CPUs, {}, Linux {}",
                info.machine.cpu,
                info.machine.cpus,
                units::show_bytes(info.machine.memory),
                info.machine.kernel
            ),
        ),
        ("memory", format!("{} in {} slots", units::show_bytes(info.memory), info.slots)),
        (
            "time",
            format!("{:.1} s in {} frames of about {:.1} s", seconds(info.duration.0), info.frames, seconds(info.epoch_length.0)),
        ),
        ("events", format!("{}, {} lost, {} outside every slot", info.events, info.lost_events, info.outside_events)),
        ("dirty log", format!("{} pages, of these {} merely unknown", info.dirty_pages, info.unknown_pages)),
        ("summaries", if info.fingerprints { info.summaries.to_string() } else { "none".to_owned() }),
        ("file", format!("{}, written by pagesieve {}", units::show_bytes(info.file_bytes), info.tool)),
    ];
    if let Some(missing) = &info.incomplete {
        rows.push(("incomplete", missing.clone()));
    }
    rows.iter().map(|(name, value)| format!("{name:>10}  {value}")).collect::<Vec<_>>().join("\n")
}

fn check(file: &TraceFile) -> anyhow::Result<ExitCode> {
    let found = validate(&mut super::open(&file.file)?)?;
    output::whoever_reads(if file.json { output::json(&found) } else { output::line(verdict(&found)) })?;
    Ok(if found.is_valid() { ExitCode::SUCCESS } else { ExitCode::from(VIOLATION) })
}

fn verdict(found: &Validation) -> String {
    let problem = |problem: &Problem| format!("epoch {}: {} ({} times)\n", problem.epoch, problem.what, problem.times);
    let problems: String = found.problems.iter().map(problem).collect();
    let verdict = if found.is_valid() { "valid" } else { "NOT valid" };
    let whole = if found.complete { "" } else { "; it was cut, and is read up to its last whole frame" };
    format!("{problems}{verdict}: {} frames, {} events{whole}", found.frames, found.events)
}

fn show_all(file: &TraceFile) -> anyhow::Result<()> {
    let format = if file.json { DumpFormat::JsonLines } else { DumpFormat::Text };
    let mut out = output::stream();
    dump(&mut super::open(&file.file)?, &mut out, format)?;
    Ok(out.flush()?)
}
