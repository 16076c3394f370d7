//! A guest goes back and forth between two places, each of which keeps what it had there.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use pagesieve_benches::{Spread, command};
use serde_json::{Value, json};

use crate::vm::{Load, Ram, Stage, Vm};
use crate::way::Mover;
use crate::{Options, PATIENCE, QUIET, Walk, ticks, wire};

/// Reasons to skip a block, as pagesieve names them.
const REASONS: [&str; 4] = ["unchanged", "same_content", "zero", "unpopulated"];

/// One move.
struct Trip {
    /// What pagesieve reports.
    report: Value,
    wire: u64,
    downtime: Duration,
}

impl Trip {
    fn blocks(&self, what: &str) -> u64 {
        self.report["blocks"][what].as_u64().unwrap_or(0)
    }

    fn skipped(&self, reason: &str) -> u64 {
        self.report["blocks"]["skipped"][reason].as_u64().unwrap_or(0)
    }
}

/// Moves a guest of each load so many times, and writes the figures down.
pub(crate) fn measure(options: &Options, pagesieve: &Path, loads: &[&Load], count: usize) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for load in loads {
        all.push((**load, trips(options, pagesieve, **load, count)?));
        std::fs::write(options.out.join("there-and-back.md"), markdown(&all))?;
        std::fs::write(options.out.join("there-and-back.json"), format!("{:#}\n", json(&all)))?;
    }
    Ok(())
}

fn trips(options: &Options, pagesieve: &Path, load: Load, count: usize) -> anyhow::Result<Vec<Trip>> {
    let folder = tempfile::tempdir()?;
    let patience = Duration::from_secs(options.patience);
    let mover = Mover { pagesieve, folder: folder.path(), limit: None, patience };
    let mut walk = Walk::new(Stage { options, folder: folder.path(), load })?;
    let (mut trips, mut left) = (Vec::new(), Ram::new(1));
    for number in 1..=count {
        let there = Vm::start(&walk.stage, number, left, true)?;
        std::thread::sleep(QUIET);
        let before = wire::bytes()?;
        let moved = mover.ours(&walk.here, &there)?;
        there.await_tick(moved.began, PATIENCE)?;
        let wire = wire::bytes()? - before;
        let pulse = ticks::pulse(moved.began, &walk.here.ticks.since(moved.began), &there.ticks.since(moved.began))?;
        left = walk.arrive(there, moved.began)?;
        let trip = Trip { report: moved.report, wire, downtime: pulse.downtime };
        eprintln!("{}, move {number}, {} MiB on the wire, {}", load.name, trip.wire >> 20, trip.report["blocks"]);
        trips.push(trip);
    }
    Ok(trips)
}

fn markdown(all: &[(Load, Vec<Trip>)]) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_all(&mut text, all);
    text
}

fn write_all(text: &mut String, all: &[(Load, Vec<Trip>)]) -> std::fmt::Result {
    let machine = pagesieve_recorder::machine();
    writeln!(text, "# Back and forth\n")?;
    writeln!(
        text,
        "{}, {} CPUs, Linux {}. A guest moves again and again between two places, each of which keeps the memory that the guest had \
         there when it left. Its self-check found no error in any of the moves. Made by:\n\n```\n{}\n```\n\nBlocks of 64 KiB, in all \
         rounds together. *Sent* counts a block that was sent twice twice. *Same content*: the place held the block already.",
        machine.cpu,
        machine.cpus,
        machine.kernel,
        command("migrate")
    )?;
    for (load, trips) in all {
        writeln!(
            text,
            "\n## {}\n\n| move | sent | unchanged | same content | zero | unpopulated | wire, MiB | downtime, ms |",
            load.name
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|")?;
        for (number, trip) in trips.iter().enumerate() {
            let skipped = REASONS.map(|reason| trip.skipped(reason).to_string()).join(" | ");
            let (wire, downtime) = (trip.wire as f64 / 1048576.0, trip.downtime.as_millis());
            writeln!(text, "| {} | {} | {skipped} | {wire:.1} | {downtime} |", number + 1, trip.blocks("sent"))?;
        }
        let later = Spread::of(trips.iter().skip(1).map(|trip| trip.wire as f64 / 1048576.0));
        let first = trips.first().map_or(0.0, |trip| trip.wire as f64 / 1048576.0);
        writeln!(
            text,
            "\nInto empty memory {first:.1} MiB; later {:.1} MiB ({:.1} … {:.1}).",
            later.median, later.least, later.most
        )?;
    }
    Ok(())
}

fn json(all: &[(Load, Vec<Trip>)]) -> Value {
    let machine = pagesieve_recorder::machine();
    let trip = |trip: &Trip| {
        json!({
            "wire_bytes": trip.wire,
            "downtime_ms": trip.downtime.as_secs_f64() * 1000.0,
            "blocks": trip.report["blocks"],
            "held_blocks": trip.report["held_blocks"],
        })
    };
    json!({
        "schema": { "name": "pagesieve.there-and-back", "version": "1.0" },
        "command": command("migrate"),
        "machine": { "cpu": machine.cpu, "cpus": machine.cpus, "memory": machine.memory, "kernel": machine.kernel },
        "loads": all.iter().map(|(load, trips)| json!({
            "load": load.name,
            "moves": trips.iter().map(trip).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
