//! Starting a QEMU, and talking to it over a monitor of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Background, can_record, scratch, text, wait_long, wait_until};

const QEMU: &str = "qemu-system-x86_64";

/// True if guests can be run and recorded here; otherwise the test is skipped by name.
pub fn can_run_guests(test: &str) -> bool {
    let found = Command::new(QEMU).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !found {
        pagesieve_ebpf::testing::skipped(test, &format!("there is no {QEMU}; install qemu-system-x86"));
    }
    found && can_record(test)
}

/// The guest that traces/guest/build.sh makes, in this build's target folder.
fn image() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guest")
}

/// True if guests with an operating system can be run and recorded here; otherwise the test is skipped by name.
pub fn can_run_systems(test: &str) -> bool {
    let built = image().join("initramfs.cpio.zst").exists();
    if !built {
        pagesieve_ebpf::testing::skipped(test, &format!("there is no guest: traces/guest/build.sh -o {}", image().display()));
    }
    built && can_run_guests(test)
}

/// One emulated machine, or one pair, at a time is enough for any computer that runs tests.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Waits for its turn; a test that failed has had its own.
pub fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running QEMU. It ends with the test.
pub struct Qemu {
    pub process: Background,
    dir: TempDir,
    monitor: UnixStream,
    answers: BufReader<UnixStream>,
}

impl Qemu {
    /// Starts a machine with these arguments, under emulation, without any device that is not asked for.
    pub fn start(arguments: &[&str]) -> Self {
        let dir = scratch();
        let mut command = Command::new(QEMU);
        command.args(["-accel", "tcg", "-display", "none", "-nodefaults", "-no-user-config"]);
        for name in ["record", "test"] {
            command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", dir.path().join(name).display()));
        }
        let process = Background::spawn(command.args(arguments).stdout(Stdio::null()));
        Self::connect(process, dir)
    }

    /// Starts the guest of traces/guest with these options and waits until its load runs. Options for QEMU come after `--`.
    pub fn boot(options: &[&str]) -> Self {
        let mut qemu = Self::launch(options);
        wait_long("the guest's load", || {
            assert!(qemu.process.is_running(), "the guest ended: {}", qemu.console());
            qemu.console().contains("pagesieve-guest: ready")
        });
        qemu
    }

    /// As [`Qemu::boot`], without waiting for the guest: with `-- -incoming defer` there is none yet.
    pub fn launch(options: &[&str]) -> Self {
        let dir = scratch();
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("traces/guest/start.sh"));
        command.args(["--image", text(&image()), "--qmp", "record", "--console", "console", "--disk-file", "disk"]).args(options);
        let monitor = format!("unix:{},server=on,wait=off", dir.path().join("test").display());
        if !options.contains(&"--") {
            command.arg("--");
        }
        let process = Background::spawn(command.current_dir(dir.path()).args(["-qmp", &monitor]));
        Self::connect(process, dir)
    }

    /// What the guest has printed.
    pub fn console(&self) -> String {
        std::fs::read(self.dir.path().join("console"))
            .map_or_else(|_| String::new(), |text| String::from_utf8_lossy(&text).into())
    }

    /// The counter of the guest's self-check, which goes on by one each second and must not have found an error.
    #[track_caller]
    pub fn self_check(&self) -> u64 {
        let console = self.console();
        for word in ["ERROR", "FAILED", "Kernel panic", "Call Trace"] {
            assert!(!console.contains(word), "{console}");
        }
        let last = console.lines().rfind(|line| line.contains("counter=") && line.ends_with("errors=0"));
        let counter = last.and_then(|line| line.split_once("counter=")?.1.split_whitespace().next()?.parse().ok());
        counter.unwrap_or(0)
    }

    /// Waits until the guest has counted on here, and has not jumped back.
    #[track_caller]
    pub fn counts_on(&self, before: u64) {
        let mut seen = 0;
        wait_long("the guest to count on", || {
            seen = seen.max(self.self_check());
            assert!(seen == 0 || seen >= before, "the counter jumped back from {before} to {seen}");
            seen >= before + 3
        });
    }

    fn connect(process: Background, dir: TempDir) -> Self {
        let path = dir.path().join("test");
        let mut monitor = None;
        wait_until("the monitor", || {
            monitor = UnixStream::connect(&path).ok();
            monitor.is_some()
        });
        let monitor = monitor.expect("it was waited for");
        let mut qemu = Self { process, dir, answers: BufReader::new(monitor.try_clone().expect("a second handle")), monitor };
        qemu.line();
        qemu.execute("qmp_capabilities", json!({}));
        qemu
    }

    /// The monitor for the recorder.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("record")
    }

    /// The folder of the sockets, for anything else.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn execute(&mut self, command: &str, arguments: Value) -> Value {
        // In one piece: QEMU does not wait for the end of the line.
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.monitor.write_all(line.as_bytes()).expect("the monitor takes commands");
        loop {
            let mut answer = self.line();
            if answer.get("event").is_none() {
                assert!(answer.get("return").is_some(), "{command}: {answer}");
                return answer["return"].take();
            }
        }
    }

    /// Runs a command of the human monitor.
    #[track_caller]
    pub fn human(&mut self, command: &str) -> String {
        let answer = self.execute("human-monitor-command", json!({ "command-line": command }));
        answer.as_str().expect("text").to_owned()
    }

    /// `running`, `paused` and the like.
    pub fn status(&mut self) -> String {
        self.execute("query-status", json!({}))["status"].as_str().expect("a status").to_owned()
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the monitor answers");
        serde_json::from_str(&line).expect("answers are JSON")
    }
}
