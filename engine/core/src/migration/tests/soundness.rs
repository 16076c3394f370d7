//! Sequences that would lose a page if the engine believed too much.

use super::*;

#[test]
fn a_log_that_was_asked_for_before_the_pause_is_not_the_last_one() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Equal { as_of: Epoch(0) });
    while migration.poll_action() != Some(Action::CloseEpoch) {}
    migration.request_handover(Nanos(0));
    assert_eq!(migration.poll_action(), None, "the answer comes first");
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[]), Coverage::Complete);
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.handle_paused(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(0), Epoch(2), &pages(&[0]), Coverage::Complete);
    assert_eq!(drive(&mut migration, 0, 7)[0], "read 0");
}

#[test]
fn a_log_in_the_last_round_begins_it_again() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Equal { as_of: Epoch(0) });
    migration.request_handover(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.handle_paused(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[]), Coverage::Complete);
    assert!(matches!(migration.poll_action(), Some(Action::Skip { .. })));
    migration.handle_dirty_log(Nanos(0), Epoch(2), &pages(&[0]), Coverage::Complete);
    let lines = drive(&mut migration, 0, 7);
    assert!(lines.contains(&"send 0 smallest".into()), "it was judged before: {lines:?}");
    assert!(migration.is_finished() && migration.evidence().is_current(Gfn(0)));
}

#[test]
fn a_hole_of_before_is_no_zero_at_a_destination_of_later() {
    // Page 0 holds no data when epoch 0 ends, is written in 1, which the destination has, and discarded in 2.
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Equal { as_of: Epoch(1) });
    migration.handle_populated(Nanos(0), Epoch(0), &pages(&[1, 2, 3]));
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[0]), Coverage::Complete);
    migration.handle_populated(Nanos(0), Epoch(2), &pages(&[1, 2, 3]));
    migration.handle_dirty_log(Nanos(0), Epoch(2), &pages(&[0]), Coverage::Complete);
    assert_eq!(drive(&mut migration, 0, 7)[0], "send-zero 0");
}

#[test]
fn nobody_is_equal_to_what_is_yet_to_come() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Equal { as_of: Epoch(2) });
    assert_eq!(drive(&mut migration, 0, 7)[0], "read 0");
}

#[test]
fn a_baseline_that_comes_late_is_no_baseline() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Fingerprints);
    let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
    migration.handle_block(Nanos(0), block, data(8));
    assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
    migration.handle_baseline(block, &data(7));
    migration.handle_failed(Nanos(0), block);
    drive(&mut migration, 0, 9);
    migration.handle_timeout(Nanos(SECOND));
    assert_eq!(drive(&mut migration, SECOND, 7)[..2], ["read 0", "send 0 smallest"], "half of 8 may stand there");
}

#[test]
fn a_block_that_could_not_be_read_at_first_is_counted_once() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
    migration.handle_failed(Nanos(0), block);
    drive(&mut migration, 0, 7);
    migration.handle_timeout(Nanos(SECOND));
    drive(&mut migration, SECOND, 7);
    let report = migration.report(Outcome::Completed);
    assert_eq!((report.blocks.sent, report.blocks.total, report.causes.first, report.causes.retried), (4, 8, 4, 0));
    assert_eq!(migration.explain(Gfn(u64::MAX)).times_sent, 0, "a page that cannot be");
}
