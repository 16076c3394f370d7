//! `pagesieve sweep`.

mod plan;
mod print;

use std::path::PathBuf;

use anyhow::Context;
use pagesieve_replayer::sweep::{Grid, Progress, Row, sweep};

use self::plan::Plan;
use self::print::Winners;
use super::place::Place;
use crate::cli::{Sweep, SweepFormat};
use crate::output;

pub(crate) fn run(options: &Sweep) -> anyhow::Result<()> {
    let plan = Plan::new(options)?;
    let inputs: Vec<_> = options.files.iter().chain(&options.sweep).cloned().collect();
    let place = plan.output.as_ref().map(|path| Place::for_text(path, &inputs, options.force)).transpose()?;
    // A long sweep should not find out at its end that the last trace is none.
    for file in &options.files {
        super::open(file).with_context(|| format!("sweep {}", file.display()))?;
    }
    let rows = replay(&options.files, &plan.grid)?;
    let best = plan.best.map(|best| Winners::new(&rows, best, plan.grid.points().len()));
    let text = match plan.format {
        SweepFormat::Table => print::table(&rows, best.as_ref()),
        SweepFormat::Csv => print::csv(&rows, best.as_ref()),
        SweepFormat::Json => print::json(&rows, best.as_ref())?,
    };
    match (place, &plan.output) {
        (Some(place), Some(path)) => {
            place.keep_text(&text)?;
            output::line(format_args!("{}: {} rows", path.display(), rows.len()))
        }
        _ => output::line(text.trim_end()),
    }
}

fn replay(files: &[PathBuf], grid: &Grid) -> anyhow::Result<Vec<Row>> {
    let bar = output::bar(0, "{bar:24} {percent:>3} %, {eta} left");
    let rows = sweep(files, grid, &|progress: Progress| {
        bar.set_length(progress.total);
        bar.inc(progress.step);
    });
    bar.finish_and_clear();
    Ok(rows?)
}
