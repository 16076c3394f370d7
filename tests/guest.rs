//! Real guests: a Linux under load in QEMU, recorded and verified.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::qemu::{Qemu, can_run_systems, turn};
use support::slow_disk::{self, SlowDisk};
use support::{Run, count, run, scratch, text, wait_long};

/// Records a guest for some seconds and returns what the check of the trace says.
#[track_caller]
fn verified(qemu: &Qemu, options: &[&str], trace: &Path) -> Value {
    let before = qemu.self_check();
    let fixed = ["record", "--epoch", "500ms", "--duration", "8s", "--force", "-o", text(trace)];
    let done: Run = run(fixed.iter().chain(options));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let verified: Run = run(["verify", "--json", text(trace)]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    assert_eq!(run(["trace", "validate", text(trace)]).code, Some(0));
    wait_long("the guest's self-check to go on", || qemu.self_check() > before);
    serde_json::from_str(&verified.stdout).expect("verify prints JSON")
}

/// Records a guest by its monitor with page contents compared, and checks that nothing is missing.
#[track_caller]
fn records_completely(qemu: &Qemu) {
    let dir = scratch();
    let trace = dir.path().join("guest.trace");
    let found = verified(qemu, &["--fingerprints", "--qmp", text(&qemu.socket())], &trace);
    assert_eq!(found["recall"]["content_in_log"], 1.0, "{found:#}");
    assert!(count(&found, "content_changed") > 0 && count(&found, "epochs") > 1, "{found:#}");
    for policy in ["send-all", "proven", "aging", "adaptive", "predictive"] {
        assert_eq!(count(&found["lost_pages"], policy), 0, "{policy}");
    }
    assert_eq!(count(&found, "rechecked_epochs"), 0, "disk I/O is drained, so no page is in doubt: {found:#}");
    let info = run(["trace", "info", "--json", text(&trace)]).expect_json();
    assert_eq!((&info["target"]["kind"], &info["complete"]), (&"qemu".into(), &true.into()));
}

#[test]
fn a_quiet_guest_is_recorded_completely() {
    if can_run_systems("a_quiet_guest_is_recorded_completely") {
        let _turn = turn();
        records_completely(&Qemu::boot(&["--class", "light", "--memory", "512M", "--disk", "buffered"]));
    }
}

#[test]
fn a_large_guest_with_nodes_and_a_hole_is_recorded_completely() {
    if can_run_systems("a_large_guest_with_nodes_and_a_hole_is_recorded_completely") {
        let _turn = turn();
        records_completely(&Qemu::boot(&["--class", "mixed", "--memory", "4G", "--numa", "2", "--backend", "memfd"]));
    }
}

#[test]
fn a_guest_with_disk_io_in_flight_is_recorded_completely() {
    if !can_run_systems("a_guest_with_disk_io_in_flight_is_recorded_completely") {
        return;
    }
    let _turn = turn();
    let dir = scratch();
    let drive = slow_disk::drive(&slow_disk::noise(dir.path()), "native");
    let drive: Vec<_> = drive.iter().map(String::as_str).collect();
    let qemu = Qemu::boot(&[&["--class", "idle", "--memory", "512M", "--disk", "buffered", "--"], &drive[..]].concat());
    // Where the disk cannot be slowed down, less is in flight and the test shows less.
    let _slow = SlowDisk::for_process(qemu.process.pid(), qemu.folder(), 300, 16 << 20);
    records_completely(&qemu);
}

#[test]
fn without_a_monitor_disk_io_in_flight_leaves_every_page_in_doubt() {
    if !can_run_systems("without_a_monitor_disk_io_in_flight_leaves_every_page_in_doubt") {
        return;
    }
    let _turn = turn();
    let dir = scratch();
    let trace = dir.path().join("guest.trace");
    let qemu = Qemu::boot(&["--class", "heavy-io", "--memory", "512M", "--disk", "native", "--iops", "300"]);
    let found = verified(&qemu, &["--pid", &qemu.process.pid().to_string()], &trace);
    let epochs = count(&found, "epochs") - 1;
    assert_eq!(count(&found["unknown_by_reason"], "direct_io"), epochs * (512 << 8), "{found:#}");
}

#[test]
fn memory_comes_to_a_running_guest_and_goes() {
    if !can_run_systems("memory_comes_to_a_running_guest_and_goes") {
        return;
    }
    let _turn = turn();
    let dir = scratch();
    let trace = dir.path().join("guest.trace");
    // Memory that the kernel may use for anything at all can hardly be taken from it again.
    let movable = ["--append", "memhp_default_state=online_movable"];
    let mut qemu =
        Qemu::boot(&[&["--class", "idle", "--memory", "512M", "--slots", "2", "--maxmem", "2G"], &movable[..]].concat());
    let socket = qemu.socket();
    let mut record = std::process::Command::new(support::PAGESIEVE);
    let options = ["record", "--fingerprints", "--epoch", "300ms", "-o", text(&trace), "--qmp", text(&socket)];
    let recorder = support::Background::spawn(record.args(options).stdout(std::process::Stdio::null()));
    let slots = || {
        let dump: Run = run(["trace", "dump", "--json", text(&trace)]);
        let frames = dump.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        frames
            .filter(|line| line["slots"].is_array())
            .map(|line| line["slots"].as_array().map_or(0, Vec::len))
            .collect::<Vec<_>>()
    };
    wait_long("the first frame", || slots() == [1]);
    qemu.execute("object-add", json!({ "qom-type": "memory-backend-memfd", "id": "more", "size": 256 << 20, "share": true }));
    qemu.execute("device_add", json!({ "driver": "pc-dimm", "id": "dimm0", "memdev": "more" }));
    wait_long("the memory to be in the trace", || slots() == [1, 2]);
    wait_long("the guest to let it go", || {
        // The guest may refuse while the memory is in use. Whoever asks again while it is thinking gets an error, which is no matter.
        qemu.human("device_del dimm0");
        std::thread::sleep(std::time::Duration::from_millis(500));
        qemu.execute("query-memory-devices", json!({})) == json!([])
    });
    wait_long("the memory to leave the trace", || slots() == [1, 2, 1]);
    recorder.signal(rustix::process::Signal::INT);
    wait_long("the end of the file", || run(["trace", "info", "--json", text(&trace)]).stdout.contains("\"complete\": true"));
    let found: Run = run(["verify", text(&trace)]);
    assert_eq!(found.code, Some(0), "{}", found.stdout);
    assert!(qemu.self_check() > 0);
}
