//! Passes over an image that a process has mapped and changes there.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use pagesieve_benches::noise;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Options;
use crate::image::{BLOCK, Image, chosen};

/// What one pass took.
#[derive(Clone, Copy)]
pub(crate) struct Pass {
    pub(crate) seconds: f64,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// A process that ends with the value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One pass for each round, after a first one. Before each, the process's mapping is written: from outside through its page
/// tables, while it stands still itself, so that exactly these blocks change.
pub(crate) fn measure(options: &Options, pagesieve: &Path, percent: u64, filter: bool) -> anyhow::Result<Vec<Pass>> {
    let image = Image::make(&options.scratch, options.mib, percent, 0)?;
    let path = image.path("new");
    let mut command = Command::new(pagesieve);
    command
        .args(["workload", "--class", "idle", "--seconds", "3600", "--memory", &format!("{}MiB", options.mib), "--file"])
        .arg(&path);
    let writer = Ended(command.stdout(Stdio::null()).spawn().context("start the process")?);
    let pid = writer.0.id();
    let start = mapped(pid, &path.to_string_lossy())?;
    // It fills its memory first.
    std::thread::sleep(std::time::Duration::from_secs(5));
    kill_process(Pid::from_raw(pid as i32).context("a process has a pid")?, Signal::STOP)?;
    let memory = File::options().write(true).open(format!("/proc/{pid}/mem"))?;
    fs::create_dir(image.path("there"))?;
    let mut sync = Command::new(pagesieve);
    sync.args(["sync", "--json", "--every", "5s", "--pid", &pid.to_string()]).args((!filter).then_some("--no-filter"));
    let mut sync = Ended(sync.arg(&path).arg(image.path("there").join("disk")).stdout(Stdio::piped()).spawn()?);
    let mut lines = BufReader::new(sync.0.stdout.take().context("its output")?).lines();
    let mut next = || -> anyhow::Result<Value> { Ok(serde_json::from_str(&lines.next().context("a pass")??)?) };
    next()?;
    let mut passes = Vec::new();
    for round in 0..options.rounds as u64 {
        for block in chosen(image.bytes, percent, round) {
            memory.write_all_at(&noise(block + 7 + round * 1_000_003, BLOCK as usize), start + block * BLOCK)?;
        }
        let pass = next()?;
        let figure = |name: &str| pass.pointer(name).and_then(Value::as_u64).with_context(|| format!("no {name} in {pass}"));
        ensure!(figure("/blocks/sent")? == chosen(image.bytes, percent, round).count() as u64, "{pass}");
        let read = image.bytes - figure("/filter/bytes_skipped")?;
        let seconds = pass["seconds"].as_f64().context("a time")?;
        passes.push(Pass { seconds, read, written: figure("/bytes_written")? });
    }
    image.check()?;
    Ok(passes)
}

/// Where a process has mapped a file, once it has.
fn mapped(pid: u32, path: &str) -> anyhow::Result<u64> {
    for _ in 0..100 {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        if let Some(line) = maps.lines().find(|line| line.ends_with(path)) {
            return Ok(u64::from_str_radix(line.split('-').next().unwrap_or_default(), 16)?);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    anyhow::bail!("the process has not mapped {path}")
}
