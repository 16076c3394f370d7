//! `pagesieve record`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use indicatif::ProgressBar;
use pagesieve_recorder::{CommandOutput, Find, Listener, Options, Progress, Started, TargetSpec, find, record};
use serde_json::json;

use crate::cli::{Record, TargetOptions};
use crate::{output, units};

pub(crate) fn run(options: &Record) -> anyhow::Result<()> {
    super::check_output(&options.output)?;
    let spec = target(&options.target)?;
    let settings = Options {
        source: options.means.source.into(),
        hooks: options.means.hooks.into(),
        writes: options.means.writes.into(),
        regions: options.target.region.clone(),
        epoch: options.epoch,
        duration: options.duration,
        fingerprints: options.fingerprints,
        class: options.class.clone(),
        ring_bytes: u32::try_from(options.ring_size).unwrap_or(1 << 30).min(1 << 30),
        page_limit: options.map_size_limit,
        command_output: if options.json { CommandOutput::ToStderr } else { CommandOutput::Inherit },
        output: options.output.clone(),
        force: options.force,
    };
    let mut line = ProgressLine::new();
    let stop = stop_on_signal()?;
    let done = record(&spec, &settings, &stop, &mut line)?;
    line.bar.finish_and_clear();
    if options.json {
        return output::json(&json!({
            "schema": { "name": "pagesieve.record", "version": "1.0" },
            "trace": options.output,
            "source": line.started.as_ref().map(|started| started.source),
            "guest": line.started.as_ref().and_then(|started| started.guest.clone()),
            "fallback": line.started.as_ref().and_then(|started| started.fallback.clone()),
            "seconds": done.elapsed.as_secs_f64(),
            "epochs": done.epochs,
            "events": done.events,
            "lost_events": done.lost,
            "bytes": done.bytes,
        }));
    }
    output::line(format_args!(
        "{}: {} epochs, {} events, {} lost, {} pages, {}",
        options.output.display(),
        done.epochs,
        done.events,
        done.lost,
        done.pages,
        units::show_bytes(done.bytes)
    ))
}

/// Whom the options name.
pub(crate) fn target(options: &TargetOptions) -> anyhow::Result<TargetSpec> {
    if let Some(qmp) = &options.qmp {
        return Ok(TargetSpec::Guest { qmp: qmp.clone(), pid: options.pid });
    }
    let file = options.pid_file.clone().map(Find::PidFile);
    Ok(match (options.pid, file.or(options.vm.clone().map(Find::Name))) {
        (Some(pid), _) => TargetSpec::Pid(pid),
        (None, Some(what)) => TargetSpec::Pid(find(&what)?),
        (None, None) => TargetSpec::Command(options.command.clone()),
    })
}

/// A flag that Ctrl-C and SIGTERM set. The second Ctrl-C ends the command at once; the trace is whole up to its last frame.
pub(crate) fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("handle signals")?;
    }
    Ok(stop)
}

/// One line on a terminal that shows how far the recording is, and nothing elsewhere.
pub(crate) struct ProgressLine {
    bar: ProgressBar,
    started: Option<Started>,
    last: Progress,
    says_fallback: bool,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        Self { bar: output::spinner(), started: None, last: Progress::default(), says_fallback: true }
    }

    /// For a caller that has told the user already where the events come from.
    pub(crate) fn quiet_about_source() -> Self {
        Self { says_fallback: false, ..Self::new() }
    }
}

impl Listener for ProgressLine {
    fn started(&mut self, started: &Started) {
        if let Some(reason) = started.fallback.as_ref().filter(|_| self.says_fallback) {
            self.bar.suspend(|| {
                output::note(format_args!("no events, only the kernel's dirty log: failed to {reason}"));
            });
        }
        if let Some(reason) = &started.no_guest {
            self.bar.suspend(|| {
                output::note(format_args!("a QEMU, recorded like any process, by page numbers of our own: {reason}; give --qmp"));
            });
        }
        let what = started.guest.clone().unwrap_or_else(|| format!("process {}", started.pid));
        self.bar.set_message(format!("recording {what}"));
        self.started = Some(started.clone());
    }

    fn epoch(&mut self, progress: &Progress) {
        let seconds = progress.last_epoch.as_secs_f64().max(1e-9);
        let rate = |count: u64| (count as f64 / seconds).round();
        self.bar.set_message(format!(
            "{} events/s, {} lost, {} dirty pages/s, {}",
            rate(progress.events - self.last.events),
            progress.lost,
            rate(progress.dirty_pages),
            units::show_bytes(progress.bytes)
        ));
        self.bar.tick();
        self.last = progress.clone();
    }
}
