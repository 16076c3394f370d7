//! Captures the corpus: starts each guest or process of `captures.toml`, records it, checks both the trace and the guest, and notes
//! in `manifest.toml` what was recorded. `record.sh` builds what this needs and runs it.

#![allow(clippy::print_stdout, reason = "what it prints is for people")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a guest may take until its load runs.
const BOOT_PATIENCE: Duration = Duration::from_secs(180);

#[derive(Deserialize)]
struct Captures {
    capture: Vec<Capture>,
}

/// What to capture.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capture {
    name: String,
    class: String,
    #[serde(default = "minute")]
    seconds: u64,
    #[serde(default = "a_while")]
    settle: u64,
    guest: Option<String>,
    prepare: Option<String>,
    process: Option<String>,
    load: Option<String>,
}

fn minute() -> u64 {
    60
}

fn a_while() -> u64 {
    20
}

/// Everything in `manifest.toml`.
#[derive(Default, Deserialize, Serialize)]
struct Manifest {
    trace: Vec<Entry>,
}

/// What was recorded, and what every later version must find in it.
#[derive(Deserialize, Serialize)]
struct Entry {
    file: String,
    class: String,
    sha256: String,
    bytes: u64,
    started: String,
    seconds: u64,
    machine: String,
    kernel: String,
    hooks: Vec<String>,
    arming: String,
    /// Seconds since 1970.
    recorded: u64,
    memory: u64,
    frames: u64,
    events: u64,
    lost_events: u64,
    dirty_pages: u64,
    changed_pages: u64,
    /// Pages that the seed's rule would have lost.
    lost_by_aging_literal: u64,
    /// How far the guest's self-check counted meanwhile, without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    self_check: Option<u64>,
}

/// Places of everything.
struct Places {
    corpus: PathBuf,
    /// The guest's kernel and file system.
    image: PathBuf,
    pagesieve: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let [pagesieve, image, chosen @ ..] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        bail!("usage: capture PAGESIEVE GUEST-IMAGE [NAME]...");
    };
    let places = Places { corpus, image: fs::canonicalize(image)?, pagesieve: fs::canonicalize(pagesieve)? };
    let text = fs::read_to_string(places.corpus.join("captures.toml"))?;
    let captures: Captures = toml::from_str(&text).context("captures.toml")?;
    if let Some(name) = chosen.iter().find(|name| captures.capture.iter().all(|capture| capture.name != **name)) {
        bail!("there is no capture {name} in captures.toml");
    }
    for capture in captures.capture.iter().filter(|capture| chosen.is_empty() || chosen.contains(&capture.name)) {
        let entry = take(capture, &places).with_context(|| capture.name.clone())?;
        println!("{}: {} events, {} dirty pages, {} bytes", entry.file, entry.events, entry.dirty_pages, entry.bytes);
        note(entry, &captures, &places)?;
    }
    Ok(())
}

/// Puts an entry into the manifest, in the order of the captures.
fn note(entry: Entry, captures: &Captures, places: &Places) -> anyhow::Result<()> {
    let path = places.corpus.join("manifest.toml");
    let mut manifest: Manifest = fs::read_to_string(&path).map_or(Ok(Manifest::default()), |text| toml::from_str(&text))?;
    manifest.trace.retain(|known| known.file != entry.file);
    manifest.trace.push(entry);
    let order = |file: &str| captures.capture.iter().position(|capture| file.strip_suffix(".trace") == Some(&capture.name));
    manifest.trace.sort_by_key(|entry| order(&entry.file));
    manifest.trace.retain(|entry| order(&entry.file).is_some());
    let text = format!("# Written by record.sh.\n\n{}", toml::to_string(&manifest)?);
    Ok(fs::write(path, text)?)
}

/// Captures one trace in a folder of its own, and copies it to the corpus if all is well with it.
fn take(capture: &Capture, places: &Places) -> anyhow::Result<Entry> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let file = format!("{}.trace", capture.name);
    let (running, target) = match (&capture.guest, &capture.process) {
        (Some(options), None) => start_guest(capture, options, folder, places)?,
        (None, Some(process)) => start_process(capture, process, folder)?,
        _ => bail!("a capture has either a guest or a process"),
    };
    sleep(Duration::from_secs(capture.settle));
    let before = capture.guest.as_ref().map(|_| self_check(folder)).transpose()?;
    let mut record = Command::new(&places.pagesieve);
    record.args(["record", "--source", "ebpf", "--fingerprints", "--class", &capture.class, "-o", &file]);
    record.args(["--duration", &format!("{}s", capture.seconds)]).args(&target).current_dir(folder);
    ensure!(record.status()?.success(), "the recording failed");
    let after = capture.guest.as_ref().map(|_| self_check(folder)).transpose()?;
    drop(running);
    let counted = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    ensure!(counted != Some(0), "the guest's self-check stands still");
    let entry = describe(capture, &folder.join(&file), counted, places)?;
    fs::copy(folder.join(&file), places.corpus.join(&file))?;
    Ok(entry)
}

/// Processes that end with this.
struct Running(Vec<Child>, Option<PathBuf>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(file) = &self.1 {
            let _ = fs::remove_file(file);
        }
    }
}

fn start_guest(capture: &Capture, options: &str, folder: &Path, places: &Places) -> anyhow::Result<(Running, Vec<String>)> {
    // Paths relative to the folder: the command line is part of the trace and says nothing about this machine.
    std::os::unix::fs::symlink(&places.image, folder.join("guest"))?;
    let mut start = Command::new(places.corpus.join("../guest/start.sh"));
    start.args(["--class", &capture.class, "--qmp", "qmp", "--console", "console", "--image", "guest"]).args(options.split(' '));
    if options.contains("--disk ") {
        start.args(["--disk-file", "disk"]);
    }
    let shared = options.split_once("--mem-path ").map(|(_, rest)| PathBuf::from(rest.split(' ').next().unwrap_or_default()));
    let mut running = Running(vec![start.current_dir(folder).stdin(Stdio::null()).spawn()?], shared);
    let begin = Instant::now();
    while !console(folder).contains("pagesieve-guest: ready") {
        ensure!(running.0[0].try_wait()?.is_none(), "the guest ended: {}", console(folder));
        ensure!(begin.elapsed() < BOOT_PATIENCE, "the guest does not get ready: {}", console(folder));
        sleep(Duration::from_millis(200));
    }
    Ok((running, vec!["--qmp".to_owned(), "qmp".to_owned()]))
}

fn start_process(capture: &Capture, process: &str, folder: &Path) -> anyhow::Result<(Running, Vec<String>)> {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    if let Some(prepare) = &capture.prepare {
        ensure!(shell(prepare).status()?.success(), "`{prepare}` failed");
    }
    let process = shell(process).spawn()?;
    let pid = process.id().to_string();
    let mut running = Running(vec![process], None);
    if let Some(load) = &capture.load {
        sleep(Duration::from_secs(1));
        running.0.push(shell(load).spawn()?);
    }
    Ok((running, vec!["--pid".to_owned(), pid]))
}

fn console(folder: &Path) -> String {
    fs::read(folder.join("console")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The counter of the guest's self-check, which must not have found an error.
fn self_check(folder: &Path) -> anyhow::Result<u64> {
    let text = console(folder);
    for word in ["ERROR", "FAILED", "Kernel panic", "Call Trace"] {
        ensure!(!text.contains(word), "the guest reports: {text}");
    }
    let last = text.lines().rfind(|line| line.contains("counter=") && line.contains("errors=0"));
    let counter = last.and_then(|line| line.split_once("counter=")?.1.split_whitespace().next()?.parse().ok());
    counter.with_context(|| format!("no self-check in: {text}"))
}

/// Verifies a trace and describes it.
fn describe(capture: &Capture, trace: &Path, self_check: Option<u64>, places: &Places) -> anyhow::Result<Entry> {
    let json = |verb: &[&str]| -> anyhow::Result<Value> {
        let output = Command::new(&places.pagesieve).args(verb).arg("--json").arg(trace).output()?;
        ensure!(
            output.status.success(),
            "{verb:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let (verified, info) = (json(&["verify"])?, json(&["trace", "info"])?);
    ensure!(json(&["trace", "validate"])?["problems"] == Value::Array(Vec::new()), "the trace is not valid");
    ensure!(verified["recall"]["content_in_log"] == 1.0, "the dirty log is not complete: {verified}");
    let count = |value: &Value, name: &str| value[name].as_u64().with_context(|| format!("no {name} in {value}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let bytes = fs::read(trace)?;
    Ok(Entry {
        file: format!("{}.trace", capture.name),
        class: capture.class.clone(),
        sha256: format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(&bytes)),
        bytes: bytes.len() as u64,
        started: capture
            .guest
            .as_ref()
            .map(|options| format!("traces/guest/start.sh --class {} {options}", capture.class))
            .or(capture.process.clone())
            .unwrap_or_default(),
        seconds: capture.seconds,
        machine: format!("{}, {} CPUs", text(&info["machine"]["cpu"]), info["machine"]["cpus"]),
        kernel: text(&info["machine"]["kernel"]),
        hooks: serde_json::from_value(info["hooks"].clone())?,
        arming: text(&info["arming"]),
        recorded: count(&info, "created")?,
        memory: count(&info, "memory")?,
        frames: count(&info, "frames")?,
        events: count(&info, "events")?,
        lost_events: count(&info, "lost_events")?,
        dirty_pages: count(&verified, "dirty_log")?,
        changed_pages: count(&verified, "content_changed")?,
        lost_by_aging_literal: count(&verified["lost_pages"], "aging-literal")?,
        self_check,
    })
}
