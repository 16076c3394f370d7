use super::*;
use crate::{Backing, Hva, MemSlot};

fn slots(pages: u64) -> MemSlots {
    let mut slots = MemSlots::new();
    slots.insert(MemSlot { base: Gfn(0), pages, hva: Hva(0), backing: Backing::Shared, numa_node: None }).unwrap();
    slots
}

fn set(pages: &[u64]) -> PageBitmap {
    let mut set = PageBitmap::new(4);
    for &page in pages {
        set.insert(Gfn(page));
    }
    set
}

fn reason(evidence: &Evidence, page: u64) -> Option<SkipReason> {
    evidence.proof(page..page + 1).map(Proof::reason)
}

#[test]
fn a_read_in_an_open_epoch_is_stale_if_the_epoch_wrote_the_page() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.set_held(0..4, evidence.closed_epoch(), false);
    evidence.handle_dirty_log(Epoch(1), &set(&[2]), Coverage::Complete);
    assert_eq!(reason(&evidence, 0), Some(SkipReason::Unchanged));
    assert_eq!(reason(&evidence, 2), None);
    assert_eq!(evidence.proof(0..4), None, "one page without proof is enough to send the block");
    assert_eq!(evidence.page(Gfn(2)), PageState::DirtyIn(Epoch(1)));
    evidence.set_held(2..3, evidence.closed_epoch(), false);
    assert_eq!(reason(&evidence, 2), Some(SkipReason::Unchanged));
    evidence.handle_dirty_log(Epoch(2), &set(&[]), Coverage::Complete);
    assert_eq!(evidence.page(Gfn(2)), PageState::CleanSince(Epoch(1)));
}

#[test]
fn a_partial_or_foreign_log_proves_nothing_clean() {
    for (epoch, coverage) in [(1, Coverage::Partial), (2, Coverage::Complete), (0, Coverage::Complete)] {
        let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
        evidence.set_held(0..4, Epoch(0), false);
        evidence.handle_dirty_log(Epoch(epoch), &set(&[]), coverage);
        assert!((0..4).all(|page| reason(&evidence, page).is_none()), "epoch {epoch} {coverage:?}");
    }
}

#[test]
fn a_late_or_absurd_log_does_not_derail_the_epochs_after_it() {
    for stray in [0, 1, u32::MAX] {
        let mut evidence = Evidence::new(&slots(4), Epoch(2), true);
        evidence.handle_dirty_log(Epoch(stray), &set(&[]), Coverage::Complete);
        assert_eq!(evidence.open_epoch(), Epoch(2));
        evidence.set_held(0..4, evidence.closed_epoch(), false);
        evidence.handle_dirty_log(Epoch(2), &set(&[]), Coverage::Complete);
        assert_eq!(reason(&evidence, 0), None);
        evidence.set_held(0..4, evidence.closed_epoch(), false);
        assert_eq!(reason(&evidence, 0), Some(SkipReason::Unchanged));
    }
}

#[test]
fn a_hole_is_skipped_only_where_the_destination_is_zero() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.handle_populated(Epoch(1), &set(&[0]));
    evidence.handle_dirty_log(Epoch(1), &set(&[]), Coverage::Complete);
    assert_eq!(reason(&evidence, 0), None);
    assert_eq!(reason(&evidence, 1), Some(SkipReason::Unpopulated));
    evidence.set_held(0..1, Epoch(1), false);
    evidence.handle_populated(Epoch(2), &set(&[]));
    evidence.handle_dirty_log(Epoch(2), &set(&[0]), Coverage::Complete);
    assert_eq!(evidence.page(Gfn(0)), PageState::Unpopulated);
    assert_eq!(reason(&evidence, 0), None, "data was sent: the zeros must be sent too");
    evidence.set_held(0..1, Epoch(2), true);
    assert_eq!(reason(&evidence, 0), Some(SkipReason::Unpopulated));
}

#[test]
fn one_page_with_data_is_enough_for_a_block_to_hold_data() {
    let mut evidence = Evidence::new(&slots(128), Epoch(1), true);
    evidence.set_held(0..128, Epoch(0), false);
    for page in [0, 127] {
        let mut populated = PageBitmap::new(128);
        populated.insert(Gfn(page));
        evidence.handle_populated(Epoch(0), &populated);
        assert_eq!(evidence.proof(0..128).map(Proof::reason), Some(SkipReason::Unchanged), "page {page}");
    }
}

#[test]
fn holes_are_known_from_the_start_if_the_driver_says_so() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.handle_populated(Epoch(0), &set(&[0]));
    assert_eq!(reason(&evidence, 1), Some(SkipReason::Unpopulated));
    evidence.handle_dirty_log(Epoch(1), &set(&[1]), Coverage::Complete);
    assert_eq!(reason(&evidence, 1), None, "written in the epoch after");
    for (epoch, why) in [(4, "of an epoch to come"), (0, "older than the last closed epoch")] {
        evidence.handle_populated(Epoch(epoch), &set(&[]));
        assert_eq!(reason(&evidence, 0), None, "{why}");
    }
}

#[test]
fn a_written_page_is_populated_if_nobody_says_otherwise() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.handle_populated(Epoch(1), &set(&[]));
    evidence.handle_dirty_log(Epoch(1), &set(&[]), Coverage::Complete);
    evidence.handle_dirty_log(Epoch(2), &set(&[3]), Coverage::Complete);
    assert_eq!(reason(&evidence, 3), None);
    assert_eq!(reason(&evidence, 2), Some(SkipReason::Unpopulated));
}

#[test]
fn a_new_slot_is_unknown_until_a_complete_log_covers_it() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.set_held(0..4, Epoch(0), false);
    evidence.forget(2..6);
    evidence.set_held(2..6, Epoch(0), false);
    assert_eq!(evidence.page(Gfn(5)), PageState::Unknown);
    assert_eq!(reason(&evidence, 5), None);
    evidence.handle_dirty_log(Epoch(1), &set(&[]), Coverage::Complete);
    assert_eq!(reason(&evidence, 5), None, "it may have been written before the log began to cover it");
    evidence.set_held(2..6, Epoch(1), false);
    assert_eq!(reason(&evidence, 5), Some(SkipReason::Unchanged));
    evidence.forget(2..6);
    evidence.handle_dirty_log(Epoch(2), &set(&[]), Coverage::Partial);
    evidence.set_held(0..6, Epoch(2), false);
    assert_eq!(reason(&evidence, 0), Some(SkipReason::Unchanged));
    assert_eq!(reason(&evidence, 5), None, "a partial log covers nothing");
}

#[test]
fn a_failed_send_takes_the_proof_away() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.set_held(0..4, Epoch(0), false);
    evidence.set_in_doubt(1..2);
    assert_eq!(reason(&evidence, 0), Some(SkipReason::Unchanged));
    assert_eq!(reason(&evidence, 1), None);
    evidence.handle_populated(Epoch(1), &set(&[0]));
    assert_eq!(reason(&evidence, 1), None, "half-sent data may stand where a hole is here");
}

#[test]
fn an_equal_destination_needs_only_what_changes_later() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), false);
    evidence.set_equal(Epoch(1));
    evidence.handle_populated(Epoch(1), &set(&[0, 1, 2]));
    evidence.handle_dirty_log(Epoch(1), &set(&[0, 1]), Coverage::Complete);
    evidence.handle_dirty_log(Epoch(2), &set(&[1]), Coverage::Complete);
    assert_eq!(reason(&evidence, 0), Some(SkipReason::Unchanged));
    assert_eq!(reason(&evidence, 1), None);
    assert_eq!(reason(&evidence, 3), Some(SkipReason::Unpopulated));
    assert!(evidence.is_zero_there(3..4), "a hole that is current there is zero there");
}

#[test]
fn what_the_destination_has_in_a_new_slot_is_not_known() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.forget(2..6);
    assert!(evidence.is_zero_there(0..2) && !evidence.is_zero_there(2..3) && !evidence.is_zero_there(3..4));
    let presumed = |page| evidence.is_presumed_written(Gfn(page));
    assert_eq!([1, 2, 5].map(presumed), [false, true, true], "nobody saw a write");
}

#[test]
fn an_equal_destination_is_not_taken_for_an_empty_one() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.set_equal(Epoch(0));
    assert!(!evidence.is_zero_there(0..1));
}

#[test]
fn what_held_data_is_unknown_after_a_log_that_came_too_early() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.handle_populated(Epoch(1), &set(&[]));
    evidence.handle_dirty_log(Epoch(2), &set(&[0]), Coverage::Complete);
    assert_eq!(reason(&evidence, 0), None, "the set is older than the log");
}

#[test]
fn sending_a_page_does_not_make_a_presumed_write_certain() {
    let mut evidence = Evidence::new(&slots(4), Epoch(1), true);
    evidence.handle_dirty_log(Epoch(1), &set(&[]), Coverage::Partial);
    evidence.set_held(0..4, Epoch(1), false);
    assert!(evidence.is_current(Gfn(0)) && evidence.is_presumed_written(Gfn(0)));
    evidence.handle_dirty_log(Epoch(2), &set(&[0]), Coverage::Complete);
    assert!(!evidence.is_presumed_written(Gfn(0)) && evidence.is_presumed_written(Gfn(1)));
}
