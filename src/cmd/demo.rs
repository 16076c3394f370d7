//! `pagesieve demo`: the main job in one go.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use pagesieve_core::summary::VerifySummary;
use pagesieve_recorder::workload::Class;
use pagesieve_recorder::{CommandOutput, Options, TargetSpec, record};
use pagesieve_reports::FileFormat;
use pagesieve_traces::{EventSource, Reader};

use super::record::{ProgressLine, stop_on_signal};
use super::{VIOLATION, report, verify};
use crate::cli::{Demo, EngineOptions};
use crate::output;

/// What is shown where nothing can be recorded: a trace of a real run, part of this program.
const CORPUS: &[u8] = include_bytes!("../../traces/corpus/light-512m.trace");

/// The engine of the demo: the seed's defaults, but synced each second, since its recordings are short.
const ENGINE: EngineOptions = EngineOptions {
    block_size: 64 << 10,
    aging: Duration::from_secs(5),
    min_access: 1,
    interval: Duration::from_secs(1),
    bandwidth: 125_000_000,
};

pub(crate) fn run(options: &Demo) -> anyhow::Result<ExitCode> {
    fs::create_dir_all(&options.output)
        .with_context(|| format!("make {}: name another directory with -o", options.output.display()))?;
    if let Some(reason) = pagesieve_recorder::doctor().why_not_ebpf() {
        output::note(format_args!("no eBPF events: {reason}"));
    }
    let traces = match record_classes(options) {
        Ok(traces) => traces,
        Err(error) => {
            output::note(format_args!(
                "nothing can be recorded here: failed to {error:#}; going on with a trace recorded elsewhere"
            ));
            vec![corpus(&options.output)?]
        }
    };
    let verified = traces.iter().map(|trace| verify::verify_file(trace)).collect::<anyhow::Result<Vec<_>>>()?;
    for (trace, summary) in traces.iter().zip(&verified) {
        output::line(line(trace, summary)?)?;
    }
    let written = report::write(&traces, &options.output.join("report"), &FileFormat::DEFAULT, &ENGINE, "pagesieve demo")?;
    output::line(format_args!("report: {}", written.first().map_or(Path::new(""), PathBuf::as_path).display()))?;
    Ok(if verified.iter().all(|summary| summary.ok) { ExitCode::SUCCESS } else { ExitCode::from(VIOLATION) })
}

/// Records this program's own workload, each class in turn.
fn record_classes(options: &Demo) -> anyhow::Result<Vec<PathBuf>> {
    let stop = stop_on_signal()?;
    let program = std::env::current_exe().context("find this program's own file")?;
    let mut traces = Vec::new();
    for class in Class::ALL {
        let path = options.output.join(format!("{}.trace", class.name()));
        let arguments = ["workload", "--class", class.name(), "--memory", &options.memory.to_string()];
        let length = ["--seconds", &(options.seconds + 1).to_string()].map(OsString::from);
        let command = std::iter::once(program.clone().into_os_string()).chain(arguments.map(OsString::from)).chain(length);
        let settings = Options {
            class: Some(class.name().to_owned()),
            duration: Some(Duration::from_secs(options.seconds)),
            fingerprints: true,
            command_output: CommandOutput::Discard,
            output: path.clone(),
            force: true,
            ..Options::default()
        };
        record(&TargetSpec::Command(command.collect()), &settings, &stop, &mut ProgressLine::quiet_about_source())?;
        traces.push(path);
    }
    Ok(traces)
}

fn corpus(dir: &Path) -> anyhow::Result<PathBuf> {
    let path = dir.join("light-512m.trace");
    fs::write(&path, CORPUS).with_context(|| format!("write {}: name another directory with -o", path.display()))?;
    Ok(path)
}

fn line(trace: &Path, summary: &VerifySummary) -> anyhow::Result<String> {
    let source = match Reader::open(trace)?.header().source {
        EventSource::Ebpf => "events from eBPF",
        EventSource::PagemapScan => "no events, dirty log from PAGEMAP_SCAN",
        _ => "not recorded here",
    };
    Ok(format!("{source}; {}", verify::text(summary)))
}
