//! What was learnt about the pages survives a restart.

use super::*;
use crate::history::{Identity, LoadError};

const MS: u64 = Nanos::MILLISECOND.0;

fn identity(saved_at: u64) -> Identity {
    Identity { boot_id: [7; 16], slots: MemSlots::new(), target: "guest 12".into(), saved_at: Nanos(saved_at) }
}

fn learned() -> Migration {
    let mut migration = migration(PolicyKind::Predictive, precopy(None), Baseline::Empty);
    for epoch in 1..=3 {
        let now = Nanos(u64::from(epoch) * 300 * MS);
        migration.handle_dirty_log(now, Epoch(epoch), &pages(&[1]), Coverage::Complete);
    }
    let access = Access { time: Nanos(900 * MS), gfn: Gfn(3), kind: AccessKind::Write, origin: Origin::User, cpu: 0, tid: 1 };
    migration.handle_access(Nanos(900 * MS), access);
    migration
}

#[test]
fn use_and_rhythm_go_on_where_they_stopped() {
    let saved = learned().save_history(&identity(50_000 * MS));
    let mut later = migration(PolicyKind::Predictive, precopy(None), Baseline::Empty);
    later.load_history(Nanos(400 * MS), &identity(50_100 * MS), &saved).unwrap();
    assert_eq!(later.explain(Gfn(1)).next_write, Some(Nanos(200 * MS)));
    let usage = later.explain(Gfn(3)).usage.unwrap();
    assert!(usage.written && usage.count == 1);
    assert_eq!(usage.last_access.0 >> 20, (300 * MS) >> 20, "100 ms ago by both clocks");
    assert_eq!(later.explain(Gfn(1)).held, None, "what the destination holds is no matter of history");
    let mut other_policy = migration(PolicyKind::Proven, precopy(None), Baseline::Empty);
    other_policy.load_history(Nanos(0), &identity(50_100 * MS), &saved).unwrap();
    assert_eq!(other_policy.explain(Gfn(1)).next_write, None, "it keeps no rhythm");
}

#[test]
fn each_column_comes_back_as_itself() {
    let mut migration = learned();
    migration.handle_dirty_log(Nanos(1300 * MS), Epoch(4), &pages(&[1]), Coverage::Complete);
    let saved = migration.save_history(&identity(1300 * MS));
    let mut later = super::migration(PolicyKind::Predictive, precopy(None), Baseline::Empty);
    later.load_history(Nanos(1300 * MS), &identity(1300 * MS), &saved).unwrap();
    let now = Nanos(1300 * MS);
    assert_eq!(later.redirty.saved(now, now), migration.redirty.saved(now, now));
    assert_eq!((migration.redirty.saved(now, now).1[1], migration.redirty.saved(now, now).2[1]), (325, 400));
}

#[test]
fn a_history_of_something_else_is_refused_with_the_reason() {
    let saved = learned().save_history(&identity(50_000 * MS));
    let load = |migration: &mut Migration, identity: Identity| migration.load_history(Nanos(0), &identity, &saved);
    let fresh = || migration(PolicyKind::Predictive, precopy(None), Baseline::Empty);
    assert_eq!(load(&mut fresh(), Identity { boot_id: [8; 16], ..identity(60_000 * MS) }), Err(LoadError::OtherBoot));
    assert_eq!(load(&mut fresh(), Identity { target: "guest 13".into(), ..identity(60_000 * MS) }), Err(LoadError::OtherTarget));
    let mut moved = fresh();
    moved.handle_slots(Nanos(0), &slots(&[(0, 5)])).unwrap();
    assert_eq!(load(&mut moved, identity(60_000 * MS)), Err(LoadError::OtherSlots));
    assert_eq!(moved.explain(Gfn(3)).usage, None, "nothing was taken over");
}
