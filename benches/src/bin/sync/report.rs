//! The figures as Markdown and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::tools::TOOLS;
use crate::{Options, Share};

/// The command that made the figures, without folders, which decide nothing.
fn command() -> String {
    let mut arguments = std::env::args().skip(1);
    let mut text = "cargo run --release -p pagesieve-benches --bin sync --".to_owned();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--scratch" | "--out" | "--pagesieve" => _ = arguments.next(),
            _ => text = format!("{text} {argument}"),
        }
    }
    text.trim_end_matches(" --").to_owned()
}

/// Median, least and most.
fn spread(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
    (at(figures.len() / 2), at(0), at(figures.len().saturating_sub(1)))
}

fn seconds((median, least, most): (f64, f64, f64)) -> String {
    format!("{median:.2} s ({least:.2} … {most:.2})")
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

pub(crate) fn markdown(options: &Options, shares: &[Share]) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_all(&mut text, options, shares);
    text
}

fn write_all(text: &mut String, options: &Options, shares: &[Share]) -> std::fmt::Result {
    let machine = pagesieve_recorder::machine();
    writeln!(text, "# sync beside rsync\n")?;
    writeln!(
        text,
        "{}, {} CPUs, {} GiB, Linux {}. An image of {} MiB of noise, of which some blocks of 64 KiB changed as a whole; {} rounds, in which \
         all tools take turns. Medians, extremes in brackets; the times relative to each other count, not the times. Each time holds until \
         all is on the disk. Both images are in the page cache at the start. Every outcome is compared byte for byte. Made by:\n\n\
         ```\n{}\n```\n",
        machine.cpu,
        machine.cpus,
        machine.memory >> 30,
        machine.kernel,
        options.mib,
        options.rounds,
        command()
    )?;
    for share in shares {
        writeln!(text, "## {} % of the blocks changed\n", share.percent)?;
        writeln!(text, "| tool | reads | content written, or bytes on the wire | time |\n|---|---|---|---|")?;
        for (tool, runs) in TOOLS.iter().zip(&share.runs) {
            let bytes = spread(runs.iter().map(|run| run.bytes as f64)).0;
            let time = seconds(spread(runs.iter().map(|run| run.seconds)));
            writeln!(text, "| `{}` | {} | {} | {time} |", tool.name, tool.reads, mib(bytes))?;
        }
        writeln!(text, "\nThe same blocks changed by a process through its mapping, between two passes of `sync --every`:\n")?;
        writeln!(text, "| | source that is read | written | time |\n|---|---|---|---|")?;
        for (name, passes) in ["with the filter", "`--no-filter`"].iter().zip(&share.passes) {
            let (read, written) =
                (spread(passes.iter().map(|pass| pass.read as f64)).0, spread(passes.iter().map(|pass| pass.written as f64)).0);
            writeln!(
                text,
                "| {name} | {} | {} | {} |",
                mib(read),
                mib(written),
                seconds(spread(passes.iter().map(|pass| pass.seconds)))
            )?;
        }
        writeln!(text)?;
    }
    writeln!(
        text,
        "rsync over a local path sends the whole file unless told otherwise, which is the sensible default where disks are as fast as \
         processors. Of `sync` over a local path no bytes go anywhere but into the file; what is counted there are the blocks that were \
         written, for rsync its literal data. `sync` without `--in-place` also copies the blocks that did not change into the new file, as \
         rsync does without `--inplace`. `--in-place` writes what it overwrites into a journal first, which rsync does not: a cut leaves \
         its file half new."
    )
}

pub(crate) fn json(options: &Options, shares: &[Share]) -> Value {
    let machine = pagesieve_recorder::machine();
    let shares: Vec<Value> = shares
        .iter()
        .map(|share| {
            let tools = TOOLS.iter().zip(&share.runs).map(|(tool, runs)| {
                let figures: Vec<_> = runs.iter().map(|run| json!({ "seconds": run.seconds, "bytes": run.bytes })).collect();
                json!({ "tool": tool.name, "runs": figures })
            });
            let passes = share.passes.iter().map(|passes| {
                let figures = passes.iter();
                let figures = figures.map(|pass| json!({ "seconds": pass.seconds, "read": pass.read, "written": pass.written }));
                figures.collect::<Vec<_>>()
            });
            let (tools, passes) = (tools.collect::<Vec<_>>(), passes.collect::<Vec<_>>());
            json!({ "percent": share.percent, "tools": tools, "with_filter": passes[0], "without_filter": passes[1] })
        })
        .collect();
    json!({
        "command": command(),
        "machine": { "cpu": machine.cpu, "cpus": machine.cpus, "memory": machine.memory, "kernel": machine.kernel },
        "mib": options.mib,
        "rounds": options.rounds,
        "shares": shares,
    })
}
