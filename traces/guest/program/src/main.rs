//! Runs inside the recorded VM. It rewrites pages of its memory at a given rate, knows what each page must hold, and says once a
//! second on the console that it is alive and how many pages were lost.

mod area;
mod pace;
mod page;
mod ticks;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::area::{Area, Error};
use crate::pace::{Pace, Pattern, Picker};

const PAGES_PER_MIB: usize = 256;
const TICK: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);
/// Errors told one by one, per second. All are counted.
const ERRORS_TOLD: usize = 20;

/// Rewrites memory and notices every page that is lost, stale, torn or swapped.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Memory under test
    #[arg(long, default_value_t = 64)]
    mib: usize,
    /// Pages rewritten per second
    #[arg(long, default_value_t = 500)]
    writes: u64,
    /// Pages checked per second, one after the other; a page is also checked before each rewrite
    #[arg(long, default_value_t = 1000)]
    checks: u64,
    /// Which pages are rewritten
    #[arg(long, value_enum, default_value_t = Pattern::Hot)]
    pattern: Pattern,
    /// Another seed draws other pages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write a byte to this file again and again
    #[arg(long, requires = "tick_ms")]
    ticks: Option<PathBuf>,
    /// Milliseconds between two of those bytes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    tick_ms: Option<u64>,
}

/// Everything between two lines on the console.
struct Run {
    area: Area,
    picker: Picker,
    writes: Pace,
    checks: Pace,
    lines: u64,
}

impl Run {
    fn step(&mut self, elapsed: Duration) {
        for _ in 0..self.writes.due(elapsed) {
            self.area.rewrite(self.picker.pick());
        }
        for _ in 0..self.checks.due(elapsed) {
            self.area.check_next();
        }
    }

    fn tell(&mut self, prefix: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let errors = self.area.take_errors();
        for error in errors.iter().take(ERRORS_TOLD) {
            match error {
                Error::Page { page, expected, fault } => {
                    writeln!(out, "pagesieve-guest: ERROR page {page} should hold version {expected}; {fault}")?;
                }
                Error::Shadow { sum, expected } => {
                    writeln!(out, "pagesieve-guest: ERROR the versions add up to {sum} instead of {expected}")?;
                }
            }
        }
        if errors.len() > ERRORS_TOLD {
            writeln!(out, "pagesieve-guest: ERROR and {} more", errors.len() - ERRORS_TOLD)?;
        }
        self.lines += 1;
        let (line, counts) = (self.lines, self.area.counts());
        let (writes, checked, errors) = (counts.writes, counts.checked, counts.errors);
        writeln!(out, "pagesieve-guest: {prefix}counter={line} writes={writes} checked={checked} errors={errors}")?;
        out.flush()
    }
}

fn run(options: &Options) -> io::Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    if let (Some(path), Some(period)) = (&options.ticks, options.tick_ms) {
        ticks::start(path, Duration::from_millis(period))?;
    }
    let area = Area::new(options.mib * PAGES_PER_MIB);
    let Options { writes, checks, pattern, seed, .. } = *options;
    let pages = area.len();
    writeln!(io::stdout(), "pagesieve-guest: pages={pages} writes/s={writes} checks/s={checks} pattern={pattern:?}")?;
    let picker = Picker::new(pattern, pages, seed);
    let mut run = Run { area, picker, writes: Pace::new(writes), checks: Pace::new(checks), lines: 0 };

    let (mut last, mut told) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(TICK);
        let now = Instant::now();
        run.step(now - last);
        last = now;
        if now - told >= SECOND {
            run.tell("")?;
            // Once a second on average, but no burst of lines after a pause.
            told = if now - told < 2 * SECOND { told + SECOND } else { now };
        }
    }
    run.area.check_all();
    run.tell("stopped ")?;
    Ok(run.area.counts().errors == 0)
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "pagesieve-guest: failed to write to the console: {error}");
            ExitCode::from(2)
        }
    }
}
