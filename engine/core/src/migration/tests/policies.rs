//! What policies do to rounds: order, deferral, block size; and what is told about it afterwards.

use super::*;
use crate::policy::{BlockView, DeferReason, Policy, Verdict};

const MS: u64 = Nanos::MILLISECOND.0;

/// Page 0 is written every 100 ms and page 1 every 5 s; pages 2 and 3 never. It is second 10 now.
fn rhythmic(mode: Mode) -> Migration {
    let mut migration = migration(PolicyKind::Predictive, mode, Baseline::Empty);
    for epoch in 1..=100_u32 {
        let now = Nanos(u64::from(epoch) * 100 * MS);
        let log = if epoch.is_multiple_of(50) { pages(&[0, 1]) } else { pages(&[0]) };
        migration.handle_dirty_log(now, Epoch(epoch), &log, Coverage::Complete);
    }
    migration
}

fn at_second_ten(bandwidth: u64) -> Migration {
    let mode = precopy(Some(bandwidth));
    let config =
        Config { block_size: PAGE_SIZE, start: Nanos(10 * SECOND), ..Config::new(Purpose::Replay, PolicyKind::Predictive, mode) };
    let mut migration = Migration::new(config, slots(&[(0, 4)]), Baseline::Empty).unwrap();
    let other = rhythmic(mode);
    (migration.redirty, migration.evidence) = (other.redirty.clone(), other.evidence.clone());
    (migration.pace, migration.now) = (other.pace.clone(), other.now);
    migration
}

#[test]
fn what_rests_goes_first_and_what_will_be_written_waits() {
    // Four pages in 320 ms: page 0 is written thrice meanwhile.
    let mut migration = at_second_ten(4 * PAGE_SIZE * 1000 / 320);
    let lines = drive(&mut migration, 10 * SECOND, 7);
    let expected =
        ["read 2", "send 2 smallest", "read 3", "send 3 smallest", "read 1", "send 1 smallest", "defer 0 WillBeWritten"];
    assert_eq!(lines[..7], expected);
    assert_eq!(lines[7..9], ["close-epoch", "pause"], "what waits fits the pause");
    assert!(lines.contains(&"send 0 smallest".into()));
    let report = migration.report(Outcome::Completed);
    assert_eq!((report.bytes_resent, report.blocks.deferred), (0, 1));
    assert!(report.redirty.forecasts > 90 && report.redirty.decayed_error_ms == 0);
}

#[test]
fn a_long_round_makes_more_blocks_wait() {
    let mut migration = at_second_ten(4 * PAGE_SIZE / 8);
    let lines = drive(&mut migration, 10 * SECOND, 7);
    assert!(lines.contains(&"defer 0 WillBeWritten".into()) && lines.contains(&"defer 1 WillBeWritten".into()), "{lines:?}");
}

#[test]
fn a_replica_never_waits_for_a_rhythm() {
    let mut migration = rhythmic(Mode::Sync { interval: Nanos(20 * SECOND) });
    migration.handle_timeout(Nanos(20 * SECOND));
    let lines = drive(&mut migration, 20 * SECOND, 7);
    assert!(!lines.iter().any(|line| line.starts_with("defer")), "{lines:?}");
}

#[test]
fn a_replica_lags_only_so_far_behind_a_hot_page() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Aging, mode, Baseline::Equal { as_of: Epoch(0) });
    let mut verdicts = Vec::new();
    for second in 1..=5 {
        let now = Nanos(second * SECOND);
        let access = Access { time: now, gfn: Gfn(2), kind: AccessKind::Write, origin: Origin::User, cpu: 0, tid: 1 };
        migration.handle_access(now, access);
        assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
        let epoch = migration.open_epoch();
        migration.handle_dirty_log(now, epoch, &pages(&[2]), Coverage::Complete);
        verdicts.push(drive(&mut migration, now.0, second.into()).swap_remove(2));
    }
    assert_eq!(verdicts, ["defer 2 Hot", "defer 2 Hot", "defer 2 Hot", "read 2", "defer 2 Hot"]);
}

#[test]
fn adaptive_cuts_blocks_anew_between_rounds() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let config = Config::new(Purpose::Live, PolicyKind::Adaptive, mode);
    let mut migration = Migration::new(config, slots(&[(0, 128)]), Baseline::Equal { as_of: Epoch(0) }).unwrap();
    let mut log = PageBitmap::new(128);
    log.insert_range(0..128);
    for second in 1..=2 {
        migration.handle_timeout(Nanos(second * SECOND));
        assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
        let epoch = migration.open_epoch();
        migration.handle_dirty_log(Nanos(second * SECOND), epoch, &log, Coverage::Complete);
        let lines = drive(&mut migration, second * SECOND, 7);
        let count = |what| lines.iter().filter(|line| line.starts_with(what)).count();
        // The same bytes again, but a fingerprint is good for blocks of its own size.
        assert_eq!([count("read"), count("send")], if second == 1 { [8; 2] } else { [2; 2] }, "{lines:?}");
    }
    assert_eq!((migration.blocks().block_size(), migration.blocks().generation()), (256 * 1024, 1));
}

#[test]
fn adaptive_uses_the_fingerprints_of_a_baseline_before_it_cuts_anew() {
    let config = Config { start: Nanos(2 * SECOND), ..Config::new(Purpose::Live, PolicyKind::Adaptive, precopy(Some(1))) };
    let mut migration = Migration::new(config, slots(&[(0, 128)]), Baseline::Fingerprints).unwrap();
    (0..8).for_each(|index| migration.handle_baseline(BlockId { generation: 0, index }, &data(7)));
    let mut log = PageBitmap::new(128);
    log.insert_range(0..128);
    for epoch in 1..=2 {
        migration.handle_dirty_log(Nanos(u64::from(epoch) * SECOND), Epoch(epoch), &log, Coverage::Complete);
    }
    let lines = drive(&mut migration, 2 * SECOND, 7);
    assert_eq!(lines.iter().filter(|line| line.ends_with("SameContent")).count(), 8, "{lines:?}");
    assert!(migration.is_finished(), "a round that has nothing to send is no reason to wait");
    assert_eq!(migration.blocks().block_size(), 256 * 1024, "the last round has larger blocks");
}

#[test]
fn nothing_is_learnt_from_a_log_that_is_partial_or_late() {
    let mut migration = migration(PolicyKind::Predictive, precopy(None), Baseline::Empty);
    for epoch in 1..=3 {
        let now = Nanos(u64::from(epoch) * SECOND);
        migration.handle_dirty_log(now, Epoch(epoch), &pages(&[1]), Coverage::Partial);
        migration.handle_dirty_log(now, Epoch(epoch), &pages(&[2]), Coverage::Complete);
    }
    assert_eq!(migration.explain(Gfn(1)).next_write, None, "partial");
    assert_eq!(migration.explain(Gfn(2)).next_write, None, "late");
}

#[test]
fn pages_of_a_slot_that_moved_have_no_past() {
    let mut migration = rhythmic(precopy(None));
    let access = Access { time: Nanos(0), gfn: Gfn(0), kind: AccessKind::Read, origin: Origin::User, cpu: 0, tid: 1 };
    migration.handle_access(Nanos(10 * SECOND), access);
    let known = |migration: &Migration| {
        let page = migration.explain(Gfn(0));
        (page.usage.is_some(), page.next_write.is_some())
    };
    assert_eq!(known(&migration), (true, true));
    migration.handle_slots(Nanos(10 * SECOND), &slots(&[(0, 4), (8, 2)])).unwrap();
    assert_eq!(known(&migration), (true, true), "its slot is the same");
    migration.handle_slots(Nanos(10 * SECOND), &slots(&[(0, 3), (8, 2)])).unwrap();
    assert_eq!(known(&migration), (false, false));
}

#[test]
fn counts_are_kept_by_numa_node() {
    let mut table = MemSlots::new();
    for (base, pages, node) in [(0, 2, Some(0)), (8, 3, Some(1)), (16, 1, Some(0))] {
        let hva = Hva((base + 1) << 20);
        table.insert(MemSlot { base: Gfn(base), pages, hva, backing: Backing::Shared, numa_node: node }).unwrap();
    }
    let config = Config { block_size: PAGE_SIZE, ..Config::new(Purpose::Replay, PolicyKind::Proven, precopy(None)) };
    let mut migration = Migration::new(config, table, Baseline::Empty).unwrap();
    let mut populated = PageBitmap::new(17);
    populated.insert_range(8..10);
    migration.handle_populated(Nanos(0), Epoch(0), &populated);
    drive(&mut migration, 0, 7);
    let report = migration.report(Outcome::Completed);
    let [first, second] = &report.nodes[..] else { panic!("two nodes: {:?}", report.nodes) };
    assert_eq!((first.node, first.pages, first.blocks.total, first.blocks.resident, first.bytes_sent), (Some(0), 3, 6, 0, 0));
    assert_eq!((second.node, second.pages, second.blocks.sent, second.bytes_sent), (Some(1), 3, 2, 2 * PAGE_SIZE));
    assert_eq!(report.blocks.total, 12, "the whole is the sum of the nodes");
}

#[test]
fn a_node_keeps_its_counts_when_the_slots_change() {
    let table = |nodes: &[u16]| {
        let mut table = MemSlots::new();
        for &node in nodes {
            let (base, hva) = (Gfn(u64::from(node) * 8), Hva(u64::from(node + 1) << 20));
            table.insert(MemSlot { base, pages: 2, hva, backing: Backing::Shared, numa_node: Some(node) }).unwrap();
        }
        table
    };
    let config = Config { block_size: PAGE_SIZE, ..Config::new(Purpose::Replay, PolicyKind::Proven, precopy(None)) };
    let mut migration = Migration::new(config, table(&[0, 1]), Baseline::Empty).unwrap();
    for _ in 0..2 {
        let Some(Action::ReadBlock(block)) = migration.poll_action() else { panic!("a read") };
        migration.handle_block(Nanos(0), block, data(7));
        assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
        migration.handle_acked(Nanos(0), block);
    }
    migration.handle_slots(Nanos(0), &table(&[1, 2])).unwrap();
    drive(&mut migration, 0, 7);
    let nodes = migration.report(Outcome::Completed).nodes;
    let counts: Vec<_> = nodes.iter().map(|node| (node.node, node.pages, node.bytes_sent / PAGE_SIZE)).collect();
    assert_eq!(counts, [(Some(0), 0, 2), (Some(1), 2, 2), (Some(2), 2, 2)]);
}

#[test]
fn every_sending_has_its_cause() {
    let mut all = migration(PolicyKind::SendAll, precopy(None), Baseline::Empty);
    drive(&mut all, 0, 7);
    let causes = all.report(Outcome::Completed).causes;
    assert_eq!((causes.first, causes.needless), (4, 4));

    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let mut migration = migration(PolicyKind::Proven, mode, Baseline::Equal { as_of: Epoch(0) });
    for (second, log, coverage) in [(1, &[1][..], Coverage::Complete), (2, &[], Coverage::Partial)] {
        migration.handle_timeout(Nanos(second * SECOND));
        assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
        let epoch = migration.open_epoch();
        migration.handle_dirty_log(Nanos(second * SECOND), epoch, &pages(log), coverage);
        drive(&mut migration, second * SECOND, second.into());
    }
    let block = BlockId { generation: 0, index: 3 };
    migration.handle_timeout(Nanos(3 * SECOND));
    assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
    migration.handle_dirty_log(Nanos(3 * SECOND), Epoch(3), &pages(&[3]), Coverage::Complete);
    while migration.poll_action() != Some(Action::ReadBlock(block)) {}
    migration.handle_block(Nanos(3 * SECOND), block, data(9));
    assert!(matches!(migration.poll_action(), Some(Action::Send { .. })));
    migration.handle_failed(Nanos(3 * SECOND), block);
    migration.handle_timeout(Nanos(4 * SECOND));
    drive(&mut migration, 4 * SECOND, 9);
    let causes = migration.report(Outcome::Aborted).causes;
    assert_eq!((causes.first, causes.written, causes.unproven, causes.retried, causes.needless), (0, 2, 4, 1, 0));
}

#[test]
fn one_page_that_was_certainly_written_is_the_cause_for_its_block() {
    let mode = Mode::Sync { interval: Nanos(SECOND) };
    let config = Config { block_size: 2 * PAGE_SIZE, ..Config::new(Purpose::Replay, PolicyKind::Proven, mode) };
    let mut migration = Migration::new(config, slots(&[(0, 4)]), Baseline::Equal { as_of: Epoch(0) }).unwrap();
    migration.handle_dirty_log(Nanos(0), Epoch(1), &pages(&[]), Coverage::Partial);
    migration.handle_dirty_log(Nanos(0), Epoch(2), &pages(&[0]), Coverage::Complete);
    migration.handle_timeout(Nanos(SECOND));
    drive(&mut migration, SECOND, 7);
    let causes = migration.report(Outcome::Aborted).causes;
    assert_eq!((causes.written, causes.unproven), (1, 1));
}

#[test]
fn a_page_tells_what_is_known_about_it() {
    let mut migration = migration(PolicyKind::Proven, precopy(Some(1)), Baseline::Empty);
    assert_eq!(migration.explain(Gfn(1)).to_string(), "source written in epoch 0; destination is zero; sent 0 times");
    drive(&mut migration, 0, 7);
    assert_eq!(
        migration.explain(Gfn(1)).to_string(),
        "source clean since epoch 0; destination holds epoch 0, current; sent 1 times"
    );
    let epoch = migration.open_epoch();
    migration.handle_dirty_log(Nanos(0), epoch, &pages(&[]), Coverage::Partial);
    assert_eq!(
        migration.explain(Gfn(1)).to_string(),
        "source unproven in epoch 3; destination holds epoch 0, outdated; sent 1 times"
    );
    assert_eq!(
        migration.explain(Gfn(9)).to_string(),
        "source unknown; destination unknown; sent 0 times",
        "a page that no slot holds"
    );
}

/// A policy of somebody else: every second block waits, and it would skip without proof if it could.
#[derive(Debug)]
struct Reckless;

impl Policy for Reckless {
    fn judge(&self, block: &BlockView<'_>) -> Verdict {
        if block.pages.start.is_multiple_of(2) { Verdict::Defer(DeferReason::Hot) } else { Verdict::PresumeUnused }
    }
}

#[test]
fn a_policy_of_ones_own_cannot_skip_without_proof() {
    let config = Config { block_size: PAGE_SIZE, ..Config::new(Purpose::Live, PolicyKind::Proven, precopy(None)) };
    let mut migration =
        Migration::with_policy(config, slots(&[(0, 4)]), Baseline::Empty, alloc::boxed::Box::new(Reckless)).unwrap();
    let lines = drive(&mut migration, 0, 7);
    assert_eq!(lines[..3], ["defer 0 Hot", "read 1", "send 1 smallest"]);
    assert!(lines.contains(&"send 0 smallest".into()), "in the last round nothing waits: {lines:?}");
    assert_eq!(migration.report(Outcome::Completed).bytes_sent, 4 * PAGE_SIZE);
}

#[test]
fn a_change_of_slots_does_not_let_a_replica_lag_longer() {
    let mut migration = migration(PolicyKind::Aging, Mode::Sync { interval: Nanos(SECOND) }, Baseline::Equal { as_of: Epoch(0) });
    let mut verdicts = Vec::new();
    for second in 1..=5 {
        let now = Nanos(second * SECOND);
        let access = Access { time: now, gfn: Gfn(2), kind: AccessKind::Write, origin: Origin::User, cpu: 0, tid: 1 };
        migration.handle_access(now, access);
        assert_eq!(migration.poll_action(), Some(Action::CloseEpoch));
        let table = if second.is_multiple_of(2) { slots(&[(0, 4)]) } else { slots(&[(0, 4), (100, 1)]) };
        migration.handle_slots(now, &table).unwrap();
        let epoch = migration.open_epoch();
        migration.handle_dirty_log(now, epoch, &pages(&[2]), Coverage::Complete);
        let lines = drive(&mut migration, now.0, second.into());
        verdicts.push(lines.into_iter().any(|line| line.starts_with("defer") && line.ends_with("2 Hot")));
    }
    assert_eq!(verdicts[..4], [true, true, true, false]);
}
