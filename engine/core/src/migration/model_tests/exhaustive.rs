//! Every order of events in a tiny universe: three pages in two blocks, up to five events, and after each of them the engine
//! does nothing or runs on.

use super::*;

const EVENTS: [Event; 8] = [
    Event::Write { page: 0, seen: true },
    Event::Write { page: 1, seen: false },
    Event::Discard { page: 1 },
    Event::Close,
    Event::ScanFails,
    Event::SendFails,
    Event::Wait(3 * TICK),
    Event::Handover,
];
const STEPS: [usize; 2] = [0, 3];

/// Plays every sequence of `depth` events, shorter ones included (an event that changes nothing is among them). Returns how many
/// there were, and at the end of how many the destination was wrong.
fn explore(policy: PolicyKind, sync: bool, depth: u32, saboteur: Saboteur) -> (u64, u64) {
    let choices = EVENTS.len() * STEPS.len();
    let baseline = if sync { Baseline::Equal { as_of: Epoch(0) } } else { Baseline::Empty };
    let (mut runs, mut wrong) = (0, 0);
    for mut code in 0..choices.pow(depth) {
        let mut world = World::new(config(policy, sync, 2), [vec![(0, 3)], vec![(0, 3)]], baseline);
        world.saboteur = saboteur;
        for _ in 0..depth {
            world.happen(EVENTS[code % EVENTS.len()]);
            code /= EVENTS.len();
            for _ in 0..STEPS[code % STEPS.len()] {
                world.step();
            }
            code /= STEPS.len();
        }
        world.settle();
        runs += 1;
        wrong += u64::from(world.check().is_err());
    }
    (runs, wrong)
}

#[test]
fn every_order_of_five_events_ends_well_in_precopy() {
    assert_eq!(explore(PolicyKind::Proven, false, 5, Saboteur::None), (16_u64.pow(5), 0));
}

#[test]
fn every_order_of_five_events_ends_well_in_sync() {
    assert_eq!(explore(PolicyKind::Proven, true, 5, Saboteur::None), (16_u64.pow(5), 0));
}

#[test]
fn every_order_of_five_events_ends_well_with_forecasts() {
    assert_eq!(explore(PolicyKind::Predictive, false, 5, Saboteur::None), (16_u64.pow(5), 0));
}

#[test]
fn every_order_of_four_events_ends_well_with_every_sound_policy() {
    for policy in PolicyKind::ALL.into_iter().filter(|policy| policy.is_sound()) {
        for sync in [false, true] {
            assert_eq!(explore(policy, sync, 4, Saboteur::None), (16_u64.pow(4), 0), "{policy} sync={sync}");
        }
    }
}

#[test]
fn the_oracle_sees_a_single_dropped_dirty_bit() {
    for sync in [false, true] {
        let (runs, wrong) = explore(PolicyKind::Proven, sync, 3, Saboteur::DropsPage(0));
        assert!(wrong > runs / 100, "{wrong} of {runs}");
        let (_, wrong) = explore(PolicyKind::SendAll, sync, 3, Saboteur::DropsPage(0));
        assert_eq!(wrong, 0, "who sends everything needs no log");
    }
}

#[test]
fn the_oracle_sees_a_single_failed_scan_that_is_called_complete() {
    for policy in [PolicyKind::Proven, PolicyKind::Predictive] {
        let (runs, wrong) = explore(policy, true, 4, Saboteur::HidesFailure);
        assert!(wrong > runs / 1000, "{policy}: {wrong} of {runs}");
    }
}
