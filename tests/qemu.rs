//! Real QEMU guests, without an operating system: where their memory is, and what happens to it while it is recorded.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::qemu::{Qemu, can_run_guests};
use support::{Background, PAGESIEVE, Run, run, scratch, text, wait_until};

const PAGE: u64 = 4096;

/// Records for a short time and returns the trace's lines as JSON.
#[track_caller]
fn recorded(target: &[&str], more: &[&str], trace: &Path) -> Vec<Value> {
    let options = ["record", "--epoch", "200ms", "--duration", "600ms", "--force", "-o", text(trace)];
    let done: Run = run(options.iter().chain(more).chain(target));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    dump(trace)
}

fn dump(trace: &Path) -> Vec<Value> {
    let dump: Run = run(["trace", "dump", "--json", text(trace)]);
    dump.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect()
}

/// The memory slots that a trace begins with.
fn slots(lines: &[Value]) -> Vec<Value> {
    lines[0]["slots"].as_array().unwrap_or_else(|| panic!("no slots in {}", lines[0])).clone()
}

fn notes(lines: &[Value]) -> Vec<String> {
    lines.iter().filter(|line| line["type"] == "note").map(|line| line["what"].to_string()).collect()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[test]
fn guest_memory_is_found_where_qemu_has_it_with_a_monitor_and_without() {
    if !can_run_guests("guest_memory_is_found_where_qemu_has_it_with_a_monitor_and_without") {
        return;
    }
    let shm = format!("/dev/shm/pagesieve-test-{}", std::process::id());
    let file = format!("memory-backend-file,id=f,size=1G,mem-path={shm},share=on");
    let (memfd, ram) = ("memory-backend-memfd,id=m,size=3G,share=on", "memory-backend-ram,id=r,size=2G");
    // As machine types before 4.0 name their backends.
    let by_path = "memory-backend-memfd,id=c,size=1G,share=on,x-use-canonical-path-for-ramblock-id=on";
    let (second, first) = ("node,nodeid=1,memdev=r", "node,nodeid=0,memdev=m");
    let guests: [&[&str]; 8] = [
        &["-machine", "q35,memory-backend=c", "-m", "1G", "-object", by_path],
        &["-machine", "pc", "-m", "5G", "-object", memfd, "-object", ram, "-numa", second, "-numa", first],
        &["-machine", "q35", "-m", "512"],
        &["-machine", "pc", "-m", "4G"],
        &["-machine", "q35,memory-backend=f", "-m", "1G", "-object", &file],
        &["-machine", "pc,memory-backend=m", "-m", "3G", "-object", memfd],
        &["-machine", "q35", "-m", "5G", "-object", memfd, "-object", ram, "-numa", "node,memdev=m", "-numa", "node,memdev=r"],
        &["-machine", "pc", "-m", "5G", "-object", memfd, "-object", ram, "-numa", "node,memdev=r", "-numa", "node,memdev=m"],
    ];
    let dir = scratch();
    for arguments in guests {
        let mut qemu = Qemu::start(arguments);
        let (socket, pid) = (qemu.socket(), qemu.process.pid().to_string());
        let by_monitor = slots(&recorded(&["--qmp", text(&socket)], &[], &dir.path().join("qmp.trace")));
        let by_process = slots(&recorded(&["--pid", &pid], &[], &dir.path().join("pid.trace")));
        assert_eq!(by_monitor, by_process, "{arguments:?}");
        let numa = arguments.contains(&"-numa");
        let mut bytes: BTreeMap<Option<u64>, u64> = BTreeMap::new();
        for slot in &by_monitor {
            let (base, pages, hva) = (number(slot, "base"), number(slot, "pages"), number(slot, "hva"));
            // QEMU itself says where the first, a middle and the last page are. It shows no RAM under the ROMs below 1 MiB.
            for page in [0, pages / 2, pages - 1] {
                let told = qemu.human(&format!("gpa2hva {:#x}", (base + page) * PAGE));
                assert!(told.contains(&format!("is {:#x}", hva + page * PAGE)), "{arguments:?}: {slot} page {page}: {told}");
            }
            assert!(base + pages <= 0xc_0000 || base >= 0x10_0000, "{slot} lies in the PCI hole");
            *bytes.entry(slot["numa_node"].as_u64()).or_default() += pages * PAGE;
        }
        let node = |node: u64, gib: u64| (numa.then_some(node), gib << 30);
        let expected: Vec<(Option<u64>, u64)> = match arguments {
            [.., "node,nodeid=0,memdev=m"] => vec![node(0, 3), node(1, 2)],
            [.., "node,memdev=m"] => vec![node(0, 2), node(1, 3)],
            [.., "node,memdev=r"] => vec![node(0, 3), node(1, 2)],
            [_, _, _, "512", ..] => vec![(None, 512 << 20)],
            [_, _, _, size, ..] => vec![(None, size.trim_end_matches('G').parse::<u64>().unwrap() << 30)],
            _ => unreachable!(),
        };
        assert_eq!(bytes.into_iter().collect::<Vec<_>>(), expected, "{arguments:?}");
    }
    let _ = std::fs::remove_file(shm);
}

#[test]
fn memory_that_lies_where_an_nvdimm_keeps_its_labels_is_recorded() {
    if !can_run_guests("memory_that_lies_where_an_nvdimm_keeps_its_labels_is_recorded") {
        return;
    }
    let (nvdimm, dimm) = ("memory-backend-ram,id=n,size=512M", "memory-backend-ram,id=d,size=256M");
    let mut arguments = vec!["-machine", "q35,nvdimm=on", "-m", "128M,slots=2,maxmem=2G", "-object", nvdimm, "-object", dimm];
    arguments.extend(["-device", "nvdimm,memdev=n,label-size=2M", "-device", "pc-dimm,memdev=d"]);
    let qemu = Qemu::start(&arguments);
    let (dir, socket) = (scratch(), qemu.socket());
    let trace = dir.path().join("nvdimm.trace");
    let slots = slots(&recorded(&["--qmp", text(&socket)], &["--fingerprints"], &trace));
    let places: Vec<_> = slots.iter().map(|slot| (number(slot, "base"), number(slot, "pages"))).collect();
    let mib = |mib: u64| mib << 8;
    assert_eq!(places, [(0, mib(128)), (mib(4096), mib(510)), (mib(4096 + 510), mib(256))]);
    assert_eq!(run(["trace", "validate", text(&trace)]).code, Some(0));
    let lines = recorded(&["--pid", &qemu.process.pid().to_string()], &[], &trace);
    assert_eq!(lines[0]["target"]["kind"], "process", "its command line alone does not say where devices lie");
}

#[test]
fn memory_that_is_plugged_in_and_a_reset_are_in_the_trace() {
    if !can_run_guests("memory_that_is_plugged_in_and_a_reset_are_in_the_trace") {
        return;
    }
    let mut qemu = Qemu::start(&["-machine", "q35", "-m", "128M,slots=2,maxmem=2G"]);
    let (dir, socket) = (scratch(), qemu.socket());
    let trace = dir.path().join("plug.trace");
    let mut record = Command::new(PAGESIEVE);
    let options = ["record", "--fingerprints", "--epoch", "100ms", "-o", text(&trace), "--qmp", text(&socket)];
    let mut recorder = Background::spawn(record.args(options).stdout(Stdio::null()));
    let frames = |trace: &Path| {
        let info: Run = run(["trace", "info", "--json", text(trace)]);
        serde_json::from_str::<Value>(&info.stdout).map_or(0, |info| info["frames"].as_u64().unwrap_or(0))
    };
    let later = |what: &str| {
        let now = frames(&trace);
        wait_until(what, || frames(&trace) > now + 2);
    };
    later("some frames");
    qemu.execute("object-add", json!({ "qom-type": "memory-backend-ram", "id": "more", "size": 256 << 20 }));
    later("frames without a device");
    qemu.execute("device_add", json!({ "driver": "pc-dimm", "id": "dimm0", "memdev": "more" }));
    later("frames with the device");
    qemu.execute("system_reset", json!({}));
    later("frames after the reset");
    qemu.execute("quit", json!({}));
    wait_until("the recording to end", || !recorder.is_running());

    let lines = dump(&trace);
    let notes = notes(&lines);
    let position =
        |what: &str| notes.iter().position(|note| note.contains(what)).unwrap_or_else(|| panic!("no note of {what}: {notes:#?}"));
    let (plugged, reset, ended) = (position("256 MiB of memory added: more"), position("was reset"), position("ended"));
    assert!(plugged < reset && reset < ended, "{notes:#?}");
    assert_eq!(
        notes.iter().filter(|note| note.contains("was stopped") || note.contains("went on")).count(),
        0,
        "stops of our own"
    );
    let changed: Vec<_> = lines.iter().filter(|line| line["type"] == "frame" && line["slots"].is_array()).collect();
    assert_eq!(changed.len(), 1, "the backend alone is no guest memory");
    let added = &changed[0]["slots"][1];
    assert_eq!((number(added, "base"), number(added, "pages"), number(added, "numa_node")), (0x10_0000, 0x1_0000, 0), "{added}");
    let verified: Run = run(["verify", text(&trace)]);
    assert_eq!(verified.code, Some(0), "{}", verified.stdout);
    assert_eq!(run(["trace", "validate", text(&trace)]).code, Some(0));
}

#[test]
fn a_guest_that_someone_has_stopped_stays_stopped() {
    if !can_run_guests("a_guest_that_someone_has_stopped_stays_stopped") {
        return;
    }
    let mut qemu = Qemu::start(&["-m", "64M"]);
    let (dir, socket) = (scratch(), qemu.socket());
    let trace = dir.path().join("stopped.trace");
    let closing = |lines: &[Value]| lines.iter().filter(|line| line["closing"] == "quiescent").count();
    assert!(closing(&recorded(&["--qmp", text(&socket)], &["--fingerprints"], &trace)) > 1);
    assert_eq!(qemu.status(), "running", "it goes on after each epoch");
    qemu.execute("stop", json!({}));
    assert!(closing(&recorded(&["--qmp", text(&socket)], &["--fingerprints"], &trace)) > 1);
    assert_eq!(qemu.status(), "paused", "it is not ours to let it go on");
}

#[test]
fn a_guest_goes_on_when_the_recorder_is_killed_while_it_is_stopped() {
    if !can_run_guests("a_guest_goes_on_when_the_recorder_is_killed_while_it_is_stopped") {
        return;
    }
    let mut qemu = Qemu::start(&["-m", "64M"]);
    let (dir, socket) = (scratch(), qemu.socket());
    let trace = dir.path().join("killed.trace");
    let mut record = Command::new(PAGESIEVE);
    // Epochs as short as can be: the guest is stopped most of the time.
    let options = ["record", "--fingerprints", "--epoch", "1ms", "-o", text(&trace), "--qmp", text(&socket)];
    let recorder = Background::spawn(record.args(options).stdout(Stdio::null()));
    wait_until("frames", || std::fs::metadata(&trace).is_ok_and(|file| file.len() > 4096));
    wait_until("the recorder to be caught while the guest stands still", || {
        recorder.signal(rustix::process::Signal::STOP);
        // A `cont` that the recorder has just sent may still be under way, and so may the signal.
        let caught = (0..5).all(|_| {
            std::thread::sleep(Duration::from_millis(20));
            qemu.status() == "paused"
        });
        if !caught {
            recorder.signal(rustix::process::Signal::CONT);
        }
        caught
    });
    recorder.signal(rustix::process::Signal::KILL);
    wait_until("the guest to go on", || qemu.status() == "running");
}

#[test]
fn a_monitor_that_cannot_be_used_says_why() {
    if !can_run_guests("a_monitor_that_cannot_be_used_says_why") {
        return;
    }
    let qemu = Qemu::start(&["-m", "64M"]);
    let dir = scratch();
    let trace = dir.path().join("none.trace");
    let record = |target: &[&str]| -> Run { run(["record", "--duration", "1s", "-o", text(&trace)].iter().chain(target)) };
    record(&["--qmp", text(&qemu.folder().join("nothing"))]).expect_failure(&["nothing", "-qmp unix:PATH"]);
    // The test itself is the client of this one.
    record(&["--qmp", text(&qemu.folder().join("test"))]).expect_failure(&["another client", "second -qmp"]);
    let me = std::process::id().to_string();
    record(&["--qmp", text(&qemu.socket()), "--pid", &me]).expect_failure(&["QEMU's own process"]);
    record(&["--qmp", text(&qemu.socket()), "--vm", "x"]).expect_usage_error(&["--vm"]);
    assert!(!trace.exists());
    let private = format!("memory-backend-file,id=p,size=64M,mem-path={},share=off", text(&dir.path().join("ram")));
    let qemu = Qemu::start(&["-machine", "q35,memory-backend=p", "-m", "64M", "-object", &private]);
    record(&["--qmp", text(&qemu.socket())]).expect_failure(&["64 MiB", "share=on"]);
}

#[test]
fn a_guest_is_found_by_its_name_and_by_a_pid_file() {
    if !can_run_guests("a_guest_is_found_by_its_name_and_by_a_pid_file") {
        return;
    }
    let dir = scratch();
    let pid_file = dir.path().join("guest.pid");
    let name = format!("pagesieve-test-{}", std::process::id());
    let qemu = Qemu::start(&["-m", "64M", "-name", &format!("guest={name},debug-threads=on"), "-pidfile", text(&pid_file)]);
    let trace = dir.path().join("found.trace");
    for target in [["--vm", name.as_str()], ["--pid-file", text(&pid_file)]] {
        let lines = recorded(&target, &[], &trace);
        assert_eq!(
            (&lines[0]["target"]["kind"], number(&lines[0]["target"], "pid")),
            (&"qemu".into(), u64::from(qemu.process.pid()))
        );
    }
    let lines = recorded(&["--pid", &qemu.process.pid().to_string(), "--region", "[heap]"], &[], &trace);
    assert_eq!(lines[0]["target"]["kind"], "process", "who chooses mappings gets just these");
}
