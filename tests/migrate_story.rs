//! What `pagesieve migrate` tells: before, on the way, and afterwards, whether the guest moved or not.

mod support;

use std::path::Path;

use serde_json::Value;
use support::destination::Destination;
use support::pair::Pair;
use support::qemu::can_run_systems;
use support::{Run, assert_schema, at, count, run, scratch, text, wait_long};

fn numbers(document: &Value, list: &str, path: &str) -> Vec<f64> {
    let list = at(document, list).as_array().expect("a list");
    list.iter().map(|entry| at(entry, path).as_f64().expect("a number")).collect()
}

/// A trace that another command can use.
fn check_trace(trace: &Path, rounds: usize) {
    run(["trace", "validate", text(trace)]).expect_quiet_success();
    let info = run(["trace", "info", "--json", text(trace)]).expect_json();
    assert_eq!((at(&info, "source").as_str(), count(&info, "lost_events")), (Some("ebpf"), 0));
    // The baseline, four while it was watched, one after each round and one after the pause.
    assert!(count(&info, "frames") >= 5 + rounds as u64, "{rounds} rounds in {info:#}");
    let verified = run(["verify", "--json", text(trace)]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let replayed = run(["replay", "--json", "--scenario", "precopy", text(trace)]).expect_json();
    assert_eq!(count(&replayed, "lost_pages"), 0);
}

fn text_of_a_failure(failed: &Run) {
    assert_eq!(failed.code, Some(3), "{failed:?}");
    assert!(failed.stdout.starts_with("not moved: it ended while memory was sent and the guest ran\n"), "{failed:?}");
    let lines: Vec<_> = failed.stdout.lines().collect();
    let table = lines.iter().position(|line| line.trim_start().starts_with("round ")).expect("a table of rounds");
    assert!(lines[table + 1].trim_start().starts_with("0 "), "{failed:?}");
    let said: Vec<_> = failed.stderr.lines().collect();
    assert!(said[0].starts_with("pagesieve: foretold: it does not converge at 400 Mbit/s"), "{failed:?}");
    failed.expect_words(&["faster than the wire", "it runs here"]);
}

#[test]
fn a_migration_is_foretold_and_told() {
    if !can_run_systems("a_migration_is_foretold_and_told") {
        return;
    }
    let dir = scratch();
    let mut pair = Pair::start("mixed", "buffered", &[]);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    let socket = pair.source.socket();
    let there = Destination::start(dir.path(), &["--guest", &format!("web1={}", text(&pair.destination.socket()))]);
    let to = format!("127.0.0.1:{}/web1", there.port);
    let arguments = |options: &[&'static str]| {
        ["migrate", "--qmp", text(&socket)].iter().chain(options).map(|&word| word.to_owned()).collect::<Vec<_>>()
    };

    // Beforehand. With more bandwidth it takes no longer, and the guest runs all the time.
    let dry = run(arguments(&["--dry-run", "--json", "--bandwidth-limit", "200Mbit"])).expect_json();
    assert_schema(&dry, "pagesieve.forecast");
    assert_eq!(numbers(&dry, "forecasts", "link.bandwidth"), [12.5e6, 25e6, 125e6, 1250e6, 3125e6]);
    let times = numbers(&dry, "forecasts", "total_time");
    assert!(times[2] > times[3] && times[3] > times[4] && times[4] > 0.0, "{times:?}");
    assert_eq!(pair.source.status(), "running");

    // No round is short enough: it is given up, and says so first.
    let hopeless =
        ["--to", &to, "--max-rounds", "1", "--downtime-limit", "1ns", "--bandwidth-limit", "400Mbit"].map(str::to_owned);
    text_of_a_failure(&run(arguments(&[]).into_iter().chain(hopeless)));
    assert_eq!(pair.source.status(), "running");

    // It moves.
    let before = pair.source.self_check();
    let trace = dir.path().join("move.trace");
    let recorded = ["--to", &to, "--record", text(&trace), "--max-rounds", "5"].map(str::to_owned);
    let moved = run(arguments(&["--json", "--force"]).into_iter().chain(recorded.clone())).expect_json();
    pair.destination.counts_on(before);
    assert_schema(&moved, "pagesieve.migrate");
    assert_eq!((at(&moved, "moved"), at(&moved, "error")), (&Value::Bool(true), &Value::Null));
    let wire: f64 = numbers(&moved, "rounds", "bytes_wire").iter().sum();
    assert_eq!(wire as u64, count(&moved, "bytes.wire"));
    assert!(count(&moved, "wire.sent") > count(&moved, "bytes.wire") + count(&moved, "device_state"), "{moved:#}");
    let rounds = at(&moved, "rounds").as_array().expect("a list");
    assert_eq!(rounds.last().map(|last| at(last, "paused")), Some(&Value::Bool(true)));
    let phases = at(&moved, "phases").as_array().expect("a list");
    let names: Vec<_> = phases.iter().map(|phase| at(phase, "phase").as_str().expect("a name")).collect();
    assert_eq!(names, ["opening", "watching", "precopy", "stop_and_copy", "devices", "handover"]);
    check_trace(&trace, rounds.len());
    // A trace that is there is not overwritten.
    run(arguments(&[]).into_iter().chain(recorded)).expect_failure(&["move.trace", "exists"]);
}
