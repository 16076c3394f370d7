//! `pagesieve sync` beside rsync: bytes and time on the same files, all tools in turns.
//!
//! `cargo run --release -p pagesieve-benches --bin sync -- --help`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "progress is told on standard error")]

mod image;
mod passes;
mod report;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::image::Image;
use crate::passes::Pass;
use crate::tools::{Run, TOOLS};

/// Compares `pagesieve sync` with rsync. Writes sync.md and sync.json. The part with the filter needs root.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// The command, if it does not lie beside this program
    #[arg(long)]
    pagesieve: Option<PathBuf>,
    /// Size of the image in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Blocks of 64 KiB that change, in percent
    #[arg(long, value_delimiter = ',', default_value = "1,10")]
    changed: Vec<u64>,
    /// Times that every tool has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Folder for the images: three times their size, on the disk that is to be measured
    #[arg(long, default_value = "/var/tmp")]
    scratch: PathBuf,
    /// Folder for sync.md and sync.json
    #[arg(long, default_value = "reports/published")]
    out: PathBuf,
}

/// What was measured at one share of changed blocks.
struct Share {
    percent: u64,
    /// By tool, in the order of [`TOOLS`]; one run for each round.
    runs: Vec<Vec<Run>>,
    /// Passes over an image that a process changes: with the filter, and without.
    passes: [Vec<Pass>; 2],
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let pagesieve = pagesieve_benches::pagesieve(options.pagesieve.as_deref())?;
    let mut shares = Vec::new();
    for &percent in &options.changed {
        let mut runs: Vec<Vec<Run>> = vec![Vec::new(); TOOLS.len()];
        for round in 0..options.rounds {
            let image = Image::make(&options.scratch, options.mib, percent, round as u64)?;
            for turn in 0..TOOLS.len() {
                // Each round begins with another tool, so that none always comes after the same one.
                let tool = (turn + round) % TOOLS.len();
                eprintln!("{percent} % changed, round {}, {}", round + 1, TOOLS[tool].name);
                runs[tool].push(tools::run(tool, &pagesieve, &image)?);
            }
        }
        let mut passes = [Vec::new(), Vec::new()];
        for (which, filter) in [true, false].into_iter().enumerate() {
            eprintln!("{percent} % changed by a process, {} the filter", if filter { "with" } else { "without" });
            passes[which] = passes::measure(options, &pagesieve, percent, filter)?;
        }
        shares.push(Share { percent, runs, passes });
    }
    std::fs::create_dir_all(&options.out)?;
    std::fs::write(options.out.join("sync.json"), format!("{:#}\n", report::json(options, &shares)))?;
    Ok(std::fs::write(options.out.join("sync.md"), report::markdown(options, &shares))?)
}

fn main() -> ExitCode {
    match measure(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sync: {error:#}");
            ExitCode::from(3)
        }
    }
}
