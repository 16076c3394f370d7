//! Attempts that fail, and what the next one knows.

use alloc::format;

use super::*;

/// Sends two of four blocks, then the connection is cut.
fn cut_in_the_middle() -> Migration {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    for _ in 0..2 {
        let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
        migration.handle_block(Nanos(0), block, data(7));
        assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
        migration.handle_acked(Nanos(0), block);
    }
    migration.abort(Nanos(0));
    assert!(matches!(migration.poll_action(), Some(Action::Finish(report)) if report.outcome == Outcome::Aborted));
    migration
}

#[test]
fn a_second_attempt_sends_what_the_first_did_not() {
    let mut migration = cut_in_the_middle();
    migration.handle_dirty_log(Nanos(1), Epoch(1), &pages(&[1]), Coverage::Complete);
    assert!(migration.retry(Nanos(2), Kept::Everything));
    let lines = drive(&mut migration, 2, 8);
    assert_eq!(lines[..4], ["skip 1/0 Unchanged", "read 1/1", "send 1/1 smallest", "read 1/2"]);
    let report = migration.report(Outcome::Completed);
    assert_eq!((report.attempts, report.bytes_resent, report.causes.written, report.causes.first), (2, PAGE_SIZE, 1, 4));
    assert_eq!(report.times_sent, [0, 3, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_destination_that_lost_its_memory_gets_everything() {
    for empty in [false, true] {
        let mut migration = cut_in_the_middle();
        assert!(migration.retry(Nanos(2), Kept::Nothing { empty }));
        let lines = drive(&mut migration, 2, 7);
        assert_eq!(lines.iter().filter(|line| line.starts_with("send")).count(), 4, "{lines:?}");
        assert!(lines.iter().any(|line| line == "pause"));
    }
}

#[test]
fn an_answer_to_the_attempt_before_is_no_answer_to_this_one() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    let Some(Action::ReadBlock(old)) = migration.poll_action() else { panic!("a read") };
    migration.handle_block(Nanos(0), old, data(7));
    assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
    migration.abort(Nanos(0));
    assert!(matches!(migration.poll_action(), Some(Action::Finish(_))));
    assert!(migration.retry(Nanos(0), Kept::Everything));
    let Some(Action::ReadBlock(new)) = migration.poll_action() else { panic!("a read") };
    migration.handle_block(Nanos(0), new, data(7));
    assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
    migration.handle_acked(Nanos(0), old);
    assert!(!migration.evidence().is_current(Gfn(0)));
    migration.handle_acked(Nanos(0), new);
    assert!(migration.evidence().is_current(Gfn(0)));
}

#[test]
fn a_second_attempt_starts_over() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Equal { as_of: Epoch(0) });
    while migration.poll_action() != Some(Action::CloseEpoch) {}
    migration.request_handover(Nanos(0));
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[]), Coverage::Complete);
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.abort(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::Resume));
    let Some(Action::Finish(report)) = migration.poll_action() else { panic!("an end") };
    assert_eq!((report.rounds, report.converged, report.attempts), (1, Some(false), 1));
    assert!(migration.retry(Nanos(0), Kept::Everything));
    let report = migration.report(Outcome::Aborted);
    assert_eq!((report.rounds, report.converged, report.attempts), (0, None, 2));
    let lines = drive(&mut migration, 0, 7);
    assert_eq!(
        lines[..5],
        ["skip 1/0 Unchanged", "skip 1/1 Unchanged", "skip 1/2 Unchanged", "skip 1/3 Unchanged", "close-epoch"]
    );
}

#[test]
fn a_second_attempt_at_a_sync_begins_with_a_new_epoch() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    migration.abort(Nanos(0));
    assert!(matches!(migration.poll_action(), Some(Action::Finish(_))));
    assert!(migration.retry(Nanos(0), Kept::Everything));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
}

/// A sync of four blocks whose first pass is complete: 0 and 1 were sent, 2 and 3 are zero on both sides.
fn after_a_pass() -> Migration {
    let mut migration = migration(PolicyKind::Proven, Mode::Sync { interval: Nanos(SECOND) }, Baseline::Empty);
    migration.handle_populated(Nanos(0), Epoch(0), &pages(&[0, 1]));
    migration.request_handover(Nanos(0));
    let lines = drive(&mut migration, 0, 7);
    let blocks = ["read 0", "send 0 smallest", "read 1", "send 1 smallest", "skip 2 Unpopulated", "skip 3 Unpopulated"];
    assert_eq!(lines[2..8], blocks);
    assert!(migration.is_finished());
    migration
}

#[test]
fn the_next_pass_of_a_sync_reads_only_what_was_written() {
    let mut migration = after_a_pass();
    assert!(migration.again(Nanos(1), Kept::Everything));
    migration.request_handover(Nanos(1));
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.handle_paused(Nanos(1));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(1), Epoch(2), &pages(&[1]), Coverage::Complete);
    let lines = drive(&mut migration, 1, 8);
    assert_eq!(lines[..3], ["skip 1/0 Unchanged", "read 1/1", "send 1/1 smallest"]);
    assert!(lines.last().is_some_and(|line| line.starts_with("finish Completed")));
}

#[test]
fn what_the_destination_holds_otherwise_is_not_taken_for_held() {
    let held = |zero: bool, content: u128| BlockSummary { zero, ..data(content) };
    // As it was left; changed; emptied; zeros that are not zeros any more.
    let cases = [
        (0, held(false, 7), true),
        (0, held(false, 9), false),
        (0, held(true, 0), false),
        (2, held(true, 0), true),
        (2, held(false, 9), false),
    ];
    for (index, now, stays) in cases {
        let mut migration = after_a_pass();
        migration.handle_held(BlockId { generation: 0, index }, &now);
        assert!(migration.again(Nanos(1), Kept::Everything));
        migration.handle_held(BlockId { generation: 1, index }, &now);
        migration.request_handover(Nanos(1));
        migration.poll_action();
        migration.handle_paused(Nanos(1));
        migration.poll_action();
        // Of the other blocks the log says nothing, so only what was told makes a difference.
        migration.handle_populated(Nanos(1), Epoch(2), &pages(&[0, 1]));
        migration.handle_dirty_log(Nanos(1), Epoch(2), &pages(&[]), Coverage::Complete);
        let lines = drive(&mut migration, 1, 7);
        let skipped = lines
            .iter()
            .any(|line| *line == format!("skip 1/{index} Unchanged") || *line == format!("skip 1/{index} Unpopulated"));
        assert_eq!(skipped, stays, "{index} {now:?}: {lines:?}");
    }
}

#[test]
fn only_a_failed_migration_can_be_tried_again() {
    let mut running = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    assert!(!running.retry(Nanos(0), Kept::Everything));
    let mut done = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    drive(&mut done, 0, 7);
    assert!(done.is_finished() && !done.retry(Nanos(0), Kept::Everything), "its guest may run at the destination");
    assert!(!running.again(Nanos(0), Kept::Everything));
    assert!(done.again(Nanos(0), Kept::Everything), "if it is a copy and runs no guest");
    let lines = drive(&mut done, 0, 7);
    assert!(lines.iter().any(|line| line == "pause") && !lines.iter().any(|line| line.starts_with("send")), "{lines:?}");
}

#[test]
fn blocks_that_a_host_kept_are_recognised_by_their_fingerprints() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Fingerprints);
    for (index, content) in [(0, 7), (1, 8)] {
        migration.handle_baseline(BlockId { generation: 0, index }, &data(content));
    }
    migration.handle_baseline(BlockId { generation: 0, index: 2 }, &BlockSummary { zero: true, ..data(0) });
    migration.handle_populated(Nanos(0), Epoch(0), &pages(&[0, 1, 3]));
    let lines = drive(&mut migration, 0, 7);
    let expected =
        ["read 0", "skip 0 SameContent", "read 1", "send 1 smallest", "skip 2 Unpopulated", "read 3", "send 3 smallest"];
    assert_eq!(lines[..7], expected);
}

#[test]
fn a_baseline_of_an_older_table_is_ignored() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Fingerprints);
    migration.handle_slots(Nanos(0), &slots(&[(8, 4)])).unwrap();
    migration.handle_baseline(BlockId { generation: 0, index: 0 }, &data(7));
    let lines = drive(&mut migration, 0, 7);
    assert_eq!(lines[..2], ["read 1/0", "send 1/0 smallest"]);
}
