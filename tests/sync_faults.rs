//! What can go wrong between `sync` and `serve`. Whatever it is: the error is one line, the destination has the old file or the new
//! one and nothing in between, and the next try succeeds.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pagesieve_live::wire::{Kind, Side};
use support::destination::Destination;
use support::small_disk::SmallDisk;
use support::wire_fault::{Act, Seen, Wire, after_bytes, at};
use support::{Background, PAGESIEVE, Run, count, run, scratch, text, wait_until};
use tempfile::TempDir;

const BLOCK: usize = 64 << 10;
const BLOCKS: usize = 48;

/// A source, a destination, and a wire between them.
struct Bench {
    folder: TempDir,
    there: Destination,
    wire: Wire,
}

impl Bench {
    fn new() -> Self {
        let folder = scratch();
        let there = Destination::start(&folder.path().join("there"), &[]);
        let wire = Wire::to(there.port);
        Self { folder, there, wire }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    /// The arguments of a sync.
    fn arguments(&self) -> Vec<String> {
        let to = format!("127.0.0.1:{}", self.wire.port);
        ["sync", "--json", "--streams", "3", "--retry-delay", "1ms", text(&self.source()), &to].map(str::to_owned).to_vec()
    }

    fn sync(&self) -> Run {
        run(self.arguments())
    }

    /// What the destination has.
    fn copy(&self) -> Vec<u8> {
        fs::read(self.there.dir.join("disk.img")).unwrap_or_default()
    }

    /// All that lies there.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.there.dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Writes a new version of the source. Returns what the destination has.
    fn change(&self, version: u8) -> (Vec<u8>, Vec<u8>) {
        let new = content(version);
        fs::write(self.source(), &new).unwrap();
        (self.copy(), new)
    }

    /// The next try, with a wire that is whole.
    fn recovers(&self, new: &[u8]) -> u64 {
        self.wire.mend();
        let done = self.sync().expect_json();
        assert!(self.copy() == new, "the copy differs");
        assert_eq!(self.names(), ["disk.img"], "something was left behind");
        count(&done, "blocks.sent")
    }
}

/// Blocks that are all different, in all versions; every fifth is zero, in each version another.
fn content(version: u8) -> Vec<u8> {
    let mut state = u64::from(version) + 1;
    let mut bytes = vec![0; BLOCKS * BLOCK - 100];
    for (index, block) in bytes.chunks_mut(BLOCK).enumerate().filter(|(index, _)| (index + usize::from(version)) % 5 != 4) {
        for byte in &mut *block {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        block[0] = index as u8;
    }
    bytes
}

#[test]
fn a_cut_or_damage_in_each_phase_loses_nothing() {
    let bench = Bench::new();
    fs::write(bench.source(), content(0)).unwrap();
    bench.sync().expect_json();
    let phases = [
        (Kind::Open, 1),
        (Kind::Opened, 1),
        (Kind::Fingerprints, 1),
        (Kind::Put, 1),
        (Kind::Zero, 3),
        (Kind::Put, 20),
        (Kind::Ack, 5),
        (Kind::Commit, 1),
        (Kind::Committed, 1),
    ];
    let mut version = 0;
    for (kind, nth) in phases {
        // Before it, within it, and a bit of its kind, its body or its checksum.
        for act in [Act::Cut(0), Act::Cut(6), Act::Flip(4), Act::Flip(7)] {
            version += 1;
            let (old, new) = bench.change(version);
            bench.wire.arm(at(kind, nth, act));
            bench.sync().expect_advice();
            assert!(bench.wire.has_fired(), "{kind}: it was not sent");
            let now = bench.copy();
            assert!(if kind == Kind::Committed { now == new } else { now == old }, "{kind}: the destination is half new");
            let sent = bench.recovers(&new);
            if kind == Kind::Committed {
                assert_eq!(sent, 0, "everything was there");
            }
        }
    }
}

#[test]
fn a_cut_anywhere_loses_nothing() {
    let bench = Bench::new();
    fs::write(bench.source(), content(0)).unwrap();
    bench.sync().expect_json();
    for (version, place) in (1..).zip([0, 1, 35, 36, 37, 40, 107, 110, 150, 1000, 70_000, 1_000_003, 2_000_000]) {
        for from in [Side::Client, Side::Server] {
            let (old, new) = bench.change(version);
            bench.wire.arm(after_bytes(from, place));
            let done = bench.sync();
            if bench.wire.has_fired() {
                done.expect_advice();
            }
            let now = bench.copy();
            assert!(now == old || now == new, "cut after {place} bytes: the destination is half new");
            bench.recovers(&new);
        }
    }
}

#[test]
fn another_version_is_told_which_side_is_older() {
    let bench = Bench::new();
    fs::write(bench.source(), content(1)).unwrap();
    let greeting = |from| move |seen: &Seen| if seen.kind.is_none() && seen.from == from { Act::NextVersion } else { Act::Pass };
    bench.wire.arm(greeting(Side::Client));
    bench.sync().expect_failure(&["version", "update pagesieve"]);
    bench.wire.arm(greeting(Side::Server));
    bench.sync().expect_failure(&["version 2.0", "update pagesieve here"]);
    assert_eq!(bench.copy(), [0; 0]);
    bench.recovers(&content(1));
}

#[test]
fn either_side_may_be_killed() {
    let mut bench = Bench::new();
    fs::write(bench.source(), content(0)).unwrap();
    bench.sync().expect_json();
    for (version, kind) in (1..).zip([Kind::Open, Kind::Put, Kind::Commit, Kind::Committed]) {
        for kills_source in [true, false] {
            let (old, new) = bench.change(2 * version + u8::from(kills_source));
            bench.wire.arm(at(kind, 1, Act::Hold));
            let mut command = Command::new(PAGESIEVE);
            let mut source = Background::spawn(command.args(bench.arguments()).stderr(Stdio::null()).stdout(Stdio::null()));
            wait_until("the frame to be held", || bench.wire.is_holding());
            if kills_source {
                drop(source);
                bench.wire.release();
                let commits = matches!(kind, Kind::Commit | Kind::Committed);
                wait_until("the destination to be left", || bench.names().len() == 1 || !commits);
            } else {
                let port = bench.there.port;
                bench.there = restarted(bench.there);
                assert_ne!(port, bench.there.port);
                bench.wire.release();
                wait_until("the source to notice", || !source.is_running());
                assert_eq!(source.0.wait().unwrap().code(), Some(3));
                bench.wire.redirect(bench.there.port);
            }
            let now = bench.copy();
            assert!(now == old || now == new, "{kind}: the destination is half new");
            recovers_soon(&bench, &new);
        }
    }
}

/// A killed source holds the file until the destination has noticed.
fn recovers_soon(bench: &Bench, new: &[u8]) {
    bench.wire.mend();
    wait_until("the file to be free", || {
        let tried = bench.sync();
        if tried.code != Some(0) {
            tried.expect_failure(&["wait"]);
        }
        tried.code == Some(0)
    });
    assert!(bench.copy() == new, "the copy differs");
    assert_eq!(bench.names(), ["disk.img"], "something was left behind");
}

/// Kills a destination, and starts another one in the same folder.
fn restarted(there: Destination) -> Destination {
    let dir = there.dir.clone();
    drop(there);
    Destination::start(&dir, &[])
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let folder = scratch();
    let disk = match SmallDisk::mount(&folder.path().join("small"), 3 << 20) {
        Ok(disk) => disk,
        Err(why) => return pagesieve_ebpf::testing::skipped("a_full_disk_is_told_and_nothing_is_lost", &why),
    };
    let there = Destination::start(disk.path(), &[]);
    let from = folder.path().join("disk.img");
    let to = format!("127.0.0.1:{}", there.port);
    let sync = || run(["sync", "--json", "--retry-delay", "1ms", text(&from), &to]);
    let (small, large) = (content(1)[..20 * BLOCK].to_vec(), content(2));
    fs::write(&from, &small).unwrap();
    sync().expect_json();
    let stays = |dir: &Path| assert!(fs::read(dir.join("disk.img")).unwrap() == small, "the old file is whole");
    fs::write(&from, &large).unwrap();
    sync().expect_failure(&["No space left", "make room"]);
    stays(disk.path());
    // There is room again.
    disk.resize(16 << 20);
    sync().expect_json();
    assert!(fs::read(disk.path().join("disk.img")).unwrap() == large);
    drop(there);
}
