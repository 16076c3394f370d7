//! The engine takes events without allocating, and a round allocates at most now and then.

use allocation_counter::measure;
use pagesieve_core::{
    Access, AccessKind, Action, Backing, Baseline, BlockSummary, Config, Coverage, Epoch, Gfn, Hva, MemSlot, MemSlots, Migration,
    Mode, Nanos, Origin, PAGE_SIZE, PageBitmap, PolicyKind, Purpose,
};

const PAGES: u64 = 1 << 14;

fn migration(policy: PolicyKind) -> Migration {
    let mut slots = MemSlots::new();
    let backing = Backing::Shared;
    slots.insert(MemSlot { base: Gfn(0), pages: PAGES, hva: Hva(1 << 30), backing, numa_node: None }).unwrap();
    let mode = Mode::Sync { interval: Nanos::SECOND };
    Migration::new(Config::new(Purpose::Live, policy, mode), slots, Baseline::Equal { as_of: Epoch(0) }).unwrap()
}

fn access(number: u64) -> Access {
    // Every page in an order that is none.
    let gfn = Gfn(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % PAGES);
    let kind = if number.is_multiple_of(3) { AccessKind::Read } else { AccessKind::Write };
    Access { time: Nanos(number), gfn, kind, origin: Origin::User, cpu: 0, tid: 1 }
}

fn sound() -> impl Iterator<Item = PolicyKind> {
    PolicyKind::ALL.into_iter().filter(|policy| policy.is_sound())
}

#[test]
fn no_event_allocates() {
    for policy in sound() {
        let mut migration = migration(policy);
        migration.handle_access(Nanos(0), access(0));
        let events = || (1..100_000).map(access);
        let taken = measure(|| events().for_each(|access| migration.handle_access(access.time, access)));
        assert_eq!(taken.count_total, 0, "{policy}: {taken:?}");
        assert!(migration.tracker().page_info(Gfn(1)).is_some(), "the events arrived");
    }
}

#[test]
fn a_round_allocates_a_few_times_however_many_blocks_it_judges() {
    for policy in sound() {
        let mut migration = migration(policy);
        let mut log = PageBitmap::new(PAGES);
        (0..PAGES).step_by(7).for_each(|page| assert!(log.insert(Gfn(page))));
        let mut verdicts = 0;
        let mut round = |now: u64| {
            migration.handle_timeout(Nanos(now));
            while let Some(action) = migration.poll_action() {
                match action {
                    Action::CloseEpoch => {
                        let epoch = migration.open_epoch();
                        migration.handle_dirty_log(Nanos(now), epoch, &log, Coverage::Complete);
                    }
                    Action::ReadBlock(block) => {
                        let summary = BlockSummary { zero: false, fingerprint: None, raw_len: PAGE_SIZE, wire_len: PAGE_SIZE };
                        migration.handle_block(Nanos(now), block, summary);
                    }
                    Action::Send { block, .. } => migration.handle_acked(Nanos(now), block),
                    _ => {}
                }
                verdicts += 1;
            }
        };
        // The first rounds make room, and adaptive cuts blocks anew.
        (1..=3).for_each(|second| round(second * Nanos::SECOND.0));
        let taken = measure(|| round(4 * Nanos::SECOND.0));
        // The order of the blocks, where a policy wants one.
        assert!(taken.count_total <= 64, "{policy}: {taken:?}");
        assert!(verdicts > 4 * 256, "{policy}: {verdicts}");
    }
}
