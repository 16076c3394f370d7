//! `pagesieve top`: what it tells of real processes, and that it leaves them and the terminal as they were.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::qemu::{Qemu, can_run_guests};
use support::terminal::{ALTERNATE, Terminal, has_setsid};
use support::{Background, PAGESIEVE, Run, assert_schema, at, can_record, count, run, text, wait_until};

const PAGE: u64 = 4096;

fn target() -> Background {
    let mut workload = Command::new(PAGESIEVE);
    let workload = workload.args(["workload", "--class", "mixed", "--memory", "8MiB", "--seconds", "120"]);
    let target = Background::spawn(workload.stdout(Stdio::null()));
    wait_until("its memory", || mappings(target.pid()).contains("guest-ram"));
    target
}

fn mappings(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default()
}

/// True if the kernel write-protects memory of the process for a userfaultfd.
fn is_armed(pid: u32) -> bool {
    mappings(pid).lines().any(|line| line.starts_with("VmFlags:") && line.contains(" uw"))
}

/// The lines that were printed, as JSON.
#[track_caller]
fn lines(done: &Run) -> Vec<Value> {
    assert_eq!(done.code, Some(0), "{done:?}");
    done.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

fn sum(lines: &[Value], path: &str) -> u64 {
    lines.iter().map(|line| count(line, path)).sum()
}

/// Everything that holds for every line, whatever is watched.
#[track_caller]
fn check(line: &Value, epoch: u64) {
    assert_schema(line, "pagesieve.top");
    assert_eq!((count(line, "epoch"), at(line, "complete")), (epoch, &Value::from(true)));
    let blocks = |name: &str| count(line, &format!("sync.blocks.{name}"));
    let skipped: u64 = ["unpopulated", "zero", "unchanged", "same_content", "presumed_unused"]
        .map(|reason| count(line, &format!("sync.blocks.skipped.{reason}")))
        .iter()
        .sum();
    assert_eq!((blocks("sent") + skipped, blocks("deferred")), (blocks("total"), 0), "{line:#}");
    let rate = at(line, "sync.skip_rate.total").as_f64().unwrap();
    assert!((rate - skipped as f64 / blocks("total") as f64).abs() < 1e-9, "{rate}");
    assert!(count(line, "memory.resident") <= count(line, "memory.bytes"));
    assert!(blocks("sent") <= count(line, "dirty.pages"), "a block is sent only for a page that was written");
    assert_eq!(count(line, "forecast.link.bandwidth"), 1_250_000_000);
    for range in at(line, "hot").as_array().unwrap() {
        assert!(count(range, "start") < count(range, "end") && count(range, "blocks") > 0, "{range}");
        assert!((0.0..=1.0).contains(&at(range, "share").as_f64().unwrap()));
    }
}

#[test]
fn a_command_is_watched_by_the_kernel_program_and_ended_with_the_display() {
    let name = "a_command_is_watched_by_the_kernel_program_and_ended_with_the_display";
    if !can_record(name) {
        return;
    }
    if let Some(reason) = pagesieve_recorder::doctor().why_not_ebpf() {
        return pagesieve_ebpf::testing::skipped(name, &format!("no eBPF: {reason}"));
    }
    let options = ["top", "--batch", "-n", "3", "--json", "--interval", "400ms", "--bandwidth", "10Gbit", "--source", "ebpf"];
    let workload = ["--", PAGESIEVE, "workload", "--class", "heavy-io", "--memory", "8MiB", "--seconds", "120"];
    let lines = lines(&run::<&&str>(options.iter().chain(&workload)));
    assert_eq!(lines.len(), 3);
    for (line, epoch) in lines.iter().zip(1..) {
        check(line, epoch);
        assert_eq!((at(line, "observed.ebpf_enabled"), at(line, "observed.fallback")), (&Value::from(true), &Value::Null));
        assert!(at(line, "observed.hooks").as_array().unwrap().iter().any(|hook| hook.as_str().unwrap().contains("page_fault")));
        assert!(count(line, "memory.bytes") >= 8 << 20);
    }
    assert!(sum(&lines, "dirty.pages") > 0 && sum(&lines, "events.count") > 0, "{lines:#?}");
    assert!(!at(&lines[2], "hot").as_array().unwrap().is_empty());
    assert_eq!(at(&lines[2], "forecast.converges"), &Value::from(true), "8 MiB over 10 Gbit/s");
    assert!(!fs::exists(format!("/proc/{}", count(&lines[0], "observed.pid"))).unwrap());
}

#[test]
fn without_the_kernel_program_the_scan_tells_all_but_events() {
    if !can_record("without_the_kernel_program_the_scan_tells_all_but_events") {
        return;
    }
    let target = target();
    let pid = target.pid().to_string();
    let options = ["top", "--batch", "-n", "2", "--json", "--bandwidth", "10Gbit", "--source", "pagemap-scan", "--pid", &pid];
    let lines = lines(&run::<&str>(options));
    lines.iter().zip(1..).for_each(|(line, epoch)| check(line, epoch));
    assert_eq!((lines.len(), sum(&lines, "events.count")), (2, 0));
    assert!(sum(&lines, "dirty.pages") > 0);
    assert_eq!(at(&lines[0], "observed.ebpf_enabled"), &Value::from(false));
}

#[test]
fn what_runs_already_is_armed_while_it_is_watched_and_goes_on_afterwards() {
    if !can_record("what_runs_already_is_armed_while_it_is_watched_and_goes_on_afterwards") {
        return;
    }
    let mut target = target();
    let (pid, mut top) = (target.pid().to_string(), Command::new(PAGESIEVE));
    let top = top.args(["top", "--batch", "--interval", "100ms", "--pid", &pid]);
    let mut top = Background::spawn(top.stdout(Stdio::null()));
    wait_until("the arming", || is_armed(target.pid()));
    top.signal(rustix::process::Signal::TERM);
    assert_eq!(top.0.wait().unwrap().code(), Some(0));
    assert!(!is_armed(target.pid()) && target.is_running());
}

#[test]
fn lines_for_people_have_a_heading_and_the_end_of_the_target_is_told() {
    if !can_record("lines_for_people_have_a_heading_and_the_end_of_the_target_is_told") {
        return;
    }
    let options = ["top", "--batch", "-n", "100", "--interval", "300ms", "--source", "pagemap-scan", "--"];
    let workload = [PAGESIEVE, "workload", "--class", "light", "--memory", "4MiB", "--seconds", "2"];
    let done: Run = run(options.iter().chain(&workload));
    assert_eq!(done.code, Some(0), "{done:?}");
    let lines: Vec<_> = done.stdout.lines().collect();
    assert!(lines[0].contains("dirty") && lines[0].contains("events/s") && lines[0].ends_with("over 1 Gbit/s"), "{done:?}");
    assert!((2..100).contains(&lines.len()), "{done:?}");
    assert!(lines[1..].iter().all(|line| line.matches(" % ").count() == 2 && line.contains("converge")), "{done:?}");
    assert!(done.stderr.contains("has ended"), "{done:?}");
}

#[test]
fn a_guest_is_told_by_its_own_addresses() {
    if !can_run_guests("a_guest_is_told_by_its_own_addresses") {
        return;
    }
    let mut qemu = Qemu::start(&["-machine", "q35", "-m", "128M"]);
    let socket = qemu.socket();
    let options = ["top", "--batch", "-n", "2", "--json", "--interval", "300ms", "--bandwidth", "10Gbit", "--qmp", text(&socket)];
    let lines = lines(&run::<&str>(options));
    lines.iter().zip(1..).for_each(|(line, epoch)| check(line, epoch));
    assert!(at(&lines[1], "observed.guest").is_string());
    // Below 1 MiB a PC has ROMs.
    let memory = count(&lines[1], "memory.bytes");
    assert!(memory <= 128 << 20 && memory > 127 << 20 && memory.is_multiple_of(PAGE), "{memory}");
    assert!(lines.iter().flat_map(|line| at(line, "hot").as_array().unwrap()).all(|range| count(range, "end") <= 128 << 20));
    assert!(qemu.process.is_running() && !is_armed(qemu.process.pid()));
}

#[test]
fn without_a_terminal_it_says_how_to_do_without() {
    run(["top", "--pid", "1"]).expect_failure(&["there is none", "--batch"]);
    run(["top", "--json", "--pid", "1"]).expect_usage_error(&["--batch"]);
    run(["top", "--batch"]).expect_usage_error(&["--pid"]);
    run(["top", "--batch", "--interval", "0s", "--pid", "1"]).expect_usage_error(&["--interval"]);
}

/// A display of a process on a terminal, after its first reading.
fn display(target: &Background, size: (u16, u16), environment: &[(&str, &str)]) -> Terminal {
    let pid = target.pid().to_string();
    let mut terminal = Terminal::start(&[PAGESIEVE, "top", "--interval", "200ms", "--pid", &pid], environment, size);
    terminal.wait_for(ALTERNATE);
    terminal.wait_to_see("migration");
    terminal
}

#[test]
fn keys_change_the_display_and_q_gives_the_terminal_back() {
    let name = "keys_change_the_display_and_q_gives_the_terminal_back";
    if !has_setsid(name) || !can_record(name) {
        return;
    }
    let mut target = target();
    let mut terminal = display(&target, (24, 80), &[]);
    assert!(!terminal.is_cooked());
    for (key, answer) in [("s", "hottest now"), (" ", "held"), ("l", "10 Gbit/s"), ("?", "this help")] {
        terminal.press(key);
        terminal.wait_to_see(answer);
    }
    // The first q closes the help.
    terminal.press("q");
    terminal.press("q");
    let (status, output) = terminal.end();
    assert_eq!(status.code(), Some(0), "{output:?}");
    assert!(terminal.is_cooked() && target.is_running() && !is_armed(target.pid()));
}

#[test]
fn a_signal_ctrl_c_and_the_end_of_the_target_give_the_terminal_back() {
    let name = "a_signal_ctrl_c_and_the_end_of_the_target_give_the_terminal_back";
    if !has_setsid(name) || !can_record(name) {
        return;
    }
    let mut target = target();
    let mut terminal = display(&target, (40, 120), &[]);
    terminal.signal(rustix::process::Signal::TERM);
    ended(&mut terminal);
    let mut terminal = display(&target, (12, 40), &[]);
    terminal.press("\x03");
    ended(&mut terminal);
    assert!(target.is_running() && !is_armed(target.pid()));
    let mut terminal = display(&target, (24, 80), &[]);
    drop(target);
    let output = ended(&mut terminal);
    assert!(output.contains("has ended"), "{output:?}");
}

#[track_caller]
fn ended(terminal: &mut Terminal) -> String {
    let (status, output) = terminal.end();
    assert_eq!(status.code(), Some(0), "{output:?}");
    terminal.assert_given_back(&output);
    output
}

#[test]
fn colors_are_left_out_if_they_are_not_wanted() {
    let name = "colors_are_left_out_if_they_are_not_wanted";
    if !has_setsid(name) || !can_record(name) {
        return;
    }
    let target = target();
    // Bold, underlined or colored text begins with one of these.
    let styled = |output: &str| ["\x1b[1m", "\x1b[2m", "\x1b[4m", "\x1b[38;5;"].iter().any(|style| output.contains(style));
    for (environment, wanted) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let mut terminal = display(&target, (24, 80), environment);
        terminal.press("q");
        let output = ended(&mut terminal);
        assert_eq!(styled(&output), wanted, "{output:?}");
    }
}

#[test]
fn a_log_on_the_same_terminal_is_refused() {
    let name = "a_log_on_the_same_terminal_is_refused";
    if !has_setsid(name) {
        return;
    }
    let mut terminal = Terminal::start(&[PAGESIEVE, "-v", "top", "--pid", "1"], &[], (24, 80));
    let (status, output) = terminal.end();
    assert_eq!(status.code(), Some(3), "{output:?}");
    assert!(output.contains("--batch") && !output.contains(ALTERNATE), "{output:?}");
}
