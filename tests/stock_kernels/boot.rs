//! Boots a stock kernel under QEMU, without KVM, runs a script in it and brings home what it wrote.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::initramfs::Archive;
use super::support::PAGESIEVE;

/// Only ends a test that would hang: a boot takes 5 s and a recording some more, on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(900);
/// Exit status of the script that builds images, if this machine lacks something.
const MISSING: i32 = 3;

/// A kernel that can be booted.
pub(crate) struct Image {
    folder: PathBuf,
}

impl Image {
    /// The newest kernel of a series. `None`, and the test is skipped by name, if this machine has no QEMU or no such kernel.
    pub(crate) fn of(series: &str, test: &str) -> Option<Self> {
        let skip = |reason: &str| pagesieve_ebpf::testing::skipped(test, reason);
        if Command::new("qemu-system-x86_64").arg("--version").stdout(Stdio::null()).status().is_err() {
            skip("there is no qemu-system-x86_64");
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stock-kernels");
        // Several tests want the same image at the same time.
        static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let mut known = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.contains(series) {
            return Some(Self { folder: folder.join(series) });
        }
        let mut build = Command::new(source("build.sh"));
        build.arg("-o").arg(&folder).arg(series);
        // A test downloads nothing unasked.
        if std::env::var(pagesieve_ebpf::testing::REQUIRE).as_deref() != Ok("1") {
            build.arg("--offline");
        }
        let built = build.output().expect("the script starts");
        let said = String::from_utf8_lossy(&built.stderr);
        if built.status.code() == Some(MISSING) {
            skip(said.trim());
            return None;
        }
        assert!(built.status.success(), "{said}");
        known.insert(series.to_owned());
        Some(Self { folder: folder.join(series) })
    }

    /// Boots, runs a script of busybox's shell and waits for the end.
    pub(crate) fn run(&self, script: &str) -> Finished {
        let dir = TempDir::new().expect("a temporary folder");
        let (initramfs, console, out) = (dir.path().join("initramfs"), dir.path().join("console"), dir.path().join("out.tar"));
        let mut archive = Archive::default();
        archive.program("init", &fs::read(source("init")).expect("it is beside this file"));
        archive.program("check", script.as_bytes());
        archive.host_program("bin/pagesieve", Path::new(PAGESIEVE));
        archive.host_program("bin/kvm_guest", kvm_guest());
        let mut bytes = fs::read(self.folder.join("base.cpio")).expect("the script has built it");
        bytes.extend(archive.finish());
        fs::write(&initramfs, bytes).expect("the temporary folder has room");

        let mut qemu = Command::new("qemu-system-x86_64");
        // One thread of the host for both processors: with a thread each, QEMU now and then executes stale code where the kernel
        // has patched its own to switch a tracepoint on or off, and the kernel panics ("Oops: int3").
        qemu.args(["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1G", "-display", "none", "-nodefaults"]);
        qemu.args(["-no-user-config", "-no-reboot", "-append", "console=ttyS0 panic=-1 quiet"]);
        qemu.arg("-kernel").arg(self.folder.join("vmlinuz")).arg("-initrd").arg(&initramfs);
        for serial in [&console, &out] {
            qemu.arg("-serial").arg(format!("file:{}", serial.display()));
        }
        let ended = Machine(qemu.stdin(Stdio::null()).spawn().expect("QEMU starts")).wait();
        // A kernel that panics prints what it likes.
        let console = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        assert!(ended, "no end after {PATIENCE:?}; the console:\n{console}");
        assert!(console.contains("@@end"), "the script did not come to its end; the console:\n{console}");
        let untar =
            Command::new("tar").arg("-C").arg(dir.path()).arg("-x").stdin(File::open(out).expect("QEMU made it")).status();
        assert!(untar.expect("tar is there").success(), "the console:\n{console}");
        Finished { dir, console }
    }
}

/// What is left of a boot.
pub(crate) struct Finished {
    dir: TempDir,
    console: String,
}

impl Finished {
    /// Fails unless every command of these names was run and succeeded.
    #[track_caller]
    pub(crate) fn expect_passed<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            let passed = self.console.lines().any(|line| line.trim() == format!("@@PASS {name}"));
            assert!(passed, "{name} did not pass; the console:\n{}", self.console);
        }
    }

    /// A file that the script left in `/out`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// A QEMU that ends with this, whatever comes.
struct Machine(Child);

impl Machine {
    /// True if it ended by itself.
    fn wait(mut self) -> bool {
        let limit = Instant::now() + PATIENCE;
        while Instant::now() < limit {
            if self.0.try_wait().expect("it is our child").is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock_kernels").join(name)
}

/// The guest for KVM, an example of the recorder. Cargo builds no examples of other packages for a test.
fn kvm_guest() -> &'static Path {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let profile = Path::new(PAGESIEVE).parent().expect("programs lie in a folder");
        let target = profile.parent().expect("profiles lie in the target folder");
        let mut build = Command::new(cargo);
        build.args(["build", "--locked", "--quiet", "-p", "pagesieve-recorder", "--example", "kvm_guest", "--target-dir"]);
        build.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the guest for KVM was not built");
        profile.join("examples/kvm_guest")
    })
}
