//! A line for each reading.

use std::sync::atomic::Ordering;

use pagesieve_core::PAGE_SIZE;
use pagesieve_core::forecast::Rate;
use pagesieve_core::gauge::HotRange;
use pagesieve_recorder::live::Status;
use serde_json::{Value, json};

use super::super::record::stop_on_signal;
use super::link;
use super::model::{Order, Snapshot};
use super::watch::{Next, TICK, Watch};
use crate::cli::Top;
use crate::{output, units};

/// Hot ranges in a line of JSON.
const RANGES: usize = 16;

pub(super) fn run(options: &Top) -> anyhow::Result<()> {
    let stop = stop_on_signal()?;
    let mut watch = Watch::open(options)?;
    if !options.json {
        watch.status().fallbacks().for_each(output::note);
        output::line(header(options))?;
    }
    let mut readings = 0;
    while !stop.load(Ordering::Relaxed) && options.count != Some(readings) {
        match watch.next(TICK) {
            Next::Wait => continue,
            Next::Ended => break,
            Next::Due => {}
        }
        let Some(reading) = watch.close()? else { break };
        let snapshot = watch.snapshot(reading, &link(options, options.bandwidth), 0);
        let seconds = watch.elapsed().as_secs_f64();
        if options.json {
            output::line(document(options, watch.status(), &snapshot, seconds))?;
        } else {
            output::line(line(&snapshot, seconds))?;
        }
        readings += 1;
    }
    if options.count.is_some_and(|count| readings < count) && !stop.load(Ordering::Relaxed) {
        output::note(format_args!("process {} has ended", watch.status().pid));
    }
    Ok(())
}

fn header(options: &Top) -> String {
    format!(
        "{:>9} {:>12} {:>11} {:>11} {:>9} {:>7} {:>8} {:>8}  over {}",
        "time",
        "dirty",
        "working set",
        "resident",
        "events/s",
        "lost",
        "skipped",
        "of data",
        Rate(options.bandwidth)
    )
}

fn line(snapshot: &Snapshot, seconds: f64) -> String {
    let reading = &snapshot.reading;
    let skipped = reading.sync.skip_rate();
    let dirty = format!("{}/s", units::show_bytes(reading.dirty_rate()));
    let written = reading.working_set.last().map_or(0, |set| set.bytes);
    format!(
        "{:>7.1} s {dirty:>12} {:>11} {:>11} {:>9} {:>7} {:>6.1} % {:>6.1} %  {}",
        seconds,
        units::show_bytes(written),
        units::show_bytes(reading.resident_pages * PAGE_SIZE),
        reading.event_rate(),
        reading.lost,
        skipped.total * 100.0,
        skipped.resident * 100.0,
        snapshot.forecast
    )
}

fn document(options: &Top, status: &Status, snapshot: &Snapshot, seconds: f64) -> Value {
    let reading = &snapshot.reading;
    let in_seconds = |nanos: u64| nanos as f64 / 1e9;
    json!({
        "schema": { "name": "pagesieve.top", "version": "1.0" },
        "seconds": seconds,
        "epoch": reading.epoch,
        "epoch_seconds": in_seconds(reading.span.0),
        "complete": reading.complete,
        "observed": {
            "pid": status.pid,
            "guest": status.guest,
            "ebpf_enabled": status.ebpf_enabled,
            "hooks": status.hooks,
            "arming": status.arming,
            "fallback": status.fallbacks().next(),
        },
        "dirty": { "pages": reading.dirty_pages, "bytes_per_second": reading.dirty_rate() },
        "working_set": reading.working_set.iter()
            .map(|set| json!({ "seconds": in_seconds(set.window.0), "bytes": set.bytes }))
            .collect::<Vec<_>>(),
        "memory": { "bytes": reading.pages * PAGE_SIZE, "resident": reading.resident_pages * PAGE_SIZE },
        "events": { "count": reading.events, "per_second": reading.event_rate(), "lost": reading.lost },
        "sync": {
            "policy": "proven",
            "block_size": options.block_size,
            "blocks": reading.sync,
            "skip_rate": reading.sync.skip_rate(),
        },
        "forecast": snapshot.forecast,
        "hot": Order::Hottest.sorted(&snapshot.ranges).iter().take(RANGES).map(range).collect::<Vec<_>>(),
    })
}

/// Guest addresses in bytes; shares from 0 to 1.
fn range(range: &HotRange) -> Value {
    json!({
        "slot": range.slot,
        "start": range.start.0 * PAGE_SIZE,
        "end": range.end.0 * PAGE_SIZE,
        "blocks": range.blocks,
        "epochs": range.epochs,
        "share": f64::from(range.share()) / 1000.0,
        "share_now": f64::from(range.share_now()) / 1000.0,
    })
}
