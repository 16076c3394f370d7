//! A running guest is moved by pagesieve and by QEMU itself, again and again: the same guest, in turns, on one machine.
//!
//! `cargo run --release -p pagesieve-benches --bin migrate -- --help`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "progress is told on standard error")]

mod qmp;
mod report;
mod there_and_back;
mod ticks;
mod vm;
mod way;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;

use crate::ticks::Pulse;
use crate::vm::{Load, Ram, Stage, Vm};
use crate::way::{Mover, Way};

/// Compares pagesieve with QEMU's own migration, as root. Writes migrate.md and migrate.json, or there-and-back.md and .json.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Loads of the guest: idle, mixed, rewriting
    #[arg(long, value_delimiter = ',', default_value = "idle,mixed,rewriting")]
    loads: Vec<String>,
    /// Limits of the wire in MiB a second; 0 is none
    #[arg(long, value_delimiter = ',', default_value = "32,0")]
    limits: Vec<u64>,
    /// Times that every way has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds after which a move that does not end is cancelled
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Instead of comparing, move the guest by pagesieve so many times between two places that keep what it had there
    #[arg(long, value_name = "MOVES")]
    there_and_back: Option<usize>,
    /// Where the guest's image is, if not in the target directory
    #[arg(long)]
    image: Option<PathBuf>,
    /// The command, if it does not lie beside this program
    #[arg(long)]
    pagesieve: Option<PathBuf>,
    /// Folder for the results
    #[arg(long, default_value = "reports/published")]
    out: PathBuf,
}

const LOADS: [Load; 3] = [
    Load { name: "idle", class: "idle", check: None },
    Load { name: "mixed", class: "mixed", check: None },
    Load { name: "rewriting", class: "idle", check: Some((4000, 64)) },
];
/// What the guest does without being moved is seen in this time, before each move.
const QUIET: Duration = Duration::from_secs(3);
/// For the first sign of life at the destination.
const PATIENCE: Duration = Duration::from_secs(30);

/// One move.
#[derive(Clone, Copy, Debug)]
struct Move {
    way: Way,
    /// Bytes that went over the wire, in both directions, with all headers.
    wire: u64,
    /// `None` if it was cancelled.
    pulse: Option<Pulse>,
    /// The downtime that the mover tells, in milliseconds.
    told_ms: f64,
    /// The longest silence of the guest in the seconds before.
    longest_quiet: Duration,
    /// Pages that the guest's self-check rewrote in a second.
    rewrites: f64,
}

/// The moves of one load under one limit of the wire.
struct Series {
    load: Load,
    /// Bytes a second.
    limit: Option<u64>,
    moves: Vec<Move>,
}

/// The QEMU that has the guest, and what is needed to start the next one.
struct Walk<'a> {
    stage: Stage<'a>,
    started: usize,
    here: Vm,
}

impl<'a> Walk<'a> {
    fn new(stage: Stage<'a>) -> anyhow::Result<Self> {
        let here = Vm::start(&stage, 0, Ram::new(0), false)?;
        Ok(Self { stage, started: 1, here })
    }

    /// Moves the guest into a new QEMU with empty memory. The old one ends.
    fn turn(&mut self, way: Way, mover: &Mover<'_>) -> anyhow::Result<Move> {
        let mut there = Vm::start(&self.stage, self.started, Ram::new(self.started), true)?;
        self.started += 1;
        let quiet = Instant::now();
        std::thread::sleep(QUIET);
        let longest_quiet = ticks::longest(&self.here.ticks.since(quiet));
        let rewrites = self.here.self_check(quiet)?;
        let before = wire::bytes()?;
        let moved = mover.move_guest(way, &mut self.here, &mut there)?;
        let Some(moved) = moved else {
            let wire = wire::bytes()? - before;
            return Ok(Move { way, wire, pulse: None, told_ms: 0.0, longest_quiet, rewrites });
        };
        there.await_tick(moved.began, PATIENCE)?;
        let wire = wire::bytes()? - before;
        let pulse = ticks::pulse(moved.began, &self.here.ticks.since(moved.began), &there.ticks.since(moved.began))?;
        self.arrive(there, moved.began)?;
        Ok(Move { way, wire, pulse: Some(pulse), told_ms: moved.downtime_ms, longest_quiet, rewrites })
    }

    /// The guest must be well where it is now, for which it has a moment; and then that is the source of the next move. Returns the
    /// RAM that is left at the old place.
    fn arrive(&mut self, there: Vm, began: Instant) -> anyhow::Result<Ram> {
        std::thread::sleep(QUIET);
        self.here.self_check(began)?;
        there.self_check(began)?;
        Ok(std::mem::replace(&mut self.here, there).quit())
    }
}

fn series(options: &Options, pagesieve: &Path, load: Load, limit: u64) -> anyhow::Result<Series> {
    let folder = tempfile::tempdir()?;
    let limit = (limit > 0).then_some(limit << 20);
    let patience = Duration::from_secs(options.patience);
    let mover = Mover { pagesieve, folder: folder.path(), limit, patience };
    let mut walk = Walk::new(Stage { options, folder: folder.path(), load })?;
    let mut moves = Vec::new();
    for round in 0..options.rounds {
        // Each round begins with another way, so that none always comes after the same one.
        for turn in 0..Way::ALL.len() {
            let way = Way::ALL[(turn + round) % Way::ALL.len()];
            let done = walk.turn(way, &mover).with_context(|| format!("{}, {}", load.name, way.name()))?;
            eprintln!("{}, limit {limit:?}, round {}, {done:?}", load.name, round + 1);
            moves.push(done);
        }
    }
    Ok(Series { load, limit, moves })
}

fn measure(options: &Options) -> anyhow::Result<()> {
    wire::enter_own_network()?;
    let pagesieve = pagesieve_benches::pagesieve(options.pagesieve.as_deref())?;
    let named = |name: &String| LOADS.iter().find(|load| load.name == *name).with_context(|| format!("there is no load {name}"));
    let loads: Vec<&Load> = options.loads.iter().map(named).collect::<Result<_, _>>()?;
    std::fs::create_dir_all(&options.out)?;
    if let Some(count) = options.there_and_back {
        return there_and_back::measure(options, &pagesieve, &loads, count);
    }
    let mut all = Vec::new();
    for load in loads {
        for limit in &options.limits {
            all.push(series(options, &pagesieve, *load, *limit)?);
            // Written each time: should a later one fail, the earlier ones are kept.
            std::fs::write(options.out.join("migrate.json"), format!("{:#}\n", report::json(&all)))?;
            std::fs::write(options.out.join("migrate.md"), report::markdown(&all))?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("migrate: {error:#}");
            ExitCode::from(3)
        }
    }
}
