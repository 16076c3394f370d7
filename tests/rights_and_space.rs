//! What the command does without the right to look at a process, and on a disk that fills up.

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Background, PAGESIEVE, Run, can_record, is_root, run, run_command, scratch, synth, text};
use tempfile::TempDir;

/// The command as a user without any right, and a folder where that user can write.
struct Nobody {
    dir: TempDir,
    program: PathBuf,
}

impl Nobody {
    /// `None` if the test cannot become another user; it is skipped by name then.
    fn new(test: &str) -> Option<Self> {
        if !is_root(test) {
            return None;
        }
        if Command::new("setpriv").arg("--version").output().is_err() {
            pagesieve_ebpf::testing::skipped(test, "there is no setpriv");
            return None;
        }
        let dir = scratch();
        // The build folder may be closed to others.
        let program = dir.path().join("pagesieve");
        fs::copy(PAGESIEVE, &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        Some(Self { dir, program })
    }

    fn run(&self, args: &[&str]) -> Run {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&self.program).args(args);
        run_command(command.current_dir(self.dir.path()))
    }
}

#[test]
fn a_process_of_someone_else_is_left_alone() {
    let test = "a_process_of_someone_else_is_left_alone";
    let Some(nobody) = Nobody::new(test).filter(|_| can_record(test)) else { return };
    let mut other = Background::spawn(Command::new("sleep").arg("60"));
    for pid in [1, other.pid()] {
        nobody.run(&["record", "--pid", &pid.to_string()]).expect_failure(&[
            &format!("process {pid}"),
            "Permission denied",
            "run as root",
        ]);
    }
    assert!(other.is_running());
    assert!(!nobody.dir.path().join("pagesieve.trace").exists());
}

#[test]
fn events_that_were_asked_for_but_may_not_be_had_are_an_error() {
    let test = "events_that_were_asked_for_but_may_not_be_had_are_an_error";
    let Some(nobody) = Nobody::new(test).filter(|_| can_record(test)) else { return };
    nobody.run(&["record", "--source", "ebpf", "--", "sleep", "60"]).expect_failure(&[
        "attach the kernel program",
        "CAP_BPF",
        "--source ebpf",
    ]);
    assert!(!nobody.dir.path().join("pagesieve.trace").exists());
}

#[test]
fn doctor_works_without_rights_and_says_which_are_missing() {
    let Some(nobody) = Nobody::new("doctor_works_without_rights_and_says_which_are_missing") else { return };
    let found = nobody.run(&["doctor", "--json"]).expect_json();
    let hooks = found["hooks"].as_object().unwrap();
    assert!(!hooks.is_empty());
    for (name, hook) in hooks {
        assert_eq!(hook["available"], false, "{name}");
        assert!(hook["reason"].is_string() && hook["fix"].is_string(), "{name}: {hook}");
    }
    assert!(found.to_string().contains("cap_bpf") && found["source"] != "ebpf", "{found}");
}

#[test]
fn a_trace_that_may_not_be_read_and_a_folder_that_may_not_be_written_are_named() {
    let Some(nobody) = Nobody::new("a_trace_that_may_not_be_read_and_a_folder_that_may_not_be_written_are_named") else { return };
    let trace = synth(nobody.dir.path(), "private.trace", 1);
    assert_eq!(fs::metadata(&trace).unwrap().permissions().mode() & 0o777, 0o600);
    for verb in ["replay", "verify"] {
        nobody.run(&[verb, text(&trace)]).expect_failure(&[text(&trace), "Permission denied"]);
    }
    let closed = nobody.dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    let output = closed.join("x.trace");
    nobody
        .run(&["synth", "--class", "idle", "--memory", "4MiB", "-o", text(&output)])
        .expect_failure(&[text(&output), "Permission denied"]);
}

/// A file system of 64 KiB.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(test: &str) -> Option<Self> {
        if !is_root(test) {
            return None;
        }
        let disk = Self(scratch());
        let mounted = run_command(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(disk.path()));
        if mounted.code == Some(0) {
            return Some(disk);
        }
        pagesieve_ebpf::testing::skipped(test, &format!("tmpfs cannot be mounted: {}", mounted.stderr.trim()));
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also where the mount failed: then there is nothing to undo.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

/// The trace on the full disk holds what the error said, and can be used.
#[track_caller]
fn holds_what_was_written(trace: &Path, failed: &Run) {
    failed.expect_words(&["the disk is full", "free some space", text(trace)]);
    let info = run(["trace", "info", "--json", text(trace)]).expect_json();
    let frames = info["frames"].as_u64().unwrap();
    assert!(frames > 0, "{info}");
    assert!(failed.stderr.contains(&format!("{frames} whole frames are in it")), "{failed:?}");
    assert_eq!(info["complete"], false);
    run(["trace", "validate", text(trace)]).expect_quiet_success();
    assert_eq!(run(["replay", "--json", text(trace)]).expect_json()["epochs"], frames);
}

#[test]
fn a_disk_that_fills_up_keeps_the_frames_of_a_synthetic_trace() {
    let Some(disk) = SmallDisk::new("a_disk_that_fills_up_keeps_the_frames_of_a_synthetic_trace") else { return };
    let trace = disk.path().join("s.trace");
    let failed = run(["synth", "--class", "mixed", "--memory", "16MiB", "--duration", "20s", "-o", text(&trace)]);
    failed.expect_failure(&[]);
    holds_what_was_written(&trace, &failed);
}

#[test]
fn a_disk_that_fills_up_keeps_the_frames_of_a_recording() {
    let test = "a_disk_that_fills_up_keeps_the_frames_of_a_recording";
    let Some(disk) = SmallDisk::new(test).filter(|_| can_record(test)) else { return };
    let trace = disk.path().join("r.trace");
    // Room for the first frames only.
    fs::write(disk.path().join("other"), [1; 48 << 10]).unwrap();
    let mut record = vec!["record", "--fingerprints", "--epoch", "100ms", "--duration", "60s", "-o", text(&trace)];
    record.extend(["--", PAGESIEVE, "workload", "--class", "heavy-io", "--memory", "32MiB", "--seconds", "60"]);
    let failed = run(record);
    assert_eq!(failed.code, Some(3), "{failed:?}");
    assert!(failed.stderr.lines().last().unwrap().starts_with("pagesieve: failed to write to "), "{failed:?}");
    holds_what_was_written(&trace, &failed);
}

#[test]
fn a_disk_without_room_for_a_report_is_named() {
    let Some(disk) = SmallDisk::new("a_disk_without_room_for_a_report_is_named") else { return };
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    fs::write(disk.path().join("other"), [1; 60 << 10]).unwrap();
    let report = disk.path().join("report");
    run(["report", text(&trace), "-o", text(&report)]).expect_failure(&["write ", text(&report), "No space left"]);
}

#[test]
fn a_disk_that_fills_up_keeps_the_old_file_of_a_tool() {
    let Some(disk) = SmallDisk::new("a_disk_that_fills_up_keeps_the_old_file_of_a_tool") else { return };
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    fs::write(disk.path().join("other"), [1; 60 << 10]).unwrap();
    let old = disk.path().join("old");
    for verb in [&["trace", "cut"][..], &["trace", "convert", "--to", "csv"], &["sweep", "--format", "json"]] {
        fs::write(&old, "old").unwrap();
        let failed = run(verb.iter().chain(&[text(&trace), "-o", text(&old), "--force"]));
        failed.expect_failure(&[]);
        assert!(!failed.stderr.contains("whole frames are in it"), "they are gone with the draft: {failed:?}");
        assert_eq!(fs::read_to_string(&old).unwrap(), "old", "{verb:?}");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 2, "{verb:?}: no draft stays");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let dir = scratch();
    let trace = synth(dir.path(), "a.trace", 1);
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in
        [&["replay"][..], &["verify"], &["trace", "info"], &["trace", "validate"], &["trace", "dump"], &["replay", "--json"]]
    {
        let output = Command::new(PAGESIEVE).args(args).arg(&trace).stdout(full()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(
            said.starts_with("pagesieve: failed to ") && said.contains("No space left") && said.lines().count() == 1,
            "{said}"
        );
    }
    run(["synth", "--class", "light", "--memory", "4MiB", "-o", "/dev/full"]).expect_failure(&["the file exists", "--force"]);
    run(["synth", "--class", "light", "--memory", "4MiB", "--force", "-o", "/dev/full"])
        .expect_failure(&["/dev/full", "the disk is full"]);
    assert!(Path::new("/dev/full").exists(), "a device is not replaced by a file");
}

#[test]
fn a_recording_onto_a_full_device_fails_at_once() {
    if !can_record("a_recording_onto_a_full_device_fails_at_once") {
        return;
    }
    let mut record = vec!["record", "--source", "pagemap-scan", "--force", "-o", "/dev/full"];
    record.extend(["--", PAGESIEVE, "workload", "--memory", "4MiB", "--seconds", "60"]);
    run(record).expect_failure(&["/dev/full", "the disk is full", "another disk"]);
}
