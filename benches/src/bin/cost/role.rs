//! What runs in a process of its own, so that its CPU time and memory can be told from those of the others. Each role prints JSON
//! lines; one that runs until it is told ends when its standard input does.

use std::hint::black_box;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Subcommand;
use pagesieve_ebpf::abi::Slot;
use pagesieve_ebpf::{RunStats, Tracker, TrackerConfig};
use pagesieve_recorder::{CommandOutput, Listener, Options, Progress, SourceChoice, Started, TargetSpec, record};
use serde_json::json;

use crate::procfs;

const PAGE: usize = 4096;
/// As the recorder does it.
const DRAIN: Duration = Duration::from_millis(20);
/// Large enough that the allocator maps it anew each time and gives it back.
const FRESH_BYTES: usize = 48 << 20;

/// Parts that the program plays in processes of its own; not for users.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Role {
    /// Rewrites one byte of every page, pass after pass.
    #[command(hide = true)]
    Worker {
        /// Memory
        #[arg(long)]
        mib: usize,
        /// Pause between passes
        #[arg(long)]
        pause_ms: u64,
    },
    /// Takes events of a process without arming its memory.
    #[command(hide = true)]
    Events {
        /// The process
        #[arg(long)]
        pid: u32,
    },
    /// Records a process.
    #[command(hide = true)]
    Recorder {
        /// The process
        #[arg(long)]
        pid: u32,
        /// Length of an epoch
        #[arg(long)]
        epoch_ms: u64,
        /// The dirty log alone
        #[arg(long)]
        no_events: bool,
        /// Compare contents
        #[arg(long)]
        fingerprints: bool,
    },
    /// Touches fresh memory, on nobody's list.
    #[command(hide = true)]
    Faults {
        /// How long
        #[arg(long)]
        ms: u64,
    },
    /// Makes system calls, on nobody's list.
    #[command(hide = true)]
    Calls {
        /// How long
        #[arg(long)]
        ms: u64,
    },
    /// What the kernel's account says of one event.
    #[command(hide = true)]
    Account {
        /// Process to watch: 0 is this one, whose faults are then events
        #[arg(long)]
        pid: u32,
    },
}

pub(crate) fn play(role: &Role) -> anyhow::Result<()> {
    match *role {
        Role::Worker { mib, pause_ms } => work(mib, Duration::from_millis(pause_ms)),
        Role::Events { pid } => take_events(pid),
        Role::Recorder { pid, epoch_ms, no_events, fingerprints } => {
            keep_recording(pid, Duration::from_millis(epoch_ms), no_events, fingerprints)
        }
        Role::Faults { ms } => bystander(Duration::from_millis(ms), fresh_faults),
        Role::Calls { ms } => bystander(Duration::from_millis(ms), plain_calls),
        Role::Account { pid } => account(pid),
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// A flag that is set when standard input ends: the parent wants us to stop, or has died.
fn until_told() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::SeqCst);
    });
    stop
}

fn work(mib: usize, pause: Duration) -> anyhow::Result<()> {
    let stop = until_told();
    let mut memory = vec![1_u8; mib << 20];
    let (mut writes, mut cpu, mut told) = (0_u64, 0, Instant::now());
    say("ready")?;
    while !stop.load(Ordering::SeqCst) {
        let before = procfs::own_cpu_nanos();
        for page in memory.chunks_mut(PAGE) {
            page[0] = page[0].wrapping_add(1);
        }
        black_box(&mut memory);
        cpu += procfs::own_cpu_nanos() - before;
        writes += (memory.len() / PAGE) as u64;
        if told.elapsed() >= Duration::from_millis(100) || !pause.is_zero() {
            told = Instant::now();
            say(&format!("writes={writes} cpu={cpu}"))?;
        }
        std::thread::sleep(pause);
    }
    Ok(())
}

fn take_events(pid: u32) -> anyhow::Result<()> {
    let stop = until_told();
    let mut tracker = attach(pid)?;
    let mut next = 0;
    let slots = procfs::large_mappings(pid).into_iter().take(pagesieve_ebpf::abi::MAX_SLOTS as usize).map(|(start, end)| {
        let base = next;
        next += (end - start) / PAGE as u64;
        Slot { start, end, base }
    });
    tracker.set_slots(&slots.collect::<Vec<_>>()).map_err(|error| anyhow!(error))?;
    say(&json!({ "ready": true, "hooks": tracker.hooks().iter().map(pagesieve_ebpf::Hook::name).collect::<Vec<_>>() })
        .to_string())?;
    let mut events = 0;
    while !stop.load(Ordering::SeqCst) {
        std::thread::sleep(DRAIN);
        events += tracker.drain(|event| _ = black_box(event)) as u64;
        tracker.drain_control(|_| ());
        say(&json!({ "events": events, "lost": lost(&tracker), "pages": next, "dirty": 0 }).to_string())?;
    }
    Ok(())
}

fn attach(pid: u32) -> anyhow::Result<Tracker> {
    Tracker::attach(&TrackerConfig { pid, ..TrackerConfig::default() }).map_err(|error| anyhow!("failed to {error}"))
}

fn lost(tracker: &Tracker) -> u64 {
    tracker.counters().iter().map(|counters| counters.lost).sum()
}

/// Tells how far a recording is.
struct Teller {
    dirty: u64,
}

impl Listener for Teller {
    fn started(&mut self, started: &Started) {
        let _ =
            say(&json!({ "ready": true, "hooks": started.hooks, "arming": started.arming, "guest": started.guest }).to_string());
    }

    fn epoch(&mut self, progress: &Progress) {
        self.dirty += progress.dirty_pages;
        let Progress { events, lost, pages, epochs, .. } = *progress;
        let _ =
            say(&json!({ "events": events, "lost": lost, "pages": pages, "dirty": self.dirty, "epochs": epochs }).to_string());
    }
}

fn keep_recording(pid: u32, epoch: Duration, no_events: bool, fingerprints: bool) -> anyhow::Result<()> {
    let stop = until_told();
    let folder = tempfile::tempdir()?;
    let source = if no_events { SourceChoice::PagemapScan } else { SourceChoice::Ebpf };
    let output = folder.path().join("cost.trace");
    let options = Options { source, epoch, fingerprints, output, command_output: CommandOutput::Discard, ..Options::default() };
    record(&TargetSpec::Pid(pid), &options, &stop, &mut Teller { dirty: 0 }).context("failed to record")?;
    Ok(())
}

/// Works for a while and says how much was done in how much CPU time.
fn bystander(length: Duration, work: fn() -> u64) -> anyhow::Result<()> {
    let (started, before) = (Instant::now(), procfs::own_cpu_nanos());
    let mut count = 0;
    while started.elapsed() < length {
        count += work();
    }
    say(&json!({ "count": count, "cpu": procfs::own_cpu_nanos() - before }).to_string())
}

fn fresh_faults() -> u64 {
    let mut memory = vec![0_u8; FRESH_BYTES];
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    black_box(&mut memory);
    (FRESH_BYTES / PAGE) as u64
}

fn plain_calls() -> u64 {
    const CALLS: u64 = 10_000;
    (0..CALLS).for_each(|_| _ = black_box(rustix::process::getppid()));
    CALLS
}

fn account(pid: u32) -> anyhow::Result<()> {
    let own = pid == 0;
    let mut tracker = attach(if own { std::process::id() } else { pid })?;
    let mut memory = vec![0_u8; FRESH_BYTES];
    let start = memory.as_ptr() as u64 & !(PAGE as u64 - 1);
    let end = start + (FRESH_BYTES + PAGE) as u64;
    tracker.set_slots(&[Slot { start, end, base: 0 }]).map_err(|error| anyhow!(error))?;
    let stats = RunStats::enable().map_err(|error| anyhow!("failed to switch the kernel's accounting on: {error}"))?;
    let before = stats.of(&tracker);
    memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
    black_box(&mut memory);
    let after = stats.of(&tracker);
    let ran = before.iter().zip(&after).map(|(old, new)| (new.runs - old.runs, (new.time - old.time).as_nanos()));
    let (runs, nanos) = ran.max().context("no program ran")?;
    let clock = Instant::now();
    let events = tracker.drain(|event| _ = black_box(event));
    let drained = clock.elapsed().as_nanos();
    let faults = FRESH_BYTES / PAGE;
    anyhow::ensure!(lost(&tracker) == 0, "events were lost: the figure is void");
    // The allocator has touched the first page itself.
    anyhow::ensure!(!own || events + 1 >= faults, "{events} events of {faults} faults: the figure is void");
    let each = |total: u128, count: u128| total as f64 / count.max(1) as f64;
    say(&json!({ "run": each(nanos, runs.into()), "drain": each(drained, events as u128) }).to_string())
}
