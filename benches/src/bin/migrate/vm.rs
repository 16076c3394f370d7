//! The QEMUs of the comparison.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pagesieve_benches::child::Lines;
use serde_json::json;

use crate::Options;
use crate::qmp::Qmp;
use crate::ticks::Ticks;

/// QEMU 7.2 loses pages when it migrates emulated guests whose RAM is a multiple of 256 KiB.
pub(crate) const MEMORY: &str = "524296K";
/// Milliseconds between two ticks of the guest.
pub(crate) const TICK_MS: u64 = 5;

/// A load of the guest: a class of traces/guest, and pages that its self-check rewrites per second in how many MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) class: &'static str,
    pub(crate) check: Option<(u64, u64)>,
}

/// Where guests are moved.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) options: &'a Options,
    /// For sockets.
    pub(crate) folder: &'a Path,
    pub(crate) load: Load,
}

/// A QEMU. It and its RAM go away with the value.
pub(crate) struct Vm {
    /// The guest's console.
    pub(crate) console: Lines,
    pub(crate) qmp: Qmp,
    pub(crate) ticks: Ticks,
    /// The monitor that is left to pagesieve.
    pub(crate) socket: PathBuf,
    pub(crate) ram: Ram,
}

/// The file that is a guest's RAM.
pub(crate) struct Ram(PathBuf);

impl Ram {
    /// A file of its own for each number; QEMU makes it.
    pub(crate) fn new(number: usize) -> Self {
        Self(PathBuf::from(format!("/dev/shm/pagesieve-migrate-{}-{number}.ram", std::process::id())))
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Vm {
    /// Starts a QEMU with the guest, or one that waits for it. Its sockets are those of the stage with this number.
    pub(crate) fn start(stage: &Stage<'_>, number: usize, ram: Ram, waits: bool) -> anyhow::Result<Self> {
        let Stage { options, folder, load } = *stage;
        let socket = |name: &str| folder.join(format!("{number}-{name}"));
        let server = |name: &str| format!("unix:{},server=on,wait=off", socket(name).display());
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/guest/start.sh"));
        command.args(["--class", load.class, "--memory", MEMORY, "--backend", "shm", "--mem-path"]).arg(&ram.0);
        command.arg("--qmp").arg(socket("qmp")).args(["--append", &format!("pagesieve.tick_ms={TICK_MS}")]);
        if let Some((rate, mib)) = load.check {
            command.args(["--check-rate", &rate.to_string(), "--check-mib", &mib.to_string()]);
        }
        if let Some(image) = &options.image {
            command.arg("--image").arg(image);
        }
        command.args(["--", "-serial", &server("ticks"), "-qmp", &server("own")]);
        if waits {
            command.args(["-incoming", "defer"]);
        }
        let mut console = Lines::spawn(&mut command)?;
        let qmp = Qmp::connect(&socket("own"))?;
        let ticks = Ticks::listen(&socket("ticks"))?;
        if !waits {
            let ready = console.await_line("pagesieve-guest: ready", Duration::from_secs(300));
            ready.context("the guest does not come up")?;
        }
        Ok(Self { console, qmp, ticks, socket: socket("qmp"), ram })
    }

    /// Waits for the first sign of life.
    pub(crate) fn await_tick(&self, from: Instant, patience: Duration) -> anyhow::Result<()> {
        while self.ticks.since(from).is_empty() {
            if from.elapsed() > patience {
                bail!("the guest gives no sign of life: {}", self.console.state());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Pages a second that the self-check has rewritten lately, and that it has found no error.
    pub(crate) fn self_check(&self, from: Instant) -> anyhow::Result<f64> {
        for word in ["ERROR", "FAILED", "Kernel panic", "Call Trace"] {
            if self.console.said(word) {
                bail!("the guest is damaged: it said {word}");
            }
        }
        let counts = self.console.counts("writes", from, Instant::now());
        let (Some(first), Some(last)) = (counts.first(), counts.last()) else {
            bail!("the self-check is silent: {}", self.console.state());
        };
        Ok(last.1.saturating_sub(first.1) as f64 / (last.0 - first.0).as_secs_f64().max(1e-9))
    }

    /// Ends a QEMU that has nothing to do any more, and returns the RAM that it leaves.
    pub(crate) fn quit(mut self) -> Ram {
        // It ends without an answer as soon as it can; if it does not, it is ended with the value.
        let _ = self.qmp.execute("quit", json!({}));
        self.ram
    }
}
