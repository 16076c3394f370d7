//! `pagesieve sync`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use pagesieve_core::Nanos;
use pagesieve_live::sync::{Leases, Machine, Replica, SyncConfig, SyncListener, SyncStats};
use pagesieve_live::transport::Address;
use pagesieve_live::wire::Name;

use super::filter::{FileFilter, Tracked};
use super::machine::{self, LiveMemory};
use super::network;
use super::record::stop_on_signal;
use crate::cli::Sync;
use crate::{output, units};

/// How often Ctrl-C is looked for, and what the filter has to say taken in.
const TICK: Duration = Duration::from_millis(50);

pub(crate) fn run(options: &Sync) -> anyhow::Result<()> {
    let there = network::address(&options.destination)?;
    if there.is_some() && (options.in_place || options.journal.is_some()) {
        bail!("sync to another machine: --in-place and --journal are for destinations on this one; leave them out");
    }
    let (mut replica, tracked) = open(options)?;
    let Some(every) = options.every else {
        let done = pass(options, &mut replica, there.as_ref(), tracked.as_ref())?;
        return if options.json { output::json(&done) } else { output::line(text(options, &done)) };
    };
    let (take, holds, give_back) =
        (pagesieve_recorder::take_lease, pagesieve_recorder::holds_lease, pagesieve_recorder::give_lease_back);
    replica.trust_destination(Leases { take, holds, give_back });
    let stop = stop_on_signal()?;
    let mut due = Instant::now();
    for number in 1.. {
        let done = pass(options, &mut replica, there.as_ref(), tracked.as_ref())?;
        if options.json {
            output::line(serde_json::to_string(&done)?)?
        } else {
            output::line(text(options, &done))?
        }
        due = (due + every).max(Instant::now());
        if options.times == Some(number) || !wait(due, &stop, tracked.as_ref()) {
            break;
        }
    }
    Ok(())
}

fn config(options: &Sync) -> SyncConfig {
    SyncConfig {
        block_size: options.block_size,
        hash_workers: usize::from(options.hash_workers),
        in_place: options.in_place,
        journal: options.journal.clone(),
        verify: options.verify,
        downtime_limit: Nanos::from(options.downtime_limit),
        force: options.force,
        attempts: options.attempts,
        retry_delay: Nanos::from(options.retry_delay),
    }
}

/// The source, and what tracks it if it is a file.
fn open(options: &Sync) -> anyhow::Result<(Replica, Option<Tracked>)> {
    let config = config(options);
    let Some(spec) = machine::named(&options.source) else {
        let tracked = filter(options)?;
        return Ok((Replica::open(&options.source, &config, tracked.as_ref().map(FileFilter::boxed))?, tracked));
    };
    if options.pid.is_some() || options.qmp.is_some() || options.no_filter {
        bail!("sync memory: --pid, --qmp and --no-filter are for files; the source itself names the process; leave them out");
    }
    if options.verify {
        bail!("sync memory: --verify reads the source once more, and memory has changed by then; leave it out");
    }
    let memory = LiveMemory::open(&spec, options.require_ebpf)?;
    if let Some(reason) = memory.fallback() {
        output::note(reason);
    }
    Ok((Replica::of_machine(Box::new(memory), &config), None))
}

/// The page filter, if a process was named whose writes can be tracked.
fn filter(options: &Sync) -> anyhow::Result<Option<Tracked>> {
    if options.no_filter || (options.pid.is_none() && options.qmp.is_none()) {
        if options.require_ebpf {
            bail!(
                "sync with the kernel program: there is no filter without the process that maps the file; give --pid or --qmp, or leave --require-ebpf out"
            );
        }
        return Ok(None);
    }
    let tracked = Tracked::open(options)?;
    for reason in tracked.fallbacks() {
        output::note(reason);
    }
    Ok(Some(tracked))
}

/// Waits until it is time for the next pass. False if there will be none.
fn wait(due: Instant, stop: &AtomicBool, tracked: Option<&Tracked>) -> bool {
    while !stop.load(Ordering::Relaxed) {
        if let Some(tracked) = tracked {
            tracked.drain();
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(TICK));
    }
    false
}

fn pass(options: &Sync, replica: &mut Replica, there: Option<&Address>, tracked: Option<&Tracked>) -> anyhow::Result<SyncStats> {
    let mut bar = Bar::new(tracked.cloned());
    let runtime = network::runtime()?;
    let done = runtime.block_on(async {
        let Some(there) = there else {
            return anyhow::Ok(replica.pass(&options.destination, &mut bar).await?);
        };
        let name = name(options, there)?;
        let connector = network::connector(there, &options.security, options.bandwidth_limit)?;
        let session = connector.connect(&there.host, there.port, options.streams).await?;
        Ok(replica.pass_remote(name, session, &mut bar).await?)
    });
    bar.bar.finish_and_clear();
    done
}

/// What the source is called at the destination.
fn name(options: &Sync, there: &Address) -> anyhow::Result<Name> {
    if let Some(name) = &there.name {
        return Ok(name.clone());
    }
    if machine::named(&options.source).is_some() {
        bail!("name the memory at the destination: write HOST:PORT/NAME");
    }
    let name = options.source.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Name::new(name.clone())
        .with_context(|| format!("name the file at the destination, where {name:?} cannot be used: write HOST:PORT/NAME"))
}

fn text(options: &Sync, done: &SyncStats) -> String {
    let skipped = done.blocks.skipped;
    let mut lines = vec![
        format!(
            "{}: {} of {} blocks written ({} of {}) in {:.2} s",
            options.destination.display(),
            done.blocks.sent,
            done.blocks.total,
            units::show_bytes(done.bytes_written),
            units::show_bytes(done.bytes),
            done.seconds
        ),
        format!(
            "  skipped   {} same content, {} zero, {} holes, {} unchanged; {} before they were read",
            skipped.same_content, skipped.zero, skipped.unpopulated, skipped.unchanged, done.filter.blocks_skipped
        ),
    ];
    if let Some(wire) = done.bytes_wire {
        lines.push(format!("  wire      {}", units::show_bytes(wire)));
    }
    if let Some(paused) = done.paused_seconds {
        lines.push(format!("  paused    for {:.0} ms", paused * 1000.0));
    }
    if done.rolled_back {
        lines.push("  journal   the changes of a sync that was cut off were taken back first".to_owned());
    }
    if done.blocks_resumed > 0 {
        lines.push(format!("  resumed   {} blocks were there from a sync that was cut off", done.blocks_resumed));
    }
    if let Some(reason) = done.filter_reason.as_ref().filter(|_| options.pid.is_some() || options.qmp.is_some()) {
        lines.push(format!("  filter    everything was compared: {reason}"));
    }
    if let Some(digest) = &done.digest {
        lines.push(format!("  verified  BLAKE3 {digest}"));
    }
    lines.join("\n")
}

/// How far the sync is, on a terminal.
struct Bar {
    bar: ProgressBar,
    tracked: Option<Tracked>,
    drained: Instant,
}

impl Bar {
    fn new(tracked: Option<Tracked>) -> Self {
        let bar = output::bar(0, "{bar:40} {pos}/{len} blocks, {per_sec}, {eta} left");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, tracked, drained: Instant::now() }
    }
}

impl SyncListener for Bar {
    fn blocks(&mut self, done: u64, all: u64) {
        self.bar.set_length(all);
        self.bar.set_position(done);
        if let Some(tracked) = self.tracked.as_ref().filter(|_| self.drained.elapsed() > TICK) {
            tracked.drain();
            self.drained = Instant::now();
        }
    }
}
