//! `pagesieve migrate` to a `pagesieve serve`, over TCP, while the guest works and checks itself.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::destination::Destination;
use support::pair::Pair;
use support::qemu::can_run_systems;
use support::{Background, PAGESIEVE, at, count, run, scratch, text, wait_long, wait_until};

fn destination(pair: &Pair, dir: &Path) -> Destination {
    Destination::start(dir, &["--guest", &format!("web1={}", text(&pair.destination.socket()))])
}

/// A migration in the middle of its first round.
#[track_caller]
fn slowly_moving(socket: &Path, to: &str) -> Background {
    let mut command = Command::new(PAGESIEVE);
    command.args(["migrate", "--qmp", text(socket), "--to", to, "--watch", "0s", "--bandwidth-limit", "100Mbit"]);
    let mut moving = Background::spawn(command.stderr(Stdio::null()));
    std::thread::sleep(Duration::from_secs(2));
    assert!(moving.is_running());
    moving
}

#[test]
fn a_guest_moves_over_the_wire_and_back_again_and_again() {
    if !can_run_systems("a_guest_moves_over_the_wire_and_back_again_and_again") {
        return;
    }
    let dir = scratch();
    let mut pair = Pair::start("mixed", "buffered", &[]);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    for turn in 0..4 {
        let there = destination(&pair, dir.path());
        let to = format!("127.0.0.1:{}/web1", there.port);
        let before = pair.source.self_check();
        // However fast this machine is: whether it converges is not the question here.
        let options = ["migrate", "--json", "--verify", "--force"];
        let socket = pair.source.socket();
        let moved = run(options.into_iter().chain(["--qmp", text(&socket), "--to", &to])).expect_json();
        assert_eq!(at(&moved, "schema.name"), "pagesieve.migrate");
        assert!(count(&moved, "blocks.sent") > 0 && count(&moved, "device_state") > 0, "{moved:#}");
        // Each way but the first goes to a host that has kept what the guest had there.
        assert_eq!(count(&moved, "held_blocks") > 0, turn > 0, "{moved:#}");
        assert_eq!(count(&moved, "blocks.skipped.same_content") > 1000, turn > 0, "{moved:#}");
        assert_eq!((pair.source.status().as_str(), pair.destination.status().as_str()), ("postmigrate", "running"));
        pair.destination.counts_on(before);
        pair = pair.turn_round();
    }
}

#[test]
fn a_guest_stays_if_the_move_fails() {
    if !can_run_systems("a_guest_stays_if_the_move_fails") {
        return;
    }
    let dir = scratch();
    let mut pair = Pair::start("mixed", "buffered", &[]);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    let socket = pair.source.socket();
    let move_to = |to: &str, options: &[&str]| run(["migrate", "--qmp", text(&socket), "--to", to].iter().chain(options));
    let there = destination(&pair, dir.path());
    let to = |name: &str| format!("127.0.0.1:{}/{name}", there.port);
    move_to("127.0.0.1:1/web1", &[]).expect_failure(&["connect"]);
    move_to(&to("web2"), &[]).expect_failure(&["web2", "--guest", "the guest runs here"]);
    assert_eq!(pair.source.status(), "running");
    // The destination dies in the middle of the first round.
    let mut moving = slowly_moving(&socket, &to("web1"));
    drop(there);
    wait_until("the migration to notice", || !moving.is_running());
    let before = pair.source.self_check();
    assert_eq!(pair.source.status(), "running");
    // And then the source's own end.
    let there = destination(&pair, dir.path());
    let to = format!("127.0.0.1:{}/web1", there.port);
    drop(slowly_moving(&socket, &to));
    pair.source.counts_on(before);
    // After all that it moves.
    let moved = move_to(&to, &["--json", "--force"]).expect_json();
    assert!(count(&moved, "held_blocks") > 0, "what arrived is of use: {moved:#}");
    pair.destination.counts_on(before);
}
