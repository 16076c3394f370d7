//! How many events a second the rings take, and where loss begins.
//!
//! A child process faults on all CPUs, at steps of the fastest rate that it reaches. The rings are drained at an interval, as a
//! recorder does it. Every fault must come out as an event or be counted as lost: the example fails if one vanished.
//!
//! Run as root: `cargo run --release -p pagesieve-ebpf --example overload -- --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the figures are the output")]

mod faulting;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use faulting::Faulting;
use pagesieve_ebpf::{Tracker, TrackerConfig};

const USAGE: &str = "usage: overload [--rings 1,0] [--ring-kib 8192,256,16] [--drain-ms 20] [--seconds 1] [--rounds 3] [--json]
  lists are separated by commas; 0 rings means one for each CPU; --ring-kib is the size of all rings together";
const STEPS: [u64; 5] = [10, 25, 50, 75, 100];

struct Options {
    rings: Vec<u64>,
    ring_kib: Vec<u64>,
    drain_ms: Vec<u64>,
    seconds: u64,
    rounds: u64,
    json: bool,
}

/// How the rings are set up and drained.
#[derive(Clone, Copy)]
struct Setup {
    rings: u64,
    ring_kib: u64,
    drain: Duration,
}

/// What came of one step.
#[derive(Clone, Copy)]
struct Outcome {
    seconds: f64,
    offered: u64,
    received: u64,
    lost: u64,
}

impl Outcome {
    fn loss_percent(&self) -> f64 {
        100.0 * self.lost as f64 / self.offered.max(1) as f64
    }
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { rings: vec![1, 0], ring_kib: vec![8192, 256, 16], drain_ms: vec![20], seconds: 1, rounds: 3, json: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut list = || -> Result<Vec<u64>, String> {
            let text = words.next().ok_or(USAGE)?;
            text.split(',').map(|part| part.parse().map_err(|_| format!("{part} is no number\n{USAGE}"))).collect()
        };
        match word.as_str() {
            "--rings" => options.rings = list()?,
            "--ring-kib" => options.ring_kib = list()?,
            "--drain-ms" => options.drain_ms = list()?,
            "--seconds" => options.seconds = list()?[0].max(1),
            "--rounds" => options.rounds = list()?[0].max(1),
            "--json" => options.json = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn attach(faulting: &Faulting, setup: Setup) -> Result<Tracker, String> {
    let mut config = TrackerConfig { pid: faulting.pid(), page_limit: faulting.pages(), ..TrackerConfig::default() };
    config.ring_bytes = (setup.ring_kib << 10) as u32;
    let rings = if setup.rings == 0 { faulting.threads() as u32 } else { setup.rings as u32 };
    config.rings = Some(rings);
    let mut tracker = Tracker::attach(&config).map_err(|error| format!("cannot {error}"))?;
    tracker.set_slots(&faulting.slots())?;
    Ok(tracker)
}

/// Runs one step: faults at a rate (0: as fast as possible), drained at the interval.
fn step(faulting: &Faulting, tracker: &mut Tracker, drain: Duration, rate: u64, length: Duration) -> Result<Outcome, String> {
    let lost = |tracker: &Tracker| tracker.counters().iter().map(|counters| counters.lost).sum::<u64>();
    let (faults_before, lost_before) = (faulting.faults(), lost(tracker));
    let started = Instant::now();
    faulting.run_at(rate);
    let mut received = 0;
    while started.elapsed() < length {
        std::thread::sleep(drain);
        received += tracker.drain(|_| ()) as u64;
        tracker.drain_control(|_| ());
    }
    faulting.pause();
    let seconds = started.elapsed().as_secs_f64();
    received += tracker.drain(|_| ()) as u64;
    let (offered, lost) = (faulting.faults() - faults_before, lost(tracker) - lost_before);
    if received + lost != offered {
        return Err(format!("{offered} faults, but {received} events and {lost} lost: some vanished"));
    }
    Ok(Outcome { seconds, offered, received, lost })
}

/// The outcome with the median share of loss.
fn median(mut outcomes: Vec<Outcome>) -> Outcome {
    outcomes.sort_by(|a, b| a.loss_percent().total_cmp(&b.loss_percent()));
    outcomes[outcomes.len() / 2]
}

fn run() -> Result<(), String> {
    let options = options()?;
    let faulting = Faulting::start()?;
    let length = Duration::from_secs(options.seconds);
    let roomy = Setup { rings: 0, ring_kib: 64 << 10, drain: Duration::from_millis(5) };
    let most = step(&faulting, &mut attach(&faulting, roomy)?, roomy.drain, 0, length)?;
    let most = (most.offered as f64 / most.seconds) as u64;
    let mut setups = Vec::new();
    for &rings in &options.rings {
        for &ring_kib in &options.ring_kib {
            setups.extend(options.drain_ms.iter().map(|&ms| Setup { rings, ring_kib, drain: Duration::from_millis(ms) }));
        }
    }
    let mut outcomes = vec![[const { Vec::new() }; STEPS.len()]; setups.len()];
    for _ in 0..options.rounds {
        for (setup, outcomes) in setups.iter().zip(&mut outcomes) {
            let mut tracker = attach(&faulting, *setup)?;
            for (percent, outcomes) in STEPS.into_iter().zip(outcomes) {
                let rate = if percent == 100 { 0 } else { most * percent / 100 };
                outcomes.push(step(&faulting, &mut tracker, setup.drain, rate, length)?);
            }
        }
    }
    println!("{} CPUs fault, at most {most} faults/s with every event drained", faulting.threads());
    for (setup, outcomes) in setups.iter().zip(outcomes) {
        print(*setup, &outcomes.map(median), options.json);
    }
    Ok(())
}

fn print(setup: Setup, outcomes: &[Outcome; STEPS.len()], json: bool) {
    let Setup { rings, ring_kib, drain } = setup;
    let rings = if rings == 0 { "one a CPU".to_owned() } else { rings.to_string() };
    let drain = drain.as_millis();
    let begins = outcomes.iter().find(|outcome| outcome.lost > 0).map(|outcome| outcome.offered as f64 / outcome.seconds);
    for (percent, outcome) in STEPS.into_iter().zip(outcomes) {
        let Outcome { seconds, offered, received, lost } = *outcome;
        let (loss, rate) = (outcome.loss_percent(), offered as f64 / seconds);
        if json {
            println!(
                "{{\"rings\":\"{rings}\",\"ring_kib\":{ring_kib},\"drain_ms\":{drain},\"step_percent\":{percent},\"offered_per_second\":\
                 {rate:.0},\"offered\":{offered},\"received\":{received},\"lost\":{lost},\"loss_percent\":{loss:.3}}}"
            );
        } else {
            println!(
                "rings {rings:9} {ring_kib:6} KiB, drained every {drain:3} ms, {percent:3} %: {rate:9.0} faults/s, {received:8} received, \
                 {lost:8} lost ({loss:.2} %)"
            );
        }
    }
    if !json {
        match begins {
            Some(rate) => println!("  loss begins at or below {rate:.0} faults/s"),
            None => println!("  no loss"),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overload: {error}");
            ExitCode::from(3)
        }
    }
}
