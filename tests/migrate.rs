//! A running guest moves from one QEMU to another on this host: its RAM by the engine, its devices by QEMU.

mod support;

use pagesieve_core::migration::Outcome;
use pagesieve_core::ports::PausableGuest;
use support::moving::{Trial, move_guest, move_ram, observe, ram_of};
use support::pair::Pair;
use support::qemu::can_run_systems;
use support::wait_long;

fn moves(class: &str, disk: &str) {
    let mut pair = Pair::start(class, disk, &[]);
    wait_long("the self-check to begin", || pair.source.self_check() > 2);
    // As if it had come here by a migration of QEMU's own that used more connections.
    let used = serde_json::json!({ "capabilities": [{ "capability": "multifd", "state": true }] });
    pair.source.execute("migrate-set-capabilities", used);
    move_guest(&mut pair, class, Trial::Nothing);
}

#[test]
fn an_idle_guest_moves_while_it_runs() {
    if can_run_systems("an_idle_guest_moves_while_it_runs") {
        moves("idle", "none");
    }
}

#[test]
fn a_busy_guest_moves_while_it_runs() {
    if can_run_systems("a_busy_guest_moves_while_it_runs") {
        moves("mixed", "buffered");
    }
}

#[test]
fn a_guest_under_heavy_io_moves_while_it_runs() {
    if can_run_systems("a_guest_under_heavy_io_moves_while_it_runs") {
        moves("heavy-io", "native");
    }
}

#[test]
fn a_guest_goes_on_here_if_the_move_fails_or_is_not_wanted() {
    if !can_run_systems("a_guest_goes_on_here_if_the_move_fails_or_is_not_wanted") {
        return;
    }
    let mut pair = Pair::start("light", "buffered", &[]);
    let target = observe(&pair);
    let counts_on = |pair: &mut Pair, what: &str| {
        assert_eq!(pair.source.status(), "running", "{what}");
        pair.source.counts_on(pair.source.self_check());
    };
    let report = move_ram(&target, target.log(), target.guest(), ram_of(&pair), Trial::WireBreaks);
    assert!(matches!(report.outcome, Outcome::BlockFailed(_)), "{:?}", report.outcome);
    assert!(target.take_device_state().is_none(), "a state of the past is of no use");
    counts_on(&mut pair, "the wire broke while it was paused");
    drop(target);

    let target = observe(&pair);
    assert_eq!(move_ram(&target, target.log(), target.guest(), ram_of(&pair), Trial::Nothing).outcome, Outcome::Completed);
    assert!(target.take_device_state().is_some());
    assert_eq!(pair.source.status(), "postmigrate");
    target.guest().resume().expect("it is still ours");
    counts_on(&mut pair, "nobody wants it elsewhere");

    target.guest().pause().expect("once more");
    assert_eq!(pair.source.status(), "postmigrate");
    drop(target);
    counts_on(&mut pair, "whoever drops a guest lets it go on");
}
