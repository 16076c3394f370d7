//! The figures as Markdown and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use pagesieve_benches::{Spread, command};

use crate::measure::Window;
use crate::summary::{ClassCost, Costs, modes};

fn hooks() -> Vec<String> {
    let config = pagesieve_ebpf::TrackerConfig { pid: std::process::id(), ..pagesieve_ebpf::TrackerConfig::default() };
    let tracker = pagesieve_ebpf::Tracker::attach(&config);
    tracker.map(|tracker| tracker.hooks().iter().map(pagesieve_ebpf::Hook::name).collect()).unwrap_or_default()
}

/// Median, and the extremes in brackets.
fn percent(spread: Spread) -> String {
    format!("{:.1} % ({:.1} … {:.1})", spread.median, spread.least, spread.most)
}

pub(crate) fn markdown(costs: &Costs) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write_all(&mut text, costs);
    text
}

fn write_all(text: &mut String, costs: &Costs) -> std::fmt::Result {
    let machine = pagesieve_recorder::machine();
    writeln!(text, "# What it costs to be observed\n")?;
    writeln!(
        text,
        "{}, {} CPUs, {} GiB, Linux {}. {} rounds with windows of {} s; medians over the rounds, extremes in brackets. All modes \
         take turns in each round, and a slow-down is relative to the same round without observation. A slow-down below zero, or an \
         interval that holds zero, is noise. Made by:\n\n```\n{}\n```\n",
        machine.cpu,
        machine.cpus,
        machine.memory >> 30,
        machine.kernel,
        costs.rounds,
        costs.window,
        command("cost")
    )?;
    writeln!(text, "Hooks: {}.\n", hooks().join(", "))?;
    write_units(text, costs)?;
    writeln!(
        text,
        "\n## The target and its neighbours\n\n*Work* is what the guest's self-check does while the load of the class runs beside \
         it: pages rewritten and verified, tried at {} a second, which is more than it can. So all its memory is dirty in every epoch, \
         and the event rate is above what the class makes by itself. *Per CPU* is work per second of the target's CPU time: \
         it does not see pauses, but it does not see other programs on the machine either. *Others* are processes that are not \
         observed: one touches fresh memory, one makes system calls, both measured by their own CPU time.",
        costs.check_rate
    )?;
    let disturbed = costs.classes.iter().flat_map(|class| &class.rounds).filter(|windows| windows[0].foreign > 0).count();
    if disturbed > 0 {
        writeln!(
            text,
            "\n**Others on this machine had kernel programs attached in {disturbed} of the windows without observation.** Those slow \
             down system calls and faults of everybody, so what observation costs the others comes out too low here."
        )?;
    }
    costs.classes.iter().try_for_each(|class| write_class(text, class))?;
    write_memory(text, costs)
}

fn write_units(text: &mut String, costs: &Costs) -> std::fmt::Result {
    let unit = costs.units.unit();
    let run = Spread::of(costs.units.account.iter().map(|(run, _)| *run));
    let drain = Spread::of(costs.units.account.iter().map(|(_, drain)| *drain));
    let miss = Spread::of(costs.units.miss.iter().copied());
    writeln!(text, "## One write\n\n| | ns |\n|---|---|")?;
    let spread = |spread: Spread| format!("{:.0} ({:.0} … {:.0})", spread.median, spread.least, spread.most);
    writeln!(text, "| the program, for an event (the kernel's account, its own clock included) | {} |", spread(run))?;
    writeln!(text, "| the program, for the fault of another process | {} |", spread(miss))?;
    writeln!(text, "| taking an event out of the ring | {} |", spread(drain))?;
    writeln!(text, "| first write to an armed page, without events | {:.0} |", unit.fault)?;
    writeln!(text, "| first write to an armed page, with its event | {:.0} |", unit.fault_and_event)?;
    writeln!(text, "| the recorder, for each page that was written (scans, trace) | {:.0} |", unit.recorder)?;
    writeln!(
        text,
        "\nThe last three are CPU time, at {:.0} first writes a second to 64 MiB. **Less than 1 % of a CPU is true up to {:.0} first \
         writes a second** (a page counts once an epoch): at {:.0} ns each, of which {:.0} ns are the target's and {:.0} ns the \
         recorder's. The program alone would allow {:.0} events a second.",
        unit.rate,
        unit.rate_of_one_percent(),
        unit.total(),
        unit.fault_and_event,
        unit.recorder,
        1e7 / run.median.max(1e-9)
    )
}

fn write_class(text: &mut String, class: &ClassCost) -> std::fmt::Result {
    writeln!(text, "\n### {}\n", class.name)?;
    writeln!(
        text,
        "| mode | work/s | slower | slower per CPU | recorder CPU | events/s | lost | others' faults | others' calls |"
    )?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|")?;
    for (mode, name) in modes() {
        let loss = |of: fn(&Window) -> f64| if mode == 0 { "–".to_owned() } else { percent(class.loss_percent(mode, of)) };
        writeln!(
            text,
            "| {name} | {:.0} | {} | {} | {:.2} % | {:.0} | {} | {} | {} |",
            class.figure(mode, |window| window.work).median,
            loss(|window| window.work),
            loss(|window| window.work_per_cpu),
            class.figure(mode, |window| window.observer_cpu / 1e7).median,
            class.figure(mode, |window| window.events).median,
            class.lost(mode),
            loss(|window| window.faults),
            loss(|window| window.calls),
        )?;
    }
    Ok(())
}

fn write_memory(text: &mut String, costs: &Costs) -> std::fmt::Result {
    writeln!(
        text,
        "\n## Memory\n\n| target | mode | pages | recorder, private | kernel maps | bytes a page |\n|---|---|---|---|---|---|"
    )?;
    for class in &costs.classes {
        let modes = modes().skip(1).map(|(mode, name)| (name, class.last(mode)));
        for (name, window) in modes.chain([(crate::measure::Mode::Fingerprints.name(), &class.contents)]) {
            let (private, maps) = (window.private_bytes as f64 / 1048576.0, window.map_bytes as f64 / 1048576.0);
            let each = (window.private_bytes + window.map_bytes) as f64 / window.pages.max(1) as f64;
            writeln!(text, "| {} | {name} | {} | {private:.1} MiB | {maps:.1} MiB | {each:.0} |", class.name, window.pages)?;
        }
    }
    writeln!(text, "\nThe maps hold 8 bytes for each page of the limit (4 GiB unless asked otherwise) and the rings.")
}

pub(crate) fn json(costs: &Costs) -> Value {
    let machine = pagesieve_recorder::machine();
    let unit = costs.units.unit();
    json!({
        "schema": { "name": "pagesieve.cost", "version": "1.0" },
        "command": command("cost"),
        "machine": { "cpu": machine.cpu, "cpus": machine.cpus, "memory": machine.memory, "kernel": machine.kernel },
        "hooks": hooks(),
        "rounds": costs.rounds,
        "window_seconds": costs.window,
        "one_write": {
            "program_ns": costs.units.account.iter().map(|(run, _)| run).collect::<Vec<_>>(),
            "drain_ns": costs.units.account.iter().map(|(_, drain)| drain).collect::<Vec<_>>(),
            "program_miss_ns": costs.units.miss,
            "fault_ns": unit.fault,
            "fault_and_event_ns": unit.fault_and_event,
            "recorder_ns": unit.recorder,
            "first_writes_per_second": unit.rate,
            "one_percent_at_first_writes_per_second": unit.rate_of_one_percent(),
        },
        "targets": costs.classes.iter().map(class_json).collect::<Vec<_>>(),
    })
}

fn class_json(class: &ClassCost) -> Value {
    let rounds = class.rounds.iter().map(|windows| {
        let modes = modes().zip(windows).map(|((_, name), window)| (name, window_json(window)));
        Value::Object(modes.collect())
    });
    json!({ "name": class.name, "rounds": rounds.collect::<Vec<_>>(), "contents_compared": window_json(&class.contents) })
}

fn window_json(window: &Window) -> Value {
    json!({
        "seconds": window.seconds,
        "work_per_second": window.work,
        "work_per_cpu_second": window.work_per_cpu,
        "recorder_cpu_ns_per_second": window.observer_cpu,
        "events_per_second": window.events,
        "dirty_pages_per_second": window.dirty,
        "lost": window.lost,
        "pages": window.pages,
        "recorder_private_bytes": window.private_bytes,
        "map_bytes": window.map_bytes,
        "others_faults_per_cpu_second": window.faults,
        "others_calls_per_cpu_second": window.calls,
        "programs_of_others": window.foreign,
    })
}
