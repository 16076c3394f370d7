//! The figures as Markdown and as JSON.

use std::fmt::Write;

use pagesieve_benches::{Spread, command};
use serde_json::{Value, json};

use crate::vm::{MEMORY, TICK_MS};
use crate::way::Way;
use crate::{Move, Series};

/// The version of QEMU, in its own words.
fn qemu() -> String {
    let output = std::process::Command::new("qemu-system-x86_64").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

pub(crate) fn markdown(all: &[Series]) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_all(&mut text, all);
    text
}

fn write_all(text: &mut String, all: &[Series]) -> std::fmt::Result {
    let machine = pagesieve_recorder::machine();
    writeln!(text, "# Moving a guest: pagesieve and QEMU's own migration\n")?;
    writeln!(
        text,
        "{}, {} CPUs, {} GiB, Linux {}; {}. A guest of {MEMORY} under emulation, moved again and again between two QEMUs of one \
         machine, each time into empty memory, by all ways in turn. Medians, extremes in brackets. Made by:\n\n```\n{}\n```\n",
        machine.cpu,
        machine.cpus,
        machine.memory >> 30,
        machine.kernel,
        qemu(),
        command("migrate")
    )?;
    writeln!(
        text,
        "*Wire* is what a loopback device that nobody else uses has carried in both directions, headers included. The guest writes a \
         byte to a serial port every {TICK_MS} ms, and this program notes when it comes: *downtime* is the silence between the last \
         byte from the old QEMU and the first from the new one, *total* the time from the command to that first byte. *Silence \
         before* is the longest silence while the move was under way and the guest still ran at the source; *unmoved* is the \
         longest silence in the three seconds before the move. *Told* is the downtime that the mover itself reports. Both sides aim \
         at 300 ms. None encrypts. pagesieve runs with `--watch 0s`; otherwise it watches the guest for a second before it begins."
    )?;
    all.iter().try_for_each(|series| write_series(text, series))
}

/// The name of a series.
fn title(series: &Series) -> String {
    let limit = series.limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{} MiB/s", limit >> 20));
    format!("{}, {limit}", series.load.name)
}

/// Median, and the extremes in brackets.
fn spread<'a>(moves: impl Iterator<Item = &'a Move>, of: impl Fn(&Move) -> Option<f64>, digits: usize) -> String {
    let Spread { median, least, most } = Spread::of(moves.filter_map(of));
    format!("{median:.digits$} ({least:.digits$} … {most:.digits$})")
}

fn ms(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn write_series(text: &mut String, series: &Series) -> std::fmt::Result {
    let rewrites = Spread::of(series.moves.iter().map(|done| done.rewrites));
    writeln!(text, "\n## {}\n\nThe self-check rewrites {:.0} pages a second.\n", title(series), rewrites.median)?;
    writeln!(text, "| way | wire, MiB | total, s | downtime, ms | silence before, ms | unmoved, ms | told, ms | moved |")?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for way in Way::ALL {
        let tried = || series.moves.iter().filter(move |done| done.way == way);
        let moved = || tried().filter(|done| done.pulse.is_some());
        if moved().next().is_none() {
            writeln!(text, "| {} | – | – | – | – | – | – | 0 of {} |", way.name(), tried().count())?;
            continue;
        }
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} of {} |",
            way.name(),
            spread(moved(), |done| Some(done.wire as f64 / 1048576.0), 1),
            spread(moved(), |done| Some(done.pulse?.total.as_secs_f64()), 2),
            spread(moved(), |done| Some(ms(done.pulse?.downtime)), 0),
            spread(moved(), |done| Some(ms(done.pulse?.longest_before)), 0),
            spread(moved(), |done| Some(ms(done.longest_quiet)), 0),
            spread(moved(), |done| Some(done.told_ms), 0),
            moved().count(),
            tried().count(),
        )?;
    }
    Ok(())
}

pub(crate) fn json(all: &[Series]) -> Value {
    let machine = pagesieve_recorder::machine();
    json!({
        "schema": { "name": "pagesieve.migrations", "version": "1.0" },
        "command": command("migrate"),
        "machine": { "cpu": machine.cpu, "cpus": machine.cpus, "memory": machine.memory, "kernel": machine.kernel },
        "qemu": qemu(),
        "guest_memory": MEMORY,
        "tick_ms": TICK_MS,
        "series": all.iter().map(|series| json!({
            "load": series.load.name,
            "limit_bytes_per_second": series.limit,
            "moves": series.moves.iter().map(move_json).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn move_json(done: &Move) -> Value {
    json!({
        "way": done.way.name(),
        "moved": done.pulse.is_some(),
        "wire_bytes": done.wire,
        "total_seconds": done.pulse.map(|pulse| pulse.total.as_secs_f64()),
        "downtime_ms": done.pulse.map(|pulse| ms(pulse.downtime)),
        "longest_silence_before_ms": done.pulse.map(|pulse| ms(pulse.longest_before)),
        "longest_silence_unmoved_ms": ms(done.longest_quiet),
        "told_downtime_ms": done.told_ms,
        "rewritten_pages_per_second": done.rewrites,
    })
}
