//! What the command does with files that are no traces, options that make no sense, and places it cannot write to: one clear
//! line, a status that is not 0, and nothing lost.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{PAGESIEVE, changed, run, run_command, scratch, synth, text};

/// Every verb that reads a trace.
const READERS: [&[&str]; 7] = [
    &["replay"],
    &["replay", "--json", "--doublecheck"],
    &["verify"],
    &["report", "-o", "/dev/null/report"],
    &["trace", "info"],
    &["trace", "validate"],
    &["trace", "dump"],
];

/// All of them refuse the file with these words, and name it.
#[track_caller]
fn all_refuse(file: &Path, words: &[&str]) {
    for verb in READERS {
        let refused = run(verb.iter().copied().chain([text(file)]));
        refused.expect_failure(words);
        refused.expect_failure(&[text(file)]);
    }
}

#[test]
fn a_file_that_is_no_trace_is_refused() {
    let dir = scratch();
    let file = dir.path().join("notes.txt");
    for content in ["Dear reader, this is no trace.\n", "P", "\u{93}PSTR\n", &"\0".repeat(100_000)] {
        fs::write(&file, content).unwrap();
        all_refuse(&file, &["not a pagesieve trace"]);
    }
}

#[test]
fn an_empty_file_a_folder_and_no_file_at_all_are_told_apart() {
    let dir = scratch();
    let file = dir.path().join("empty.trace");
    fs::write(&file, "").unwrap();
    all_refuse(&file, &["the file is empty"]);
    all_refuse(dir.path(), &["it is a directory", "name a trace"]);
    all_refuse(&dir.path().join("missing.trace"), &["there is no such file", "check its name"]);
}

#[test]
fn a_trace_of_another_major_version_says_what_to_do() {
    let dir = scratch();
    let trace = synth(dir.path(), "ours.trace", 1);
    // Bytes 8 and 9 are the major version; a reader looks at it before the checksum.
    let future = changed(&trace, "future.trace", |bytes| bytes[8] += 1);
    all_refuse(&future, &["too new", "update pagesieve"]);
    let past = changed(&trace, "past.trace", |bytes| bytes[8] -= 1);
    all_refuse(&past, &["too old", "record again"]);
}

#[test]
fn a_flipped_bit_is_an_error_that_says_where() {
    let dir = scratch();
    let trace = synth(dir.path(), "whole.trace", 1);
    let middle = changed(&trace, "flipped.trace", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    });
    for verb in READERS {
        let refused = run(verb.iter().copied().chain([text(&middle)]));
        assert!(refused.stderr.contains("read frame ") && refused.stderr.contains("frames before it are whole"), "{refused:?}");
        assert_eq!((refused.code, refused.stderr.lines().count()), (Some(3), 1), "{refused:?}");
        // A dump has printed the whole frames by then; the others print results of whole traces only.
        assert_eq!(refused.stdout.is_empty(), verb[1..] != ["dump"], "{refused:?}");
    }
    let header = changed(&trace, "header.trace", |bytes| bytes[40] ^= 1);
    all_refuse(&header, &["header is damaged", "get the file again"]);
    let tail = changed(&trace, "tail.trace", |bytes| *bytes.last_mut().unwrap() ^= 1);
    all_refuse_but_dump(&tail, &["read the index"]);
}

#[track_caller]
fn all_refuse_but_dump(file: &Path, words: &[&str]) {
    for verb in READERS.iter().filter(|verb| verb[1..] != ["dump"]) {
        run(verb.iter().copied().chain([text(file)])).expect_failure(words);
    }
}

#[test]
fn a_trace_that_was_cut_is_read_up_to_its_last_whole_frame() {
    let dir = scratch();
    let trace = synth(dir.path(), "whole.trace", 1);
    let whole = run(["trace", "info", "--json", text(&trace)]).expect_json();
    assert_eq!((&whole["complete"], &whole["incomplete"]), (&true.into(), &serde_json::Value::Null));
    let frames = whole["frames"].as_u64().unwrap();
    let cut = changed(&trace, "cut.trace", |bytes| bytes.truncate(bytes.len() * 6 / 10));

    let info = run(["trace", "info", "--json", text(&cut)]).expect_json();
    let left = info["frames"].as_u64().unwrap();
    assert!(0 < left && left < frames, "{left} of {frames}");
    assert_eq!(info["complete"], false);
    assert!(info["incomplete"].as_str().unwrap().contains("the file was cut"), "{info}");
    assert!(run(["trace", "info", text(&cut)]).expect_quiet_success().contains("the file was cut"));
    assert!(run(["trace", "validate", text(&cut)]).expect_quiet_success().contains("it was cut"));
    assert!(run(["trace", "dump", text(&cut)]).expect_quiet_success().contains("end: cut after"));
    let replay = run(["replay", "--json", text(&cut)]).expect_json();
    assert_eq!(replay["epochs"], left);
    let verify = run(["verify", "--json", text(&cut)]).expect_json();
    assert_eq!((&verify["epochs"], &verify["ok"]), (&left.into(), &true.into()));
    run(["report", "-o", text(&dir.path().join("report")), text(&cut)]).expect_quiet_success();
}

#[test]
fn a_trace_cut_before_its_first_whole_frame_cannot_be_replayed() {
    let dir = scratch();
    let trace = synth(dir.path(), "whole.trace", 1);
    let in_header = changed(&trace, "header.trace", |bytes| bytes.truncate(50));
    all_refuse(&in_header, &["inside its header", "record again"]);
    let header_only = changed(&trace, "none.trace", |bytes| {
        let header = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        bytes.truncate(20 + header + 10);
    });
    for verb in ["replay", "verify"] {
        run([verb, text(&header_only)]).expect_failure(&["no whole frame", "record again"]);
    }
    let info = run(["trace", "info", "--json", text(&header_only)]).expect_json();
    assert_eq!((&info["frames"], &info["complete"]), (&0.into(), &false.into()));
}

#[test]
fn one_bad_file_among_good_ones_is_named() {
    let dir = scratch();
    let good = synth(dir.path(), "good.trace", 1);
    let bad = dir.path().join("bad.trace");
    fs::write(&bad, "no").unwrap();
    for verb in ["replay", "verify"] {
        run([verb, text(&good), text(&bad)]).expect_failure(&[text(&bad)]);
    }
}

#[test]
fn options_that_make_no_sense_are_refused_with_an_example() {
    let cases: [(&[&str], &[&str]); 17] = [
        (&["replay", "--block-size", "5000", "x"], &["--block-size", "5000", "64KiB"]),
        (&["replay", "--block-size", "0", "x"], &["--block-size", "64KiB"]),
        (&["replay", "--block-size", "2KiB", "x"], &["--block-size", "64KiB"]),
        (&["report", "--block-size", "5000", "x"], &["--block-size", "64KiB"]),
        (&["replay", "--bandwidth", "0", "x"], &["--bandwidth", "1Gbit"]),
        (&["replay", "--bandwidth", "0Gbit", "x"], &["--bandwidth", "1Gbit"]),
        (&["replay", "--interval", "0", "x"], &["--interval", "longer than zero"]),
        (&["replay", "--interval", "-1s", "x"], &["-1"]),
        (&["replay", "--policy", "magic", "x"], &["--policy", "proven"]),
        (&["replay", "--scenario", "magic", "x"], &["--scenario", "precopy"]),
        (&["replay"], &["FILES"]),
        (&["record", "--epoch", "0s", "--", "true"], &["--epoch", "longer than zero"]),
        (&["record", "--duration", "0", "--", "true"], &["--duration", "longer than zero"]),
        (&["record", "--map-size-limit", "0", "--", "true"], &["--map-size-limit"]),
        (&["record", "--region", "2000-1000", "--", "true"], &["--region", "START-END"]),
        (&["record", "--pid", "1", "--", "true"], &["--pid", "cannot be used with"]),
        (&["synth", "--class", "light", "--epoch", "0", "-o", "x"], &["--epoch", "longer than zero"]),
    ];
    for (args, words) in cases {
        run(args).expect_usage_error(words);
    }
    for unknown in [&["frobnicate"][..], &["record", "--frobnicate"], &["trace", "frobnicate"]] {
        run(unknown).expect_usage_error(&["frobnicate"]);
    }
}

#[test]
fn nothing_can_be_foretold_of_a_guest_that_is_not_watched() {
    run(["migrate", "--qmp", "x", "--dry-run", "--watch", "0s"]).expect_failure(&["must be watched", "--watch"]);
}

#[test]
fn a_synthetic_guest_of_a_size_that_makes_no_sense_is_refused() {
    let dir = scratch();
    let file = dir.path().join("tiny.trace");
    run(["synth", "--class", "light", "--memory", "4KiB", "-o", text(&file)]).expect_failure(&["choose 1 MiB to 1 TiB"]);
    assert!(!file.exists());
}

#[test]
fn a_place_where_nothing_can_be_written_is_refused_before_anything_is_done() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let nowhere = dir.path().join("missing").join("x.trace");
    let started = dir.path().join("started");
    for force in [None, Some("--force")] {
        let record =
            |output: &Path| run(["record", "-o", text(output)].into_iter().chain(force).chain(["--", "touch", text(&started)]));
        let make = |output: &Path| run(["synth", "--class", "light", "-o", text(output)].into_iter().chain(force));
        for refused in [record(&nowhere), make(&nowhere)] {
            refused.expect_failure(&["there is no directory", "make it"]);
        }
        for refused in [record(dir.path()), make(dir.path())] {
            refused.expect_failure(&["it is a directory", "name a file"]);
        }
    }
    assert!(!started.exists(), "the command to record was not started");
    run(["report", text(&trace), "-o", text(&trace)]).expect_failure(&["make the folder", "-o"]);
}

#[test]
fn an_output_that_exists_is_kept_unless_force_is_given() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let (before, started) = (fs::read(&trace).unwrap(), dir.path().join("started"));
    let make = ["synth", "--class", "idle", "--memory", "4MiB", "--duration", "1s", "-o", text(&trace)];
    run(make).expect_failure(&["the file exists", "--force"]);
    assert_eq!(fs::read(&trace).unwrap(), before);
    if support::can_record("an_output_that_exists_is_kept_unless_force_is_given") {
        run(["record", "-o", text(&trace), "--", "touch", text(&started)]).expect_failure(&["the file exists", "--force"]);
        assert!(!started.exists(), "the command to record was not started");
        assert_eq!(fs::read(&trace).unwrap(), before);
        // The command ends before there is a trace to put in the old one's place.
        run(["record", "--force", "-o", text(&trace), "--", "true"]).expect_failure(&["ended before its first epoch"]);
        assert_eq!(fs::read(&trace).unwrap(), before);
    }
    run(make.into_iter().chain(["--force"])).expect_quiet_success();
    assert_eq!(run(["trace", "info", "--json", text(&trace)]).expect_json()["class"], "idle");
}

#[test]
fn a_report_that_exists_is_kept_unless_force_is_given() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    for name in ["index.html", "summary.json", "summary.md"] {
        let report = dir.path().join(format!("report-{name}"));
        fs::create_dir(&report).unwrap();
        fs::write(report.join(name), "mine").unwrap();
        let args = ["report", text(&trace), "-o", text(&report)];
        run(args).expect_failure(&["a report is there already", "--force"]);
        assert_eq!(fs::read(report.join(name)).unwrap(), b"mine");
        assert_eq!(fs::read_dir(&report).unwrap().count(), 1);
        run(args.into_iter().chain(["--force"])).expect_quiet_success();
        assert_ne!(fs::read(report.join(name)).unwrap(), b"mine");
    }
}

#[test]
fn a_process_that_does_not_exist_is_said_not_to() {
    if !support::can_record("a_process_that_does_not_exist_is_said_not_to") {
        return;
    }
    let dir = scratch();
    let file = dir.path().join("x.trace");
    // No Linux gives a number above 2^22.
    for pid in ["4194305", "4294967295", "0"] {
        run(["record", "--pid", pid, "-o", text(&file)]).expect_failure(&["there is no such process", "see `ps`"]);
    }
    run(["record", "--pid", "4294967296", "-o", text(&file)]).expect_usage_error(&["--pid"]);
    assert!(!file.exists());
}

#[test]
fn recording_itself_is_refused() {
    if !support::can_record("recording_itself_is_refused") {
        return;
    }
    let dir = scratch();
    let line = format!("exec '{PAGESIEVE}' record --pid $$ -o '{}'", text(&dir.path().join("x.trace")));
    run_command(Command::new("sh").args(["-c", &line])).expect_failure(&["this command itself", "another process"]);
}

#[test]
fn a_command_that_cannot_be_started_is_named() {
    if !support::can_record("a_command_that_cannot_be_started_is_named") {
        return;
    }
    let dir = scratch();
    let file = dir.path().join("x.trace");
    for command in ["no-such-command-anywhere", "/etc/passwd", text(dir.path())] {
        run(["record", "-o", text(&file), "--", command]).expect_failure(&["start `", command, "check its name and path"]);
    }
    run(["record", "-o", text(&file), "--"]).expect_usage_error(&["--pid"]);
    assert!(!file.exists());
}
