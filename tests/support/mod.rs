//! Running the command as a user would, and small traces to run it on.
#![allow(dead_code, unreachable_pub, reason = "every test file uses another part")]

pub mod destination;
pub mod link;
pub mod moving;
pub mod pair;
pub mod qemu;
pub mod slow_disk;
pub mod small_disk;
pub mod terminal;
pub mod wire_fault;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The command under test.
pub const PAGESIEVE: &str = env!("CARGO_BIN_EXE_pagesieve");

/// What a run of the command printed and how it ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the command to its end. It has no terminal.
pub fn run<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Run {
    run_command(Command::new(PAGESIEVE).args(args))
}

/// Runs any command to its end.
pub fn run_command(command: &mut Command) -> Run {
    // The width of help and of usage errors must not depend on the caller.
    let output = command.env_remove("COLUMNS").stdin(Stdio::null()).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("everything printed is UTF-8");
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Run {
    /// Status 0 and not a word on standard error. Returns standard output.
    #[track_caller]
    pub fn expect_quiet_success(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// As [`Run::expect_quiet_success`], and standard output is one JSON document.
    #[track_caller]
    pub fn expect_json(self) -> Value {
        let stdout = self.expect_quiet_success();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
    }

    /// Status 3, nothing on standard output, and on standard error one line that begins as promised and has these words.
    #[track_caller]
    pub fn expect_failure(&self, words: &[&str]) {
        assert_eq!(self.code, Some(3), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.matches('\n').count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("pagesieve: failed to ") && self.stderr.ends_with('\n'), "{self:?}");
        self.expect_words(words);
    }

    /// As [`Run::expect_failure`], but something was said before.
    #[track_caller]
    pub fn expect_failure_after_notes(&self, words: &[&str]) {
        let last = self.stderr.trim_end().rsplit('\n').next().unwrap_or_default();
        let last = Self { code: self.code, stdout: self.stdout.clone(), stderr: format!("{last}\n") };
        last.expect_failure(words);
    }

    /// As [`Run::expect_failure`], and the line says what to do about a connection that broke.
    #[track_caller]
    pub fn expect_advice(&self) {
        self.expect_failure(&[]);
        let advice = ["try again", "resume to go on", "its messages say why", "--force"];
        assert!(advice.iter().any(|words| self.stderr.contains(words)), "no advice in {self:?}");
    }

    /// The argument parser's own error: status 2.
    #[track_caller]
    pub fn expect_usage_error(&self, words: &[&str]) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        self.expect_words(words);
    }

    #[track_caller]
    pub fn expect_words(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// A folder that goes away with the test.
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Makes a synthetic trace: 4 MiB, six epochs, with page summaries.
pub fn synth(dir: &Path, name: &str, seed: u64) -> PathBuf {
    let path = dir.join(name);
    let seed = seed.to_string();
    run([
        "synth",
        "--class",
        "mixed",
        "--memory",
        "4MiB",
        "--duration",
        "3s",
        "--epoch",
        "500ms",
        "--seed",
        &seed,
        "-o",
        text(&path),
    ])
    .expect_quiet_success();
    path
}

/// Writes a changed copy of a file.
pub fn changed(file: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(file).expect("the file is there");
    change(&mut bytes);
    let path = file.with_file_name(name);
    fs::write(&path, bytes).expect("the folder can be written");
    path
}

/// True if this machine can record at all (with or without events); otherwise the test is skipped by name.
pub fn can_record(test: &str) -> bool {
    let found = pagesieve_recorder::doctor();
    let missing: Vec<_> = found.checks.iter().filter(|check| check.needed && !check.ok).map(|check| check.name).collect();
    if !missing.is_empty() {
        pagesieve_ebpf::testing::skipped(test, &format!("this machine cannot record: {}", missing.join(", ")));
    }
    missing.is_empty()
}

/// True if the test runs as root; otherwise it is skipped by name.
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        pagesieve_ebpf::testing::skipped(test, "it needs root");
    }
    root
}

/// A process that is ended with the test.
pub struct Background(pub Child);

impl Background {
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("the command starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    #[track_caller]
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("a process has a pid");
        rustix::process::kill_process(pid, signal).expect("it is there, if only to be waited for");
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds. The limit is generous: it only ends a test that would hang.
#[track_caller]
pub fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait(Duration::from_secs(60), what, holds);
}

/// As [`wait_until`], for what an emulated machine does.
#[track_caller]
pub fn wait_long(what: &str, holds: impl FnMut() -> bool) {
    wait(Duration::from_secs(300), what, holds);
}

#[track_caller]
fn wait(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < limit, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The value at a path such as `blocks.sent`.
#[track_caller]
pub fn at<'a>(document: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(document, |value, key| value.get(key).unwrap_or_else(|| panic!("no {path} in {document:#}")))
}

/// The count at a path.
#[track_caller]
pub fn count(document: &Value, path: &str) -> u64 {
    at(document, path).as_u64().unwrap_or_else(|| panic!("{path} is no count in {document:#}"))
}

/// The document has this name and a version of the form `1.0`.
#[track_caller]
pub fn assert_schema(document: &Value, name: &str) {
    assert_eq!(at(document, "schema.name"), name);
    let version = at(document, "schema.version").as_str().unwrap();
    assert!(version.split('.').count() == 2 && version.split('.').all(|part| part.parse::<u16>().is_ok()), "{version}");
}
