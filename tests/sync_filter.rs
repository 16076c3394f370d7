//! A file that a process has mapped and writes there, synced again and again: what is skipped unread must be proven.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::destination::Destination;
use support::{Background, PAGESIEVE, at, can_record, count, run, scratch, text, wait_until};
use tempfile::TempDir;

const BLOCKS: u64 = 16 << 4;

/// A process that writes into a file by its mapping, and the passes over it.
struct Bench {
    dir: TempDir,
    writer: Background,
}

/// A `sync --every` under way.
struct Syncing {
    process: Background,
    output: PathBuf,
}

impl Bench {
    /// `None`, and said so, where nothing proves a page of shared memory clean.
    fn new(test: &str) -> Option<Self> {
        if !can_record(test) || !pagesieve_ebpf::testing::can_attach(test) {
            return None;
        }
        let dir = scratch();
        let writer = writer(&dir.path().join("from"));
        // All of it was written once.
        let from = dir.path().join("from");
        wait_until("the file", || from.metadata().is_ok_and(|data| data.len() == BLOCKS << 16));
        Some(Self { dir, writer })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sync(&self, to: &str, options: &[&str]) -> Syncing {
        let output = self.path("passes");
        let pid = self.writer.pid().to_string();
        let mut command = Command::new(PAGESIEVE);
        command.args(["sync", "--json", "--every", "100ms", "--pid", &pid]).args(options).arg(self.path("from")).arg(to);
        command.stdout(File::create(&output).unwrap()).stderr(Stdio::inherit());
        Syncing { process: Background::spawn(&mut command), output }
    }

    #[track_caller]
    fn assert_same(&self, to: &Path) {
        assert!(fs::read(self.path("from")).unwrap() == fs::read(to).unwrap(), "the sides differ");
    }
}

fn writer(file: &Path) -> Background {
    let mut command = Command::new(PAGESIEVE);
    command.args(["workload", "--class", "light", "--memory", "16MiB", "--seconds", "600", "--file", text(file)]);
    Background::spawn(command.stdout(Stdio::null()))
}

impl Syncing {
    /// What the passes that are complete have printed.
    fn passes(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.output).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("each line is a document")).collect()
    }

    /// Waits for a pass that began after this call and is like this.
    #[track_caller]
    fn wait_for(&self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        let before = self.passes().len();
        let mut found = None;
        wait_until(what, || {
            // The first of these may have begun before.
            found = self.passes().into_iter().skip(before + 1).find(&like);
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// Ends after the pass under way.
    fn end(mut self) -> Vec<Value> {
        self.process.signal(Signal::INT);
        assert!(self.process.0.wait().expect("it ends").success());
        self.passes()
    }
}

fn unread(pass: &Value) -> u64 {
    count(pass, "filter.blocks_skipped")
}

/// Blocks with data of which it was proven that nobody wrote them.
fn proven(pass: &Value) -> u64 {
    count(pass, "blocks.skipped.unchanged")
}

/// Why nothing was proven; empty if something was.
fn doubt(pass: &Value) -> &str {
    at(pass, "filter_reason").as_str().unwrap_or_default()
}

#[test]
fn what_is_written_by_the_mapping_arrives_and_the_rest_is_not_read() {
    let Some(bench) = Bench::new("what_is_written_by_the_mapping_arrives_and_the_rest_is_not_read") else { return };
    let to = bench.path("to");
    let passes = bench.sync(text(&to), &[]);
    for _ in 0..3 {
        let pass = passes.wait_for("blocks that were written, and others that were not", |pass| {
            proven(pass) > 0 && count(pass, "blocks.sent") > 0
        });
        assert_eq!(doubt(&pass), "");
        // A block is skipped unread, or it was read; nothing is counted twice.
        assert_eq!(count(&pass, "blocks.total"), BLOCKS);
    }
    // From here on nothing changes: one more pass, and both sides are equal.
    bench.writer.signal(Signal::STOP);
    passes.wait_for("a pass over a file that stands still", |pass| count(pass, "blocks.sent") == 0);
    bench.assert_same(&to);
    // Not even the destination is read, once nobody has opened it since.
    let quiet = passes.wait_for("a pass that reads nothing", |pass| at(pass, "baseline") == "kept");
    assert_eq!((unread(&quiet), count(&quiet, "bytes_written"), doubt(&quiet)), (BLOCKS, 0, ""));
    let all = passes.end();
    let numbers: Vec<_> = all.iter().map(|pass| count(pass, "pass")).collect();
    assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(proven(&all[0]), 0, "nothing is proven before the first pass");
}

#[test]
fn a_write_past_the_mapping_puts_everything_in_doubt() {
    let Some(bench) = Bench::new("a_write_past_the_mapping_puts_everything_in_doubt") else { return };
    let to = bench.path("to");
    bench.writer.signal(Signal::STOP);
    // Open before the first pass, by us; so to the sync it is another process that may write at any time.
    let held = File::options().write(true).open(bench.path("from")).unwrap();
    let passes = bench.sync(text(&to), &[]);
    let pass = passes.wait_for("a second pass", |_| true);
    assert!(proven(&pass) == 0 && doubt(&pass).contains("open for writing"), "{pass}");
    held.write_all_at(&[1; 5000], 70_000).unwrap();
    passes.wait_for("a pass after the write", |_| true);
    bench.assert_same(&to);
    drop(held);
    passes.wait_for("trust again", |pass| unread(pass) == BLOCKS);
    // Opened, written and closed between two passes.
    File::options().write(true).open(bench.path("from")).unwrap().write_all_at(&[2; 5000], 200_000).unwrap();
    passes.wait_for("trust again", |pass| unread(pass) == BLOCKS);
    bench.assert_same(&to);
    // A longer file begins anew.
    File::options().append(true).open(bench.path("from")).unwrap().write_all(&[3; 5000]).unwrap();
    passes.wait_for("trust again", |pass| unread(pass) == BLOCKS + 1);
    bench.assert_same(&to);
    assert!(passes.end().iter().any(|pass| doubt(pass).contains("through a descriptor")));
}

#[test]
fn a_second_process_that_maps_it_puts_everything_in_doubt() {
    let Some(bench) = Bench::new("a_second_process_that_maps_it_puts_everything_in_doubt") else { return };
    let to = bench.path("to");
    let passes = bench.sync(text(&to), &[]);
    passes.wait_for("proof", |pass| proven(pass) > 0);
    let other = writer(&bench.path("from"));
    let pass = passes.wait_for("doubt", |pass| !doubt(pass).is_empty());
    assert_eq!(proven(&pass), 0);
    for writer in [&bench.writer, &other] {
        writer.signal(Signal::STOP);
    }
    passes.wait_for("a pass over a file that stands still", |pass| count(pass, "blocks.sent") == 0);
    bench.assert_same(&to);
    drop(other);
    passes.wait_for("proof again", |pass| unread(pass) == BLOCKS);
    bench.assert_same(&to);
}

#[test]
fn a_destination_that_someone_else_changed_is_mended() {
    let Some(bench) = Bench::new("a_destination_that_someone_else_changed_is_mended") else { return };
    let there = Destination::start(&bench.path("there"), &[]);
    for (name, to) in [
        (format!("localhost:{}/disk", there.port), there.dir.join("disk")),
        (text(&bench.path("to")).to_owned(), bench.path("to")),
    ] {
        bench.writer.signal(Signal::CONT);
        let passes = bench.sync(&name, &[]);
        passes.wait_for("proof", |pass| proven(pass) > 0);
        bench.writer.signal(Signal::STOP);
        passes.wait_for("a pass that reads nothing", |pass| unread(pass) == BLOCKS);
        bench.assert_same(&to);
        File::options().write(true).open(&to).unwrap().write_all_at(&[9; 100], 300_000).unwrap();
        passes.wait_for("a pass that mends it", |_| true);
        passes.wait_for("a pass that reads nothing", |pass| unread(pass) == BLOCKS);
        bench.assert_same(&to);
        let sent: u64 = passes.end().iter().skip(1).map(|pass| count(pass, "blocks.sent")).sum();
        assert!(sent > 0);
    }
}

#[test]
fn without_the_filter_every_pass_reads_everything_and_mistakes_are_said() {
    let Some(bench) = Bench::new("without_the_filter_every_pass_reads_everything_and_mistakes_are_said") else { return };
    bench.writer.signal(Signal::STOP);
    let to = bench.path("to");
    let (pid, from) = (bench.writer.pid().to_string(), bench.path("from"));
    let run = |options: &[&str]| run(["sync", "--json"].iter().chain(options).chain(&[text(&from), text(&to)]));
    let out = run(&["--every", "10ms", "--times", "3", "--no-filter", "--pid", &pid]).expect_quiet_success();
    let passes: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(passes.iter().map(proven).collect::<Vec<_>>(), [0, 0, 0]);
    run(&["--pid", &std::process::id().to_string()]).expect_failure(&["mapping", "name the process"]);
    run(&["--pid", "999999999"]).expect_failure(&["999999999"]);
    run(&["--require-ebpf"]).expect_failure(&["--pid"]);
    run(&["--times", "2"]).expect_usage_error(&["--every"]);
}
