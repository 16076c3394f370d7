//! How a recording ends: by Ctrl-C or by a kill, the file is readable and the process that was recorded goes on.

mod support;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Background, PAGESIEVE, Run, assert_schema, at, can_record, count, run, scratch, text, wait_until};

/// Starts recording a workload of ours, given by its pid, and waits for some frames.
fn recording(target: &Background, trace: &Path) -> Background {
    let mut record = Command::new(PAGESIEVE);
    record.args(["record", "--json", "--epoch", "100ms", "--pid", &target.pid().to_string(), "-o", text(trace)]);
    let recorder = Background::spawn(record.stdout(Stdio::piped()).stderr(Stdio::piped()));
    wait_until("a third frame", || {
        let info: Run = run(["trace", "info", "--json", text(trace)]);
        serde_json::from_str::<Value>(&info.stdout).is_ok_and(|info| info["frames"].as_u64() > Some(2))
    });
    recorder
}

fn target() -> Background {
    let mut workload = Command::new(PAGESIEVE);
    Background::spawn(workload.args(["workload", "--memory", "8MiB", "--seconds", "120"]).stdout(Stdio::null()))
}

fn output_of(recorder: &mut Background) -> Run {
    let mut run = Run { code: None, stdout: String::new(), stderr: String::new() };
    recorder.0.stdout.take().unwrap().read_to_string(&mut run.stdout).unwrap();
    recorder.0.stderr.take().unwrap().read_to_string(&mut run.stderr).unwrap();
    run.code = recorder.0.wait().unwrap().code();
    run
}

#[test]
fn ctrl_c_ends_a_recording_with_a_whole_file_and_the_process_goes_on() {
    if !can_record("ctrl_c_ends_a_recording_with_a_whole_file_and_the_process_goes_on") {
        return;
    }
    let dir = scratch();
    let (mut target, trace) = (target(), dir.path().join("r.trace"));
    let mut recorder = recording(&target, &trace);
    recorder.signal(rustix::process::Signal::INT);
    let ended = output_of(&mut recorder);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let outcome: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_schema(&outcome, "pagesieve.record");
    assert_eq!(at(&outcome, "trace"), text(&trace));
    assert!(["ebpf", "pagemap_scan"].map(Value::from).contains(at(&outcome, "source")), "{outcome}");
    assert_eq!(count(&outcome, "bytes"), fs::metadata(&trace).unwrap().len());
    assert!(!ended.stderr.contains(['\r', '\x1b']), "no progress without a terminal: {ended:?}");
    let info = run(["trace", "info", "--json", text(&trace)]).expect_json();
    assert_eq!((&info["complete"], &info["target"]["pid"]), (&true.into(), &target.pid().into()));
    for name in ["events", "lost_events"] {
        assert_eq!(count(&outcome, name), count(&info, name));
    }
    assert!(target.is_running());
}

#[test]
fn a_recorder_that_is_killed_leaves_whole_frames_and_an_unharmed_process() {
    if !can_record("a_recorder_that_is_killed_leaves_whole_frames_and_an_unharmed_process") {
        return;
    }
    let dir = scratch();
    let (mut target, trace) = (target(), dir.path().join("r.trace"));
    drop(recording(&target, &trace));
    let info = run(["trace", "info", "--json", text(&trace)]).expect_json();
    assert_eq!(info["complete"], false);
    assert!(run(["replay", "--json", text(&trace)]).expect_json()["epochs"].as_u64() > Some(2));
    assert!(target.is_running());
}

/// The state letter of a process in `/proc`, such as S for sleeping or T for stopped.
fn state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).expect("a state follows the name")
}

#[test]
fn a_stopped_process_is_recorded_and_stays_stopped() {
    if !can_record("a_stopped_process_is_recorded_and_stays_stopped") {
        return;
    }
    let (dir, target) = (scratch(), target());
    let memory = || fs::read_to_string(format!("/proc/{}/maps", target.pid())).unwrap_or_default();
    wait_until("guest memory", || memory().contains("guest-ram"));
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &target.pid().to_string()]).status().expect("kill runs").success());
    };
    signal("-STOP");
    wait_until("the stop", || state(target.pid()) == 'T');
    let trace = dir.path().join("stopped.trace");
    let pid = target.pid().to_string();
    let record = ["record", "--fingerprints", "--epoch", "200ms", "--duration", "1s", "--pid", &pid, "-o", text(&trace)];
    let done: Run = run(record);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(state(target.pid()), 'T', "it is not ours to let it go on");
    signal("-CONT");
    wait_until("it to go on", || state(target.pid()) != 'T');
}

#[test]
fn a_command_that_becomes_another_program_is_followed() {
    if !can_record("a_command_that_becomes_another_program_is_followed") {
        return;
    }
    let dir = scratch();
    let trace = dir.path().join("exec.trace");
    let shell = format!("sleep 1; exec {PAGESIEVE} workload --class light --memory 8MiB --seconds 2");
    let options = ["record", "--json", "--fingerprints", "--epoch", "200ms", "-o", text(&trace), "--", "sh", "-c", &shell];
    let done: Run = run(options);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let dump: Run = run(["trace", "dump", "--json", text(&trace)]);
    let notes: Vec<Value> = dump.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let notes: Vec<&Value> = notes.iter().filter(|line| line["type"] == "note").map(|line| &line["what"]).collect();
    assert_eq!(notes.first(), Some(&&Value::from("exec")), "{notes:?}");
    assert_eq!(notes.last().map(|note| &note["ended"]["status"]), Some(&Value::from(0)), "{notes:?}");
    let verified: Run = run(["verify", "--json", text(&trace)]);
    let verified: Value = serde_json::from_str(&verified.stdout).expect("verify prints JSON");
    assert_eq!((&verified["ok"], &verified["recall"]["content_in_log"]), (&true.into(), &1.0.into()), "{verified:#}");
}

/// Not a test but a target: memory that comes, is written and goes. Each piece is larger than the one before, so that the
/// allocator maps it anew and unmaps it at the end.
#[test]
#[ignore = "the target of another test"]
fn memory_that_comes_and_goes() {
    for mib in 4..16 {
        let mut bytes = vec![0_u8; mib << 20];
        for round in 1..6 {
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte = round);
            std::thread::sleep(std::time::Duration::from_millis(30));
        }
        assert_eq!(std::hint::black_box(bytes)[4096], 5);
    }
}

#[test]
fn memory_that_goes_away_leaves_no_trace_of_it() {
    if !can_record("memory_that_goes_away_leaves_no_trace_of_it") {
        return;
    }
    let dir = scratch();
    let trace = dir.path().join("churn.trace");
    let target = std::env::current_exe().unwrap();
    let target = [text(&target), "--ignored", "--exact", "memory_that_comes_and_goes"];
    let options = ["record", "--fingerprints", "--epoch", "100ms", "-o", text(&trace), "--"];
    let done: Run = run(options.into_iter().chain(target));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let valid: Run = run(["trace", "validate", text(&trace)]);
    assert_eq!(valid.code, Some(0), "{}", valid.stdout);
    let verified: Run = run(["verify", "--json", text(&trace)]);
    let verified: Value = serde_json::from_str(&verified.stdout).expect("verify prints JSON");
    assert_eq!((&verified["ok"], &verified["recall"]["content_in_log"]), (&true.into(), &1.0.into()), "{verified:#}");
    let info: Run = run(["trace", "dump", "--json", text(&trace)]);
    assert!(info.stdout.matches("\"slots\"").count() > 3, "the slots changed again and again");
}
