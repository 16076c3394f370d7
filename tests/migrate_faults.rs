//! What can go wrong between `migrate` and `serve`, with a real guest that checks itself. Whatever it is: the guest runs in one place,
//! the error is one line that says what to do, and the next try succeeds.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};

use pagesieve_live::wire::Kind;
use support::destination::Destination;
use support::pair::Pair;
use support::qemu::can_run_systems;
use support::small_disk::SmallDisk;
use support::wire_fault::{self, Act, Seen, Wire};
use support::{Background, PAGESIEVE, Run, at, run, scratch, text, wait_long, wait_until};
use tempfile::TempDir;

/// A guest, its new home, and a wire between them.
struct Bench {
    pair: Pair,
    there: Destination,
    wire: Wire,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = scratch();
        let pair = Pair::start("mixed", "buffered", &[]);
        wait_long("the self-check to begin", || pair.source.self_check() > 2);
        let there = serve(&pair, &folder);
        let wire = Wire::to(there.port);
        Self { pair, there, wire, folder }
    }

    /// A migration; it hands over however fast this machine is.
    fn arguments(&self, options: &[&str]) -> Vec<String> {
        let (socket, to) = (self.pair.source.socket(), format!("127.0.0.1:{}/web1", self.wire.port));
        let words = ["migrate", "--json", "--force", "--qmp", text(&socket), "--to", &to];
        words.iter().chain(options).map(|&word| word.to_owned()).collect()
    }

    fn start(&self, options: &[&str]) -> Moving {
        let mut command = Command::new(PAGESIEVE);
        command.args(self.arguments(options)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Moving(Background::spawn(&mut command))
    }

    /// Starts a migration that runs into a frame that is held.
    fn start_and_hold(&self) -> Moving {
        let mut moving = self.start(&[]);
        self.hold(&mut moving);
        moving
    }

    fn hold(&self, moving: &mut Moving) {
        wait_long("the frame to be held", || {
            assert!(self.wire.is_holding() || moving.0.is_running(), "{:?}", moving.end());
            self.wire.is_holding()
        });
    }

    /// The guest runs at the source, and its self-check goes on there.
    #[track_caller]
    fn runs_here(&mut self, after: &str) {
        let before = self.pair.source.self_check();
        assert_eq!(self.pair.source.status(), "running", "after {after}");
        wait_long("the guest to count on at the source", || self.pair.source.self_check() > before + 1);
        assert_ne!(self.pair.destination.status(), "running", "after {after}: it must not run twice");
    }

    /// A new QEMU waits: the old one was loaded, and cannot be loaded again.
    fn renew(&mut self) {
        self.pair.renew_destination();
        self.serve_again();
    }

    fn serve_again(&mut self) {
        self.there = serve(&self.pair, &self.folder);
        self.wire.redirect(self.there.port);
    }

    /// Cuts the wire at this frame, when the guest at the source is in this state.
    fn cut(&mut self, what: &str, rule: impl FnMut(&Seen) -> Act + Send + 'static, options: &[&str], state: &str) {
        self.wire.arm(rule);
        let mut moving = self.start(options);
        self.hold(&mut moving);
        wait_long(state, || {
            assert!(moving.0.is_running(), "{what}: {}", moving.end().stderr);
            self.pair.source.status() == state
        });
        self.wire.down();
        self.wire.release();
        moving.failure().expect_advice();
        self.runs_here(what);
    }
}

fn serve(pair: &Pair, folder: &TempDir) -> Destination {
    Destination::start(folder.path(), &["--guest", &format!("web1={}", text(&pair.destination.socket()))])
}

/// A migration under way.
struct Moving(Background);

impl Moving {
    /// Waits for its end.
    fn end(&mut self) -> Run {
        wait_until("the migration to end", || !self.0.is_running());
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let child = &mut self.0.0;
        child.stdout.take().expect("once").read_to_string(&mut stdout).expect("text");
        child.stderr.take().expect("once").read_to_string(&mut stderr).expect("text");
        Run { code: child.wait().expect("it has ended").code(), stdout, stderr }
    }

    /// Waits for its end, which is no success; what it tells of itself says so. Leaves the error, which comes last.
    fn failure(&mut self) -> Run {
        let mut end = self.end();
        let story: serde_json::Value = serde_json::from_str(&std::mem::take(&mut end.stdout)).expect("a story");
        assert_eq!(at(&story, "moved"), false);
        let notes = end.stderr.trim_end().rfind('\n').map_or(0, |line| line + 1);
        end.stderr.drain(..notes);
        end
    }
}

/// Cuts the wire at the first frame of this kind; new connections pass.
fn cut_once(kind: Kind) -> impl FnMut(&Seen) -> Act + Send + 'static {
    wire_fault::at(kind, 1, Act::Cut(0))
}

/// The first block that was sent before is held.
fn again(seen: &Seen) -> Act {
    if seen.again { Act::Hold } else { Act::Pass }
}

/// So many rounds that some follow, or one and then the pause.
const ROUNDS: &[&str] = &["--downtime-limit", "1ms", "--max-rounds", "5"];
const ONE_ROUND: &[&str] = &["--max-rounds", "1"];

#[test]
fn a_cut_in_each_phase_leaves_the_guest_at_the_source() {
    if !can_run_systems("a_cut_in_each_phase_leaves_the_guest_at_the_source") {
        return;
    }
    let mut bench = Bench::new();
    bench.cut("a cut before Open", wire_fault::at(Kind::Open, 1, Act::Hold), &[], "running");
    bench.cut("a cut before Opened", wire_fault::at(Kind::Opened, 1, Act::Hold), &[], "running");
    bench.cut("a cut in round 0", wire_fault::at(Kind::Put, 100, Act::Hold), &[], "running");
    bench.cut("a cut of the answers in round 0", wire_fault::at(Kind::Ack, 100, Act::Hold), &[], "running");
    bench.cut("a cut in a later round", again, ROUNDS, "running");
    bench.cut("a cut in stop-and-copy", again, ONE_ROUND, "postmigrate");
    bench.cut("a cut before the devices", wire_fault::at(Kind::DeviceState, 1, Act::Hold), &[], "postmigrate");
    bench.cut("a cut before Commit", wire_fault::at(Kind::Commit, 1, Act::Hold), &[], "postmigrate");
    bench.cut("a cut before Committed", wire_fault::at(Kind::Committed, 1, Act::Hold), &[], "postmigrate");
    bench.renew();
    moves(&mut bench);
}

#[test]
fn nobody_doubts_where_the_guest_runs_after_the_handover() {
    if !can_run_systems("nobody_doubts_where_the_guest_runs_after_the_handover") {
        return;
    }
    let mut bench = Bench::new();
    // The word to start never comes: the destination is asked, and then never starts it.
    bench.wire.arm(cut_once(Kind::Handover));
    let end = bench.start(&[]).failure();
    assert!(bench.wire.has_fired());
    end.expect_failure(&["the guest runs here", "try again"]);
    bench.runs_here("a lost Handover");
    bench.renew();
    // The source dies in that moment: the guest stands still, and whoever looks finds it running nowhere.
    bench.wire.arm(wire_fault::at(Kind::Handover, 1, Act::Hold));
    let moving = bench.start_and_hold();
    drop(moving);
    bench.wire.down();
    bench.wire.release();
    assert_eq!((bench.pair.source.status().as_str(), bench.pair.destination.status().as_str()), ("postmigrate", "paused"));
    bench.renew();
    bench.wire.mend();
    run(bench.arguments(&[])).expect_failure(&["was moved away", "look where it runs", "cont"]);
    bench.pair.source.execute("cont", serde_json::json!({}));
    bench.runs_here("a source that died");
    // It was started, and the answer is lost: the destination is asked, and says so.
    bench.wire.arm(cut_once(Kind::HandedOver));
    let before = bench.pair.source.self_check();
    let end = bench.start(&[]).end();
    assert!(bench.wire.has_fired());
    assert_eq!(end.code, Some(0), "{end:?}");
    assert_eq!((bench.pair.source.status().as_str(), bench.pair.destination.status().as_str()), ("postmigrate", "running"));
    bench.pair.destination.counts_on(before);
}

#[test]
fn damage_death_and_a_full_disk_leave_the_guest_at_the_source() {
    if !can_run_systems("damage_death_and_a_full_disk_leave_the_guest_at_the_source") {
        return;
    }
    let mut bench = Bench::new();
    for kind in [Kind::Open, Kind::Put, Kind::Ack, Kind::DeviceState, Kind::Commit] {
        bench.wire.arm(wire_fault::at(kind, 1, Act::Flip(6)));
        bench.start(&[]).failure().expect_advice();
        assert!(bench.wire.has_fired());
        bench.runs_here(&format!("a damaged {kind}"));
    }
    for kind in [Kind::Put, Kind::DeviceState, Kind::Committed] {
        bench.wire.arm(wire_fault::at(kind, 1, Act::Hold));
        let moving = bench.start_and_hold();
        drop(moving);
        // What it has sent before would arrive yet, and load the destination.
        bench.wire.down();
        bench.wire.release();
        wait_long("the guest to be let go", || bench.pair.source.status() == "running");
        bench.runs_here(&format!("the source's death at {kind}"));
    }
    bench.renew();
    bench.wire.arm(wire_fault::at(Kind::Put, 1, Act::Hold));
    let mut moving = bench.start_and_hold();
    bench.serve_again();
    bench.wire.release();
    moving.failure().expect_advice();
    bench.runs_here("the death of serve");
    bench.wire.arm(wire_fault::at(Kind::Put, 1, Act::Hold));
    let mut moving = bench.start_and_hold();
    let _ = bench.pair.destination.process.0.kill();
    bench.wire.release();
    moving.failure().expect_advice();
    bench.pair.renew_destination();
    bench.serve_again();
    bench.runs_here("the death of the QEMU there");
    let small = scratch();
    match SmallDisk::mount(&small.path().join("ram"), 32 << 20) {
        Ok(disk) => {
            bench.pair.renew_destination_in(disk.path());
            bench.serve_again();
            bench.wire.mend();
            bench.start(&[]).failure().expect_failure(&["No space left", "make room", "the guest runs here"]);
            bench.runs_here("a full disk");
            disk.resize(1 << 30);
            moves(&mut bench);
        }
        Err(why) => {
            pagesieve_ebpf::testing::skipped("the full disk", &why);
            moves(&mut bench);
        }
    }
}

/// In the end it moves, and nothing was lost.
fn moves(bench: &mut Bench) {
    bench.wire.mend();
    let before = bench.pair.source.self_check();
    let end = bench.start(&["--verify"]).end();
    assert_eq!(end.code, Some(0), "{end:?}");
    bench.pair.destination.counts_on(before);
}
