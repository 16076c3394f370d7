use std::vec;

use super::*;
use crate::{Backing, Gfn, Hva, MemSlot};

const BLOCK: u64 = 4;

fn slots(sizes: &[(u64, u64)]) -> MemSlots {
    let slot = |&(base, pages): &(u64, u64)| MemSlot {
        base: Gfn(base),
        pages,
        hva: Hva(base << 20),
        backing: Backing::Shared,
        numa_node: None,
    };
    MemSlots::from_slots(sizes.iter().map(slot)).unwrap()
}

fn pages(end: u64, members: impl IntoIterator<Item = u64>) -> PageBitmap {
    let mut set = PageBitmap::new(end);
    members.into_iter().for_each(|page| assert!(set.insert(Gfn(page))));
    set
}

fn config() -> GaugeConfig {
    GaugeConfig { policy: PolicyKind::Proven, block_size: BLOCK * PAGE_SIZE, first_epoch: Epoch(1) }
}

/// Two slots of 4 and 2 blocks, of which the last block holds no data.
fn gauge() -> Gauge {
    let slots = slots(&[(0, 16), (32, 8)]);
    Gauge::new(config(), &slots, &pages(40, (0..16).chain(32..36))).unwrap()
}

fn closed(log: impl IntoIterator<Item = u64>) -> ClosedEpoch {
    ClosedEpoch { log: pages(64, log), coverage: Coverage::Complete, populated: None, slots: None }
}

fn seconds(seconds: u64) -> Nanos {
    Nanos(seconds * Nanos::SECOND.0)
}

#[test]
fn an_epoch_is_told_by_rates_and_by_what_a_sync_would_skip() {
    let mut gauge = gauge();
    gauge.handle_events(30, 2);
    gauge.handle_events(10, 0);
    // Page 20 lies in no slot.
    let reading = gauge.handle_epoch(seconds(2), &closed([0, 1, 5, 20])).unwrap();
    assert_eq!((reading.epoch, reading.span, reading.complete), (Epoch(1), seconds(2), true));
    assert_eq!((reading.dirty_pages, reading.resident_pages, reading.pages), (3, 20, 24));
    assert_eq!((reading.dirty_rate(), reading.event_rate(), reading.lost), (3 * 4096 / 2, 20, 2));
    let sync = reading.sync;
    assert_eq!((sync.total, sync.sent, sync.resident), (6, 2, 5));
    assert_eq!((sync.skipped.unchanged, sync.skipped.unpopulated), (3, 1));
    let quiet = gauge.handle_epoch(seconds(3), &closed([])).unwrap();
    assert_eq!((quiet.epoch, quiet.dirty_rate(), quiet.events), (Epoch(2), 0, 0));
    assert_eq!((quiet.sync.total, quiet.sync.sent), (6, 0), "only this round, and nothing was written since the last");
}

#[test]
fn an_epoch_that_proves_nothing_lets_nothing_be_skipped() {
    let mut gauge = gauge();
    let reading = gauge.handle_epoch(seconds(1), &ClosedEpoch::unproven()).unwrap();
    assert!(!reading.complete);
    assert_eq!((reading.sync.sent, reading.sync.skipped.unchanged), (6, 0));
    assert_eq!(gauge.handle_epoch(seconds(2), &closed([0])).unwrap().sync.sent, 1, "the next one is as good as any");
}

#[test]
fn the_working_set_is_told_as_far_back_as_the_guest_was_watched() {
    let mut gauge = gauge();
    let bytes = |reading: &Reading| -> Vec<_> {
        reading.working_set.iter().map(|set| (set.window.0 / Nanos::MILLISECOND.0, set.bytes / (BLOCK * PAGE_SIZE))).collect()
    };
    let half = Nanos(Nanos::SECOND.0 / 2);
    assert_eq!(bytes(&gauge.handle_epoch(half, &closed([0])).unwrap()), [(500, 1)]);
    for second in 1..11 {
        gauge.handle_epoch(seconds(second), &closed([second % 2 * 4])).unwrap();
    }
    assert_eq!(bytes(&gauge.handle_epoch(seconds(11), &closed([8])).unwrap()), [(1000, 1), (10_000, 3)]);
}

#[test]
fn a_forecast_is_the_engines_and_knows_the_link() {
    let mut gauge = gauge();
    for second in 1..4 {
        gauge.handle_epoch(seconds(second), &closed([0])).unwrap();
    }
    let link = |bandwidth| Link { bandwidth: Some(bandwidth), downtime_limit: Mode::DOWNTIME_LIMIT, max_rounds: 30 };
    let (slow, fast) = (gauge.foretell(&link(BLOCK * PAGE_SIZE)), gauge.foretell(&link(1 << 30)));
    assert!(!slow.converges && fast.converges, "it writes a block in each second: {slow:?} {fast:?}");
    assert_eq!(fast.wire_bytes / (BLOCK * PAGE_SIZE), 5, "what holds data");
    gauge.expect_share(Share(1 << 15));
    assert_eq!(gauge.foretell(&link(1 << 30)).wire_bytes, fast.wire_bytes.div_ceil(2));
    assert_eq!(gauge.sample(2), [0..4, 12..16]);
}

#[test]
fn ranges_join_neighbours_of_about_the_same_heat_within_one_slot() {
    let mut gauge = gauge();
    for second in 1..=8 {
        let rare = if second == 8 { vec![9] } else { vec![] };
        gauge.handle_epoch(seconds(second), &closed([1, 6, 12, 33].into_iter().chain(rare))).unwrap();
    }
    let ranges = gauge.hot_ranges();
    let shape: Vec<_> = ranges.iter().map(|range| (range.slot, range.start.0, range.end.0, range.share())).collect();
    assert_eq!(shape, [(0, 0, 8, 1000), (0, 8, 12, 125), (0, 12, 16, 1000), (1, 32, 36, 1000)]);
    assert_eq!(ranges[0].share_now(), 1000);
    gauge.handle_epoch(seconds(9), &closed([1])).unwrap();
    assert_eq!(gauge.hot_ranges()[0].share_now(), 500);
    assert_eq!(gauge.heat(100), [1000, 889, 112, 889, 889, 0], "no more cells than blocks");
    assert_eq!(gauge.heat(2), [667, 593]);
    assert_eq!(gauge.heat(0), [0_u16; 0]);
}

#[test]
fn slots_that_come_and_go_leave_the_others_their_heat() {
    let mut gauge = gauge();
    gauge.handle_epoch(seconds(1), &closed([1, 33])).unwrap();
    let other = ClosedEpoch { slots: Some(slots(&[(32, 8), (48, 4)])), populated: Some(pages(64, [33, 48])), ..closed([49]) };
    let reading = gauge.handle_epoch(seconds(2), &other).unwrap();
    assert_eq!((reading.pages, reading.resident_pages, reading.dirty_pages), (12, 2, 1));
    let ranges = gauge.hot_ranges();
    assert_eq!(
        ranges.iter().map(|range| (range.slot, range.start.0, range.share_now())).collect::<Vec<_>>(),
        [(0, 32, 0), (1, 48, 1000)]
    );
    assert_eq!(gauge.slots().iter().len(), 2);
}

#[test]
fn memory_may_come_only_later() {
    let mut gauge = Gauge::new(config(), &MemSlots::new(), &PageBitmap::default()).unwrap();
    let empty = gauge.handle_epoch(seconds(1), &closed([])).unwrap();
    assert_eq!((empty.pages, empty.sync.total, gauge.heat(8).len()), (0, 0, 0));
    let first = ClosedEpoch { slots: Some(slots(&[(0, 16)])), populated: Some(pages(16, 0..16)), ..closed(0..16) };
    assert_eq!(gauge.handle_epoch(seconds(2), &first).unwrap().sync.sent, 4);
    assert_eq!(gauge.handle_epoch(seconds(3), &closed([3])).unwrap().sync.skipped.unchanged, 3);
}
