//! What it costs to be observed: slow-down of a guest, CPU time and memory of the recorder, and what others on the host pay.
//!
//! All modes of observation take turns in one run, several times, so that what else goes on in the machine meets them alike.
//! `cargo run --release -p pagesieve-benches --bin cost -- --help`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stderr, reason = "progress is told on standard error")]

mod measure;
mod procfs;
mod report;
mod role;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::measure::{Mode, Target, Window, account};
use crate::summary::{ClassCost, Costs, UnitWindows};

/// Measures the cost of tracking, as root. Writes cost.md and cost.json.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    role: Option<role::Role>,
    /// Classes of the guest; none measures a process of 64 MiB in its place
    #[arg(long, value_delimiter = ',', default_value = "idle,light,mixed,heavy-io")]
    classes: Vec<String>,
    /// Where the guest's image is, if not in the target directory
    #[arg(long)]
    image: Option<PathBuf>,
    /// Pages a second that the guest's self-check tries to rewrite: more than it can
    #[arg(long, default_value_t = 300_000)]
    check_rate: u64,
    /// Seconds of each window; at least twice the longest epoch of 5 s
    #[arg(long, default_value_t = 15)]
    window: u64,
    /// Times that every mode has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Folder for cost.md and cost.json
    #[arg(long, default_value = "reports/published")]
    out: PathBuf,
}

const MODES: [Mode; 4] = [Mode::None, Mode::Events, Mode::Armed { epoch_ms: 1000 }, Mode::Armed { epoch_ms: 5000 }];
/// The baseline and the first epochs are over.
const SETTLE: Duration = Duration::from_secs(3);
/// The process that stands for single costs: passes over 64 MiB, four a second, so that one in four finds its pages armed.
const WORKER_MIB: u64 = 64;
const WORKER_PAUSE_MS: u64 = 250;

fn class_cost(options: &Options, class: Option<&str>) -> anyhow::Result<ClassCost> {
    let length = Duration::from_secs(options.window);
    let target = match class {
        Some(class) => {
            let start = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../traces/guest/start.sh");
            Target::guest(&start, options.image.as_deref(), class, options.check_rate)?
        }
        None => Target::worker(WORKER_MIB, 0)?,
    };
    std::thread::sleep(SETTLE);
    let mut rounds = Vec::new();
    for round in 0..options.rounds {
        // Each round begins with another mode, so that none always comes after the same one.
        let mut windows: Vec<Window> = vec![Window::default(); MODES.len()];
        for turn in 0..MODES.len() {
            let index = (turn + round) % MODES.len();
            eprintln!("{}, round {}, {}", target.name, round + 1, MODES[index].name());
            windows[index] = target.window(MODES[index], SETTLE, length, true)?;
        }
        rounds.push(windows);
    }
    let contents = target.window(Mode::Fingerprints, SETTLE, length, false)?;
    Ok(ClassCost { name: target.name.clone(), rounds, contents })
}

/// Windows on a process whose passes tell what a single fault, event and record costs.
fn unit_windows(options: &Options) -> anyhow::Result<UnitWindows> {
    let target = Target::worker(WORKER_MIB, WORKER_PAUSE_MS)?;
    let mut found = UnitWindows::default();
    for round in 0..options.rounds {
        eprintln!("single costs, round {}", round + 1);
        let window = |mode| target.window(mode, SETTLE, Duration::from_secs(options.window.min(6)), false);
        found.bare.push(window(Mode::None)?);
        found.log.push(window(Mode::LogOnly { epoch_ms: 1000 })?);
        found.events.push(window(Mode::Armed { epoch_ms: 1000 })?);
        found.account.push(account(true)?);
        found.miss.push(account(false)?.0);
    }
    Ok(found)
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let units = unit_windows(options)?;
    let Options { window, rounds, check_rate, .. } = *options;
    let mut costs = Costs { units, classes: Vec::new(), window, rounds, check_rate };
    for class in &options.classes {
        let class = (class != "none").then_some(class.as_str());
        costs.classes.push(class_cost(options, class)?);
        // Written each time: should a later class fail, the earlier ones are kept.
        write(&costs, &options.out)?;
    }
    Ok(())
}

fn write(costs: &Costs, out: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("cost.json"), format!("{:#}\n", report::json(costs)))?;
    Ok(std::fs::write(out.join("cost.md"), report::markdown(costs))?)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.role {
        Some(role) => role::play(role),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cost: {error:#}");
            ExitCode::from(3)
        }
    }
}
