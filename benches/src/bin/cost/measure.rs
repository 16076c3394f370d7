//! The measurements: windows on a target, one mode after the other, again and again.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use pagesieve_benches::child::Lines;

use crate::procfs;

/// How the target is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Not at all.
    None,
    /// Events of all its large mappings, nothing armed.
    Events,
    /// A recording with epochs of this length; its memory is armed at the end of each.
    Armed { epoch_ms: u64 },
    /// The same without events.
    LogOnly { epoch_ms: u64 },
    /// A recording that compares contents.
    Fingerprints,
}

impl Mode {
    pub(crate) fn name(self) -> String {
        match self {
            Mode::None => "not observed".to_owned(),
            Mode::Events => "events, not armed".to_owned(),
            Mode::Armed { epoch_ms } => format!("events, armed every {} s", epoch_ms as f64 / 1000.0),
            Mode::LogOnly { epoch_ms } => format!("no events, armed every {} s", epoch_ms as f64 / 1000.0),
            Mode::Fingerprints => "events, armed every 1 s, contents compared".to_owned(),
        }
    }

    /// Starts what observes the process, and waits until it does.
    fn start(self, pid: u32) -> anyhow::Result<Option<Lines>> {
        let pid = pid.to_string();
        let mut arguments = vec!["recorder", "--pid", &pid, "--epoch-ms"];
        let text;
        match self {
            Mode::None => return Ok(None),
            Mode::Events => arguments = vec!["events", "--pid", &pid],
            Mode::Armed { epoch_ms } | Mode::LogOnly { epoch_ms } => {
                text = epoch_ms.to_string();
                arguments.push(&text);
            }
            Mode::Fingerprints => arguments.extend(["1000", "--fingerprints"]),
        }
        if matches!(self, Mode::LogOnly { .. }) {
            arguments.push("--no-events");
        }
        let mut observer = Lines::role(&arguments)?;
        observer.await_line("\"ready\"", Duration::from_secs(60))?;
        Ok(Some(observer))
    }
}

/// What one window showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    /// Work of the target per second, and per second of its CPU time.
    pub(crate) work: f64,
    pub(crate) work_per_cpu: f64,
    /// CPU time of the observer in nanoseconds a second.
    pub(crate) observer_cpu: f64,
    /// What the observer took in, per second.
    pub(crate) events: f64,
    pub(crate) dirty: f64,
    pub(crate) lost: u64,
    pub(crate) pages: u64,
    pub(crate) private_bytes: u64,
    pub(crate) map_bytes: u64,
    /// What others did in a second of their own CPU time.
    pub(crate) faults: f64,
    pub(crate) calls: f64,
    /// Kernel programs that others had attached, if nothing of ours was.
    pub(crate) foreign: u64,
    /// CPU nanoseconds of each page that a worker writes.
    pub(crate) pass_cpu: f64,
}

/// What is measured on.
pub(crate) struct Target {
    pub(crate) lines: Lines,
    pub(crate) name: String,
}

impl Target {
    /// The guest of a class, with its self-check as fast as it can.
    pub(crate) fn guest(start: &Path, image: Option<&Path>, class: &str, rate: u64) -> anyhow::Result<Self> {
        let mut command = Command::new(start);
        command.args(["--class", class, "--check-rate", &rate.to_string(), "--backend", "memfd"]);
        if let Some(image) = image {
            command.arg("--image").arg(image);
        }
        let mut lines = Lines::spawn(&mut command)?;
        lines.await_line("pagesieve-guest: ready", Duration::from_secs(300)).context("the guest does not come up")?;
        Ok(Self { lines, name: class.to_owned() })
    }

    /// A process of our own that rewrites every page of its memory, with a pause between passes.
    pub(crate) fn worker(mib: u64, pause_ms: u64) -> anyhow::Result<Self> {
        let mut lines = Lines::role(&["worker", "--mib", &mib.to_string(), "--pause-ms", &pause_ms.to_string()])?;
        lines.await_line("ready", Duration::from_secs(60))?;
        Ok(Self { lines, name: format!("process of {mib} MiB") })
    }

    /// Observes in a mode, lets it settle, and measures for a while.
    pub(crate) fn window(&self, mode: Mode, settle: Duration, length: Duration, others: bool) -> anyhow::Result<Window> {
        let pid = self.lines.pid();
        let observer = mode.start(pid)?;
        std::thread::sleep(settle);
        let observer_cpu = || observer.as_ref().map_or(0, |observer| procfs::cpu_nanos(observer.pid()));
        let (from, cpu, own) = (Instant::now(), procfs::cpu_nanos(pid), observer_cpu());
        std::thread::sleep(length);
        let (to, cpu, own) = (Instant::now(), procfs::cpu_nanos(pid) - cpu, observer_cpu() - own);
        let seconds = (to - from).as_secs_f64();
        let mut window = Window { seconds, observer_cpu: own as f64 / seconds, ..Window::default() };
        window.work = rate(&self.lines.counts("writes", from, to))
            .with_context(|| format!("the target counted nothing: {}", self.lines.state()))?;
        window.work_per_cpu = window.work * seconds * 1e9 / cpu.max(1) as f64;
        if let (Some(passes), Some(cpu)) =
            (growth(&self.lines.counts("writes", from, to)), growth(&self.lines.counts("cpu", from, to)))
        {
            window.pass_cpu = cpu as f64 / passes as f64;
        }
        if let Some(observer) = &observer {
            window.take(observer, from, to)?;
        }
        if mode == Mode::None {
            window.foreign = procfs::attached_programs();
        }
        if others {
            window.faults = bystander("faults")?;
            window.calls = bystander("calls")?;
        }
        if let Some(observer) = observer {
            observer.finish()?;
        }
        if self.lines.said("ERROR") || self.lines.said("FAILED") {
            bail!("the guest found an error in its own memory");
        }
        Ok(window)
    }
}

impl Window {
    fn take(&mut self, observer: &Lines, from: Instant, to: Instant) -> anyhow::Result<()> {
        // An epoch's figures come when it is closed, so the time runs from one closing to another.
        let (end_time, end) = observer.last_json("events", to).context("no epoch was closed: make the window longer")?;
        let begin = observer.last_json("events", from).or_else(|| observer.last_json("ready", to));
        let (begin_time, begin) = begin.context("the observer did not start")?;
        let seconds = (end_time - begin_time).as_secs_f64().max(1e-9);
        let field = |value: &Value, name: &str| value[name].as_u64().unwrap_or(0);
        let grown = |name: &str| field(&end, name) - field(&begin, name);
        (self.events, self.dirty) = (grown("events") as f64 / seconds, grown("dirty") as f64 / seconds);
        (self.lost, self.pages) = (grown("lost"), field(&end, "pages"));
        self.private_bytes = procfs::private_bytes(observer.pid());
        self.map_bytes = procfs::map_bytes(observer.pid());
        Ok(())
    }
}

fn growth(counts: &[(Instant, u64)]) -> Option<u64> {
    let (first, last) = (counts.first()?, counts.last()?);
    last.1.checked_sub(first.1).filter(|grown| *grown > 0)
}

fn rate(counts: &[(Instant, u64)]) -> Option<f64> {
    let seconds = (counts.last()?.0 - counts.first()?.0).as_secs_f64();
    growth(counts).map(|grown| grown as f64 / seconds.max(1e-9))
}

/// What a process does in a second of its CPU time while others are observed.
fn bystander(what: &str) -> anyhow::Result<f64> {
    let child = Lines::role(&[what, "--ms", "700"])?;
    let done = once(child, "count")?;
    Ok(done["count"].as_f64().unwrap_or(0.0) * 1e9 / done["cpu"].as_f64().unwrap_or(1.0).max(1.0))
}

fn once(mut child: Lines, field: &str) -> anyhow::Result<Value> {
    let line = child.await_line(field, Duration::from_secs(60))?;
    child.finish()?;
    Ok(serde_json::from_str(&line)?)
}

/// Nanoseconds of a run of the program by the kernel's account, and of draining an event; on faults of the target or of others.
pub(crate) fn account(of_target: bool) -> anyhow::Result<(f64, f64)> {
    let child = Lines::role(&["account", "--pid", if of_target { "0" } else { "1" }])?;
    let found = once(child, "run")?;
    Ok((found["run"].as_f64().unwrap_or(0.0), found["drain"].as_f64().unwrap_or(0.0)))
}
