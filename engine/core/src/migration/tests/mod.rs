//! The state machine step by step.

mod attempts;
mod convergence;
mod learnt;
mod policies;
mod soundness;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::block::{BlockId, BlockSummary, Fingerprint};
use crate::evidence::Coverage;
use crate::policy::PolicyKind;
use crate::{Access, AccessKind, Backing, Gfn, Hva, MemSlot, Origin, PAGE_SIZE, PageBitmap};

pub(super) fn slots(sizes: &[(u64, u64)]) -> MemSlots {
    let mut slots = MemSlots::new();
    for &(base, pages) in sizes {
        let hva = Hva((base + 1) << 20);
        slots.insert(MemSlot { base: Gfn(base), pages, hva, backing: Backing::Shared, numa_node: None }).unwrap();
    }
    slots
}

const SECOND: u64 = Nanos::SECOND.0;

fn precopy(bandwidth: Option<u64>) -> Mode {
    Mode::Precopy { bandwidth, downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 4 }
}

/// Four blocks of one page.
fn migration(policy: PolicyKind, mode: Mode, baseline: Baseline) -> Migration {
    let config = Config { block_size: PAGE_SIZE, ..Config::new(Purpose::Replay, policy, mode) };
    Migration::new(config, slots(&[(0, 4)]), baseline).unwrap()
}

fn pages(pages: &[u64]) -> PageBitmap {
    let mut set = PageBitmap::new(4);
    for &page in pages {
        set.insert(Gfn(page));
    }
    set
}

fn data(fingerprint: u128) -> BlockSummary {
    BlockSummary { zero: false, fingerprint: Some(Fingerprint(fingerprint)), raw_len: PAGE_SIZE, wire_len: 100 }
}

/// Plays a driver that answers at once: reads give `data(content)`, everything arrives, the log is empty. Returns the actions.
fn drive(migration: &mut Migration, now: u64, content: u128) -> Vec<String> {
    let now = Nanos(now);
    let mut lines = Vec::new();
    while let Some(action) = migration.poll_action() {
        lines.push(action.to_string());
        match action {
            Action::ReadBlock(block) => migration.handle_block(now, block, data(content)),
            Action::Send { block, .. } | Action::SendZero(block) => {
                migration.handle_sent(now, block, 100);
                migration.handle_acked(now, block);
            }
            Action::CloseEpoch => {
                let epoch = migration.open_epoch();
                migration.handle_dirty_log(now, epoch, &pages(&[]), Coverage::Complete);
            }
            Action::Pause => migration.handle_paused(now),
            Action::Skip { .. } | Action::Defer { .. } | Action::Resume | Action::Throttle(_) | Action::Finish(_) => {}
        }
    }
    lines
}

#[test]
fn a_guest_that_rests_is_moved_in_one_round_and_a_pause() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Empty);
    let lines = drive(&mut migration, 0, 7);
    let expected = [
        "read 0",
        "send 0 smallest",
        "read 1",
        "send 1 smallest",
        "read 2",
        "send 2 smallest",
        "read 3",
        "send 3 smallest",
        "close-epoch",
        "pause",
        "close-epoch",
        "skip 0 Unchanged",
        "skip 1 Unchanged",
        "skip 2 Unchanged",
        "skip 3 Unchanged",
        "finish Completed rounds=2 wire=400",
    ];
    assert_eq!(lines, expected);
    assert!(migration.is_finished() && migration.poll_action().is_none() && migration.poll_timeout().is_none());
    let report = migration.report(Outcome::Completed);
    assert_eq!(report.converged, Some(true));
    assert_eq!((report.blocks.total, report.blocks.sent, report.blocks.skipped.unchanged), (8, 4, 4));
    assert_eq!((report.bytes_sent, report.bytes_resent, report.skipped_unread), (4 * PAGE_SIZE, 0, 4));
}

#[test]
fn rounds_end_at_their_limit_when_the_guest_outruns_the_wire() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Empty);
    let mut closes = 0;
    let report = loop {
        match migration.poll_action().expect("an action") {
            Action::ReadBlock(block) => migration.handle_block(Nanos(0), block, data(closes)),
            Action::Send { block, .. } => migration.handle_acked(Nanos(0), block),
            Action::CloseEpoch => {
                closes += 1;
                let epoch = migration.open_epoch();
                migration.handle_dirty_log(Nanos(0), epoch, &pages(&[0, 1, 2, 3]), Coverage::Complete);
            }
            Action::Pause => migration.handle_paused(Nanos(0)),
            Action::Finish(report) => break report,
            other => panic!("{other}"),
        }
    };
    assert_eq!((report.rounds, report.converged, closes), (5, Some(false), 5));
    assert_eq!(report.bytes_resent, 4 * 4 * PAGE_SIZE);
}

#[test]
fn sync_sends_at_each_interval_what_was_written_since() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    assert_eq!(migration.poll_action(), None);
    assert_eq!(migration.poll_timeout(), Some(Nanos(SECOND)));
    migration.handle_timeout(Nanos(SECOND));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_populated(Nanos(SECOND), Epoch(1), &pages(&[0, 1, 2]));
    migration.handle_dirty_log(Nanos(SECOND), Epoch(1), &pages(&[1, 2]), Coverage::Complete);
    let lines = drive(&mut migration, SECOND, 7);
    assert_eq!(lines, ["skip 0 Unchanged", "read 1", "send 1 smallest", "read 2", "send 2 smallest", "skip 3 Unpopulated"]);
    // A round that took long: the intervals it missed are left out.
    migration.handle_dirty_log(Nanos(SECOND), Epoch(2), &pages(&[2]), Coverage::Complete);
    assert_eq!(migration.poll_timeout(), Some(Nanos(2 * SECOND)));
    let lines = drive(&mut migration, 2 * SECOND, 7);
    assert!(lines.is_empty(), "time passes through handle_timeout only: {lines:?}");
    migration.handle_timeout(Nanos(2 * SECOND));
    let lines = drive(&mut migration, 2 * SECOND, 7);
    assert_eq!(lines[1..], ["skip 0 Unchanged", "skip 1 Unchanged", "read 2", "skip 2 SameContent", "skip 3 Unpopulated"]);
    assert_eq!(migration.rounds(), 2);
    migration.request_handover(Nanos(2 * SECOND));
    assert_eq!(migration.report(Outcome::Aborted).converged, None, "a sync does not converge");
    let blocks = migration.report(Outcome::Aborted).blocks;
    assert_eq!((blocks.resident, blocks.skipped_resident, blocks.skipped.same_content), (6, 4, 1));
}

#[test]
fn a_page_that_turned_into_a_hole_is_made_zero_without_reading_it() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    migration.handle_timeout(Nanos(SECOND));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_populated(Nanos(SECOND), Epoch(1), &pages(&[0, 1, 2]));
    migration.handle_dirty_log(Nanos(SECOND), Epoch(1), &pages(&[3]), Coverage::Complete);
    let lines = drive(&mut migration, SECOND, 7);
    assert_eq!(lines[3], "send-zero 3");
    assert_eq!(migration.report(Outcome::Aborted).blocks.skipped.zero, 1);
}

#[test]
fn zeros_that_were_read_are_skipped_only_where_the_destination_is_zero() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    let zero = BlockSummary { zero: true, ..data(0) };
    let mut step = |content: BlockSummary| {
        let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
        migration.handle_block(Nanos(0), block, content);
        let action = migration.poll_action().unwrap();
        migration.handle_acked(Nanos(0), block);
        action.to_string()
    };
    assert_eq!(step(zero), "skip 0 Zero");
    assert_eq!(step(data(1)), "send 1 smallest");
    assert_eq!(step(zero), "skip 2 Zero");
    assert_eq!(step(zero), "skip 3 Zero");
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[0, 1]), Coverage::Complete);
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.handle_paused(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(0), Epoch(2), &pages(&[]), Coverage::Complete);
    let mut step = |content: BlockSummary| {
        let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
        migration.handle_block(Nanos(0), block, content);
        let action = migration.poll_action().unwrap();
        migration.handle_acked(Nanos(0), block);
        action.to_string()
    };
    assert_eq!(step(zero), "skip 0 Zero");
    assert_eq!(step(zero), "send-zero 1", "data was sent there before");
}

#[test]
fn hot_blocks_wait_but_not_in_the_last_round() {
    let mut migration = migration(PolicyKind::Aging, precopy(Some(1)), Baseline::Empty);
    let touch =
        |time: u64| Access { time: Nanos(time), gfn: Gfn(2), kind: AccessKind::Read, origin: Origin::User, cpu: 0, tid: 1 };
    migration.handle_access(Nanos(0), touch(0));
    let lines = drive(&mut migration, 0, 7);
    assert_eq!(lines[4], "defer 2 Hot");
    assert_eq!(migration.poll_timeout(), Some(Nanos(SECOND)), "a round that sent nothing is followed by a rest");
    migration.request_handover(Nanos(1));
    let lines = drive(&mut migration, 1, 7);
    assert_eq!(lines[..2], ["pause", "close-epoch"]);
    assert!(lines.contains(&"send 2 smallest".into()), "{lines:?}");
    assert_eq!(migration.report(Outcome::Completed).converged, Some(false));
}

#[test]
fn a_block_is_tried_three_times_then_the_guest_goes_on_at_the_source() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    migration.request_handover(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.handle_paused(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[]), Coverage::Complete);
    let block = BlockId { generation: 0, index: 0 };
    for attempt in 0..3 {
        let now = Nanos(attempt * SECOND);
        migration.handle_timeout(now);
        assert_eq!(migration.poll_action(), Some(Action::ReadBlock(block)));
        if attempt == 1 {
            migration.handle_block(now, block, data(7));
            assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
        }
        migration.handle_failed(now, block);
        if attempt == 0 {
            // The others go on meanwhile.
            assert_eq!(drive(&mut migration, 0, 7).len(), 6);
        }
        if attempt < 2 {
            assert_eq!(migration.poll_action(), None);
            assert_eq!(migration.poll_timeout(), Some(now.after(Nanos::SECOND)));
        }
    }
    migration.abort(Nanos(2 * SECOND));
    assert_eq!(migration.poll_action(), Some(Action::Resume));
    let Some(Action::Finish(report)) = migration.poll_action() else { panic!("an end") };
    assert_eq!(report.outcome, Outcome::BlockFailed(block), "giving up later does not hide the reason");
    assert!(!migration.evidence().is_current(Gfn(0)) && migration.evidence().is_current(Gfn(1)));
}

#[test]
fn no_more_blocks_are_on_their_way_than_allowed() {
    let config =
        Config { block_size: PAGE_SIZE, max_in_flight: 2, ..Config::new(Purpose::Live, PolicyKind::Proven, precopy(None)) };
    let mut migration = Migration::new(config, slots(&[(0, 4)]), Baseline::Empty).unwrap();
    let mut sent = Vec::new();
    while let Some(action) = migration.poll_action() {
        match action {
            Action::ReadBlock(block) => migration.handle_block(Nanos(0), block, data(7)),
            Action::Send { block, .. } => sent.push(block),
            other => panic!("{other}"),
        }
    }
    assert_eq!(sent.len(), 2);
    migration.handle_acked(Nanos(0), sent[1]);
    assert_eq!(migration.poll_action().unwrap().to_string(), "read 2");
}

#[test]
fn a_new_round_grants_a_block_all_its_attempts_again() {
    let mode = Mode::Sync { interval: Nanos(10 * SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    for round in 1..=2_u32 {
        let mut now = Nanos(u64::from(round) * 10 * SECOND);
        migration.handle_timeout(now);
        assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
        migration.handle_dirty_log(now, Epoch(round), &pages(&[0]), Coverage::Complete);
        for _ in 0..2 {
            let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
            migration.handle_failed(now, block);
            drive(&mut migration, now.0, 7);
            now = now.after(Nanos::SECOND);
            migration.handle_timeout(now);
        }
        assert_eq!(drive(&mut migration, now.0, round.into()), ["read 0", "send 0 smallest"]);
        assert_eq!(migration.rounds(), round);
    }
}

#[test]
fn an_abort_while_the_pause_is_under_way_resumes() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    migration.request_handover(Nanos(0));
    assert_eq!(migration.poll_action(), Some(Action::Pause));
    migration.abort(Nanos(1));
    assert_eq!(migration.poll_action(), Some(Action::Resume));
    assert!(matches!(migration.poll_action(), Some(Action::Finish(report)) if report.outcome == Outcome::Aborted));
}

#[test]
fn a_handover_that_is_asked_for_during_the_pause_is_under_way_already() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Equal { as_of: Epoch(0) });
    while migration.poll_action() != Some(Action::Pause) {
        let epoch = migration.open_epoch();
        migration.handle_dirty_log(Nanos(0), epoch, &pages(&[]), Coverage::Complete);
    }
    migration.request_handover(Nanos(0));
    migration.handle_paused(Nanos(0));
    migration.request_handover(Nanos(0));
    assert_eq!(drive(&mut migration, 0, 7)[0], "close-epoch");
    assert_eq!(migration.report(Outcome::Completed).converged, Some(true));
}

#[test]
fn only_a_replay_may_use_the_rule_that_loses_pages() {
    let config = Config::new(Purpose::Live, PolicyKind::AgingLiteral, precopy(None));
    let error = Migration::new(config, slots(&[(0, 4)]), Baseline::Empty).unwrap_err();
    assert_eq!(error, ConfigError::Unsound);
    let mut replayed = migration(PolicyKind::AgingLiteral, precopy(None), Baseline::Empty);
    let lines = drive(&mut replayed, 0, 7);
    assert_eq!(lines[0], "skip 0 PresumedUnused");
    assert_eq!(replayed.report(Outcome::Completed).bytes_sent, 0, "it moved nothing and calls that complete");
}

#[test]
fn answers_to_questions_of_an_older_slot_table_are_ignored() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    let Some(Action::ReadBlock(old)) = migration.poll_action() else { panic!("a read") };
    migration.handle_block(Nanos(0), old, data(1));
    assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
    migration.handle_slots(Nanos(0), &slots(&[(0, 4), (8, 2)])).unwrap();
    migration.handle_acked(Nanos(0), old);
    assert!(!migration.evidence().is_current(Gfn(0)));
    let lines = drive(&mut migration, 0, 7);
    assert!(lines.contains(&"send 1/5 smallest".into()), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("read")).count(), 6 + 2, "new pages were unknown until the log");
}

#[test]
fn bytes_that_were_there_before_a_failed_send_are_not_taken_for_granted() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    let block = BlockId { generation: 0, index: 0 };
    migration.handle_baseline(block, &data(7));
    migration.handle_timeout(Nanos(SECOND));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(SECOND), Epoch(1), &pages(&[0]), Coverage::Complete);
    assert_eq!(migration.poll_action(), Some(Action::ReadBlock(block)));
    migration.handle_block(Nanos(SECOND), block, data(8));
    assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
    migration.handle_failed(Nanos(SECOND), block);
    assert_eq!(drive(&mut migration, SECOND, 7).len(), 3, "the other blocks");
    assert_eq!(migration.poll_timeout(), Some(Nanos(2 * SECOND)));
    migration.handle_timeout(Nanos(2 * SECOND));
    assert_eq!(migration.poll_timeout(), None, "what is due is an action, nothing to wait for");
    // The source has its old bytes again, but the destination may hold a half of the new ones.
    assert_eq!(drive(&mut migration, 2 * SECOND, 7)[..2], ["read 0", "send 0 smallest"]);
}

#[test]
fn what_an_earlier_sync_left_is_not_sent_again() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    migration.handle_baseline(BlockId { generation: 0, index: 1 }, &data(7));
    migration.handle_timeout(Nanos(SECOND));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(SECOND), Epoch(1), &pages(&[1, 2]), Coverage::Complete);
    let lines = drive(&mut migration, SECOND, 7);
    assert_eq!(lines[2..5], ["skip 1 SameContent", "read 2", "send 2 smallest"]);
    migration.handle_timeout(Nanos(2 * SECOND));
    assert_eq!(drive(&mut migration, 2 * SECOND, 7)[2], "skip 1 Unchanged", "once is enough");
}

#[test]
fn blocks_without_a_fingerprint_are_never_the_same() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Fingerprints);
    let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
    migration.handle_block(Nanos(0), block, BlockSummary { fingerprint: None, ..data(7) });
    assert_eq!(migration.poll_action().unwrap().to_string(), "send 0 smallest");
}

#[test]
fn a_block_that_is_lost_between_reading_and_sending_is_read_again() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
    migration.handle_block(Nanos(0), block, data(7));
    migration.handle_failed(Nanos(0), block);
    assert_eq!(drive(&mut migration, 0, 7)[..2], ["read 1", "send 1 smallest"]);
    migration.handle_timeout(Nanos(SECOND));
    assert_eq!(drive(&mut migration, SECOND, 7)[..2], ["read 0", "send 0 smallest"]);
}

#[test]
fn a_block_of_zeros_counts_once_however_often_it_is_tried() {
    let mut migration = migration(PolicyKind::Proven, precopy(None), Baseline::Fingerprints);
    for attempt in 0..2 {
        migration.handle_timeout(Nanos(attempt * SECOND));
        let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
        migration.handle_block(Nanos(attempt * SECOND), block, BlockSummary { zero: true, ..data(0) });
        assert_eq!(migration.poll_action(), Some(Action::SendZero(block)));
        migration.handle_failed(Nanos(attempt * SECOND), block);
        drive(&mut migration, 0, 7);
    }
    assert_eq!(migration.report(Outcome::Aborted).blocks.skipped.zero, 1);
}
