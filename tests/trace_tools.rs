//! `trace cut`, `merge`, `convert` and `import` as users meet them. What they make of frames and lines is tested in `traces/convert`.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::{Background, PAGESIEVE, assert_schema, at, changed, count, run, run_command, scratch, synth, text, wait_until};

/// Valid by the rules, and sound for every policy that promises it.
#[track_caller]
fn assert_sound(trace: &Path) {
    run(["trace", "validate", text(trace)]).expect_quiet_success();
    assert_eq!(at(&run(["verify", "--json", text(trace)]).expect_json(), "ok"), true);
}

fn info(trace: &Path) -> Value {
    run(["trace", "info", "--json", text(trace)]).expect_json()
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/convert/tests/data").join(name)
}

#[test]
fn a_part_of_a_trace_is_a_trace() {
    let dir = scratch();
    let (whole, part) = (synth(dir.path(), "whole.trace", 1), dir.path().join("part.trace"));
    let cut = ["trace", "cut", text(&whole), "-o", text(&part)];
    let line = run(cut.iter().chain(&["--from", "1.2s", "--to", "2s"])).expect_quiet_success();
    assert!(line.starts_with(text(&part)) && line.contains("3 frames"), "{line}");
    assert_sound(&part);
    assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o600, "as every trace");
    let options = ["--from", "1s", "--gfn", "0x100..0x180,0x200", "--force", "--json"];
    let done = run(cut.iter().chain(&options)).expect_json();
    assert_schema(&done, "pagesieve.trace.cut");
    assert_eq!((count(&done, "slots"), count(&done, "pages"), at(&done, "output")), (2, 129, &text(&part).into()));
    assert_eq!((count(&info(&part), "frames"), count(&info(&part), "memory")), (count(&done, "frames"), 129 * 4096));
    assert_sound(&part);
    let report = dir.path().join("report");
    run(["report", text(&part), "-o", text(&report)]).expect_quiet_success();
    assert!(fs::read_to_string(report.join("index.html")).unwrap().contains("cut by pagesieve"), "the note is shown");
}

#[test]
fn joined_recordings_are_a_trace() {
    let dir = scratch();
    let whole = synth(dir.path(), "whole.trace", 1);
    let (early, late, both) = (dir.path().join("early.trace"), dir.path().join("late.trace"), dir.path().join("both.trace"));
    run(["trace", "cut", text(&whole), "-o", text(&early), "--to", "1s"]).expect_quiet_success();
    run(["trace", "cut", text(&whole), "-o", text(&late), "--from", "2s"]).expect_quiet_success();
    let done = run(["trace", "merge", "--json", text(&early), text(&late), "-o", text(&both)]).expect_json();
    assert_schema(&done, "pagesieve.trace.merge");
    assert_eq!(count(&done, "frames"), count(&info(&early), "frames") + count(&info(&late), "frames"));
    assert_eq!(at(&done, "parts"), &serde_json::json!(["early.trace", "late.trace"]));
    assert_sound(&both);
    let other = synth(dir.path(), "other.trace", 2);
    let refused = run(["trace", "merge", text(&early), text(&other), "-o", text(&both), "--force"]);
    refused.expect_failure(&["join other.trace", "the target differs from that of early.trace", "one guest"]);
    run(["trace", "merge", text(&early), "-o", text(&both), "--force"]).expect_failure(&["name two or more"]);
    assert_sound(&both);
}

#[test]
fn events_and_verdicts_are_exported_in_every_format() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let events = count(&info(&trace), "events");
    let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count() as u64;
    for (name, first) in
        [("e.csv", &b"time_ns,epoch,"[..]), ("e.jsonl", b"{\"time_ns\":"), ("e.parquet", b"PAR1"), ("e.json", b"{")]
    {
        let file = dir.path().join(name);
        let done = run(["trace", "convert", "--json", text(&trace), "-o", text(&file)]).expect_json();
        assert_schema(&done, "pagesieve.trace.convert");
        assert_eq!(count(&done, "rows"), events);
        assert!(fs::read(&file).unwrap().starts_with(first), "{name}");
    }
    assert_eq!((lines(&dir.path().join("e.csv")), lines(&dir.path().join("e.jsonl"))), (events + 1, events));
    let drawn: Value = serde_json::from_slice(&fs::read(dir.path().join("e.json")).unwrap()).unwrap();
    assert!(at(&drawn, "traceEvents").as_array().unwrap().len() > 20);
    let verdicts = dir.path().join("v.csv");
    let engine = ["--policy", "aging", "--block-size", "128KiB", "--interval", "1s"];
    let convert = ["trace", "convert", "--rows", "verdicts", "--json", text(&trace), "-o", text(&verdicts)];
    let done = run(convert.iter().chain(&engine)).expect_json();
    let replay = run(["replay", "--json", text(&trace)].iter().chain(&engine)).expect_json();
    assert_eq!(at(&done, "replay"), &replay, "it is the same replay");
    assert_eq!(lines(&verdicts), count(&replay, "blocks.total") + 1);
    let printed = run(["trace", "convert", text(&trace), "-o", "-", "--to", "csv"]).expect_quiet_success();
    assert_eq!(printed.as_bytes(), fs::read(dir.path().join("e.csv")).unwrap(), "nothing but rows on standard output");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    for verb in ["trace info", "trace validate", "sweep", "verify", "replay"] {
        let line = format!("\"$0\" {verb} \"$1\" | true");
        let done = run_command(Command::new("bash").args(["-o", "pipefail", "-c", &line, PAGESIEVE, text(&trace)]));
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{verb}: {done:?}");
    }
    for format in ["csv", "jsonl"] {
        let line = "\"$0\" trace convert \"$1\" -o - --to \"$2\" | head -n 1";
        let done = run_command(Command::new("bash").args(["-o", "pipefail", "-c", line, PAGESIEVE, text(&trace), format]));
        assert_eq!((done.code, done.stderr.as_str(), done.stdout.lines().count()), (Some(0), "", 1), "{done:?}");
    }
}

#[test]
fn recordings_of_other_tools_become_traces() {
    let dir = scratch();
    for (name, tool) in
        [("perf-explicit.txt", "perf"), ("perf-tracepoints.txt", "perf"), ("lackey.txt", "lackey"), ("damo.json", "damo")]
    {
        let trace = dir.path().join(name).with_extension("trace");
        let done = run(["trace", "import", "--json", text(&data(name)), "-o", text(&trace), "--class", "light"]).expect_json();
        assert_schema(&done, "pagesieve.trace.import");
        assert_eq!(at(&done, "tool"), tool);
        assert_sound(&trace);
        let info = info(&trace);
        assert_eq!((at(&info, "source"), at(&info, "class")), (&"imported".into(), &"light".into()));
        assert_eq!(count(&info, "events"), count(&done, "events"));
        let report = dir.path().join(format!("{name}-report"));
        run(["report", text(&trace), "-o", text(&report)]).expect_quiet_success();
        assert!(fs::read_to_string(report.join("index.html")).unwrap().contains("imported"), "{name}");
    }
    let piped = dir.path().join("piped.trace");
    let mut child = Command::new(PAGESIEVE)
        .args(["trace", "import", "-", "--from", "lackey", "--epoch", "10us", "-o", text(&piped)])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&fs::read(data("lackey.txt")).unwrap()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_sound(&piped);
}

#[test]
fn what_cannot_be_done_is_said_in_one_line() {
    let dir = scratch();
    let (trace, out) = (synth(dir.path(), "a.trace", 1), dir.path().join("out.trace"));
    let cut = |more: &[&str]| run(["trace", "cut", text(&trace), "-o", text(&out)].iter().chain(more));
    cut(&["--from", "2s", "--to", "1s"]).expect_failure(&["a.trace", "before it begins", "--to"]);
    cut(&["--from", "1h"]).expect_failure(&["no epoch lies there", "from 0 s to 3."]);
    cut(&["--gfn", "0x1000..0x2000"]).expect_failure(&["no memory slot holds any", "0x0..0x400"]);
    cut(&["--gfn", "9..9"]).expect_failure(&["0x9..0x9 holds none"]);
    cut(&["--gfn", "9-12"]).expect_usage_error(&["no range of guest frames", "0x100..0x200"]);
    assert!(!out.exists(), "nothing was written");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays behind");

    let convert = |out: &Path, more: &[&str]| run(["trace", "convert", text(&trace), "-o", text(out)].iter().chain(more));
    convert(&dir.path().join("a.xls"), &[]).expect_failure(&["name ends with none of .csv", "--to"]);
    convert(Path::new("-"), &[]).expect_failure(&["--to"]);
    convert(&dir.path().join("a.csv"), &["--to", "xls"]).expect_usage_error(&["use csv, jsonl, parquet or perfetto"]);
    convert(&dir.path().join("a.csv"), &["--policy", "aging"]).expect_usage_error(&["--rows"]);
    let import = |file: &Path, more: &[&str]| run(["trace", "import", text(file), "-o", text(&out)].iter().chain(more));
    import(&trace, &[]).expect_failure(&["a trace already"]);
    import(&dir.path().join("none"), &[]).expect_failure(&["there is no such file"]);
    import(dir.path(), &[]).expect_failure(&["it is a directory"]);
    import(&data("README.md"), &[]).expect_failure(&["--from perf, damo or lackey"]);
    import(&data("README.md"), &["--from", "perf"]).expect_failure(&["perf record -d", "perf script"]);
    import(&data("damo.json"), &["--from", "vmstat"]).expect_usage_error(&["use perf, damo or lackey"]);
}

#[test]
fn no_file_is_lost() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let before = fs::read(&trace).unwrap();
    let link = dir.path().join("link.trace");
    std::os::unix::fs::symlink(&trace, &link).unwrap();
    for same in [&trace, &link] {
        run(["trace", "cut", text(&trace), "-o", text(same), "--force"]).expect_failure(&["it is the input"]);
        run(["trace", "convert", "--to", "csv", text(&trace), "-o", text(same), "--force"]).expect_failure(&["it is the input"]);
        run(["trace", "merge", text(&trace), text(&trace), "-o", text(same), "--force"]).expect_failure(&["it is the input"]);
    }
    assert_eq!(fs::read(&trace).unwrap(), before);
    let mine = dir.path().join("mine.csv");
    fs::write(&mine, "mine").unwrap();
    run(["trace", "convert", text(&trace), "-o", text(&mine)]).expect_failure(&["the file exists", "--force"]);
    run(["trace", "import", text(&data("damo.json")), "-o", text(&mine)]).expect_failure(&["the file exists"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    // A run that fails leaves the old file, even if it may be replaced.
    let gone = ["trace", "cut", text(&trace), "-o", text(&mine), "--force", "--from", "1h"];
    run(gone).expect_failure(&["no epoch lies there"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    run(["trace", "convert", text(&trace), "-o", text(&mine), "--force"]).expect_quiet_success();
    assert!(fs::read_to_string(&mine).unwrap().starts_with("time_ns"));
    let full = run(["trace", "convert", "--to", "csv", text(&trace), "-o", "/dev/full"]);
    full.expect_failure(&["write the rows", "No space left"]);
    // Nothing whole, nothing to keep.
    let stump = changed(&trace, "stump.trace", |bytes| bytes[400] ^= 1);
    run(["trace", "convert", text(&stump), "-o", text(&mine), "--force"]).expect_failure(&["read any of it"]);
    assert!(fs::read_to_string(&mine).unwrap().starts_with("time_ns"));
    fs::set_permissions(&mine, fs::Permissions::from_mode(0o640)).unwrap();
    run(["trace", "convert", text(&trace), "-o", text(&mine), "--force"]).expect_quiet_success();
    assert_eq!(fs::metadata(&mine).unwrap().permissions().mode() & 0o777, 0o640, "those of the file that was there");
}

#[test]
fn no_input_is_taken_for_the_output() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let before = fs::read(&trace).unwrap();
    let hard = dir.path().join("hard.trace");
    fs::hard_link(&trace, &hard).unwrap();
    run(["sweep", text(&trace), "-o", text(&hard), "--force"]).expect_failure(&["it is the input"]);
    assert_eq!(fs::read(&trace).unwrap(), before);
    let plan = dir.path().join("plan.toml");
    fs::write(&plan, "policy = [\"proven\"]\n").unwrap();
    run(["sweep", text(&trace), "--sweep", text(&plan), "-o", text(&plan), "--force"]).expect_failure(&["it is the input"]);
    let report = dir.path().join("report");
    run(["report", text(&trace), "-o", text(&report)]).expect_quiet_success();
    let summary = report.join("summary.json");
    let before = fs::read(&summary).unwrap();
    run(["compare", text(&summary), text(&summary), "-o", text(&summary), "--force"]).expect_failure(&["it is the input"]);
    assert_eq!(fs::read(&summary).unwrap(), before);
}

#[test]
fn tables_may_be_read_by_whoever_the_umask_allows_and_rows_of_a_trace_by_its_owner() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let (table, rows) = (dir.path().join("sweep.txt"), dir.path().join("rows.csv"));
    let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    let line = "umask 022; \"$0\" sweep \"$1\" -o \"$2\" && \"$0\" trace convert \"$1\" -o \"$3\"";
    run_command(Command::new("bash").args(["-c", line, PAGESIEVE, text(&trace), text(&table), text(&rows)]))
        .expect_quiet_success();
    assert_eq!([mode(&table), mode(&rows)], [0o644, 0o600]);
}

#[test]
fn a_run_that_is_stopped_leaves_the_old_file_and_no_draft() {
    let dir = scratch();
    let out = dir.path().join("old.trace");
    fs::write(&out, "old").unwrap();
    // It waits for somebody who writes into it.
    let input = dir.path().join("pipe");
    assert_eq!(run_command(Command::new("mkfifo").arg(&input)).code, Some(0));
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut running =
            Background::spawn(Command::new(PAGESIEVE).args(["trace", "import", text(&input), "--force", "-o", text(&out)]));
        wait_until("it minds signals", || has_thread(running.pid(), "signals"));
        let files = || fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(files(), 3, "the draft is there");
        running.signal(signal);
        wait_until("it ends", || !running.is_running());
        assert_eq!((files(), fs::read_to_string(&out).unwrap().as_str()), (2, "old"), "{signal:?}");
    }
}

fn has_thread(pid: u32, name: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    threads.flatten().any(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
}

#[test]
fn a_trace_that_was_cut_off_or_damaged_is_used_up_to_its_last_whole_frame() {
    let dir = scratch();
    let trace = synth(dir.path(), "whole.trace", 1);
    let out = |name: &str| dir.path().join(name);
    let short = changed(&trace, "short.trace", |bytes| bytes.truncate(bytes.len() * 6 / 10));
    let frames = count(&info(&short), "frames");
    for (verb, name) in [("cut", "short-cut.trace"), ("convert", "short.csv")] {
        let line = run(["trace", verb, text(&short), "-o", text(&out(name))]).expect_quiet_success();
        assert!(line.contains(&format!("{frames} frames")) && line.contains("it was cut"), "{line}");
    }
    let damaged = changed(&trace, "damaged.trace", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
    let words = ["it is damaged at byte", "read up to frame", "what is whole is in"];
    run(["trace", "cut", text(&damaged), "-o", text(&out("d.trace"))]).expect_failure(&words);
    run(["trace", "convert", text(&damaged), "-o", text(&out("d.csv"))]).expect_failure(&words);
    let verdicts = ["--rows", "verdicts", "--scenario", "precopy"];
    run(["trace", "convert", text(&damaged), "-o", text(&out("v.csv"))].iter().chain(&verdicts)).expect_failure(&words);
    let late = out("late.trace");
    run(["trace", "cut", text(&trace), "-o", text(&late), "--from", "2s"]).expect_quiet_success();
    run(["trace", "merge", text(&damaged), text(&late), "-o", text(&out("both.trace"))]).expect_failure(&words);
    for whole in ["short-cut.trace", "d.trace", "both.trace"] {
        assert_sound(&out(whole));
    }
    assert!(fs::read_to_string(out("v.csv")).unwrap().starts_with("time_ns,round"));
}

#[test]
fn the_examples_in_the_help_work() {
    let dir = scratch();
    let demo = synth(dir.path(), "demo.trace", 1);
    for (name, from, to) in [("monday.trace", "0s", "1s"), ("tuesday.trace", "1s", "2s")] {
        let part = dir.path().join(name);
        run(["trace", "cut", text(&demo), "-o", text(&part), "--from", from, "--to", to]).expect_quiet_success();
    }
    let bin = Path::new(PAGESIEVE).parent().unwrap();
    let path = format!("{}:{}", text(bin), std::env::var("PATH").unwrap_or_default());
    for verb in ["cut", "merge", "convert"] {
        let help = run(["trace", verb, "--help"]).expect_quiet_success();
        let examples = help.lines().skip_while(|line| !line.starts_with("Example")).skip(1);
        let examples: Vec<_> = examples.take_while(|line| line.starts_with("  ")).collect();
        assert!(!examples.is_empty(), "{verb} has no example");
        for example in examples {
            let done = run_command(Command::new("sh").args(["-c", example]).current_dir(dir.path()).env("PATH", &path));
            assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{example}: {done:?}");
        }
    }
}

/// Runs the command until it has said everything, and returns the most memory it had, in KiB, as far as it was seen.
fn peak_memory(arguments: &[&str]) -> u64 {
    let mut child = Command::new(PAGESIEVE).args(arguments).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    let mut buffer = vec![0; 16 << 10];
    // A pipe holds little: between two reads the command cannot get far.
    while output.read(&mut buffer).unwrap() > 0 {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0);
        peak = peak.max(kib);
    }
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn memory_does_not_grow_with_the_trace() {
    let dir = scratch();
    let make = |name: &str, seconds: &str| {
        let file = dir.path().join(name);
        let options = ["--class", "heavy-io", "--memory", "16MiB", "--epoch", "500ms", "--no-fingerprints"];
        run(["synth", "-o", text(&file), "--duration", seconds].iter().chain(&options)).expect_quiet_success();
        file
    };
    let (small, large) = (make("small.trace", "100s"), make("large.trace", "800s"));
    let (few, many) = (count(&info(&small), "events"), count(&info(&large), "events"));
    assert!(many > 7 * few && few > 150_000, "{few} and {many} events");
    for options in [
        &["--to", "csv"][..],
        &["--to", "jsonl"],
        &["--to", "parquet"],
        &["--to", "csv", "--rows", "verdicts", "--interval", "500ms"],
    ] {
        let peak = |file: &Path| peak_memory(&[&["trace", "convert", text(file), "-o", "-"], options].concat());
        let (one, eight) = (peak(&small), peak(&large));
        assert!(one > 1000, "{one} KiB were seen");
        assert!(eight < one + one / 4, "{options:?}: {one} KiB for {few} events, {eight} KiB for {many}");
    }
}

/// Runs what another tool takes to record; if it cannot, the test is skipped by name.
fn records(test: &str, line: &str, arguments: &[&Path]) -> bool {
    let done = run_command(Command::new("sh").args(["-c", line, PAGESIEVE]).args(arguments));
    if done.code != Some(0) {
        pagesieve_ebpf::testing::skipped(test, &format!("the tool does not record here: {}", done.stderr.trim()));
    }
    done.code == Some(0)
}

#[test]
fn a_process_recorded_by_perf_is_imported() {
    let dir = scratch();
    let (raw, printed, trace) = (dir.path().join("perf.data"), dir.path().join("faults.txt"), dir.path().join("faults.trace"));
    let line = "perf record -q -d --sample-cpu -e page-faults -c 1 -o \"$1\" -- \"$0\" workload --memory 8MiB --seconds 1 >/dev/null \
                && perf script --ns -F comm,pid,tid,cpu,time,event,addr,ip -i \"$1\" > \"$2\"";
    if !records("a_process_recorded_by_perf_is_imported", line, &[&raw, &printed]) {
        return;
    }
    let done = run(["trace", "import", "--json", text(&printed), "-o", text(&trace)]).expect_json();
    assert_eq!((at(&done, "tool"), count(&done, "malformed")), (&"perf".into(), 0), "{done}");
    assert!(count(&done, "events") >= 2048 && count(&done, "pages") >= 2048, "the workload touches 2048 pages: {done}");
    assert_sound(&trace);
    assert_eq!(at(&info(&trace), "target.command"), "pagesieve");
}

#[test]
fn a_program_under_lackey_is_imported() {
    let dir = scratch();
    let (printed, trace) = (dir.path().join("mem.txt"), dir.path().join("mem.trace"));
    let line = "valgrind --tool=lackey --trace-mem=yes --log-file=\"$1\" /bin/true";
    if !records("a_program_under_lackey_is_imported", line, &[&printed]) {
        return;
    }
    let done = run(["trace", "import", "--json", "--epoch", "20us", text(&printed), "-o", text(&trace)]).expect_json();
    assert_eq!((at(&done, "tool"), count(&done, "malformed")), (&"lackey".into(), 0), "{done}");
    assert_sound(&trace);
    let verified = run(["verify", "--json", text(&trace)]).expect_json();
    assert!(count(&verified, "dirty_log") > 0 && count(&verified, "unknown") == 0, "{verified}");
    assert_eq!(at(&verified, "recall.log_in_events"), 1.0, "every page stored to has its event");
}
