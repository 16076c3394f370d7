//! What can go wrong between `migrate` and `serve`, with a real guest that checks itself. Whatever it is: the guest runs in one place,
//! the error is one line that says what to do, and the next try succeeds.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};

use pagesieve_live::wire::Kind;
use support::destination::Destination;
use support::pair::Pair;
use support::qemu::can_run_systems;
use support::wire_fault::{Act, Seen, Wire, at};
use support::{Background, PAGESIEVE, Run, run, scratch, text, wait_long, wait_until};
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
        self.wire.wait_for_held();
        wait_long(state, || {
            assert!(moving.0.is_running(), "{what}: {}", moving.end().stderr);
            self.pair.source.status() == state
        });
        self.wire.down();
        self.wire.release();
        moving.end().expect_post_mortem();
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
    bench.cut("a cut before Open", at(Kind::Open, 1, Act::Hold), &[], "running");
    bench.cut("a cut before Opened", at(Kind::Opened, 1, Act::Hold), &[], "running");
    bench.cut("a cut in round 0", at(Kind::Put, 100, Act::Hold), &[], "running");
    bench.cut("a cut of the answers in round 0", at(Kind::Ack, 100, Act::Hold), &[], "running");
    bench.cut("a cut in a later round", again, ROUNDS, "running");
    bench.cut("a cut in stop-and-copy", again, ONE_ROUND, "postmigrate");
    bench.cut("a cut before the devices", at(Kind::DeviceState, 1, Act::Hold), &[], "postmigrate");
    bench.cut("a cut before Commit", at(Kind::Commit, 1, Act::Hold), &[], "postmigrate");
    bench.cut("a cut before Committed", at(Kind::Committed, 1, Act::Hold), &[], "postmigrate");
    bench.renew();
    bench.wire.mend();
    let before = bench.pair.source.self_check();
    run(bench.arguments(&["--verify"])).expect_json();
    bench.pair.destination.counts_on(before);
}
