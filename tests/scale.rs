//! Memory is that of the guest and of one epoch, and does not grow with the trace.

mod support;

use std::fs;
use std::process::Command;

use support::{PAGESIEVE, run, run_command, scratch, text};

/// Most memory of its own that a command may take here, in KiB.
const LIMIT: u64 = 96 << 10;

/// Runs the command with at most [`LIMIT`]: an allocation beyond fails, and the command with it.
fn limited(args: &[&str]) -> support::Run {
    let script = format!("ulimit -d {LIMIT}; exec \"$0\" \"$@\"");
    run_command(Command::new("sh").args(["-c", &script, PAGESIEVE]).args(args))
}

#[test]
fn a_long_trace_is_reported_checked_and_swept_in_little_memory() {
    let dir = scratch();
    let trace = dir.path().join("long.trace");
    let synth = ["synth", "--class", "heavy-io", "--memory", "64MiB", "--duration", "450s", "-o", text(&trace)];
    run(synth).expect_quiet_success();
    let info = run(["trace", "info", "--json", text(&trace)]).expect_json();
    let events = info["events"].as_u64().unwrap();
    // If all events were held, the limit would be broken: the test would mean nothing otherwise.
    assert!(events * size_of::<pagesieve_core::Access>() as u64 > LIMIT << 10, "{events} events");
    let report = dir.path().join("report");
    limited(&["report", text(&trace), "-o", text(&report)]).expect_quiet_success();
    assert!(fs::metadata(report.join("index.html")).is_ok_and(|page| page.len() > 10_000));
    limited(&["verify", text(&trace)]).expect_quiet_success();
    limited(&["sweep", text(&trace), "--block-size", "64KiB,256KiB"]).expect_quiet_success();
    limited(&["trace", "validate", text(&trace)]).expect_quiet_success();
}
