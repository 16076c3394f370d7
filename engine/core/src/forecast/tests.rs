use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

const MB: u64 = 1_000_000;
const GB: u64 = 1000 * MB;

fn millis(count: u64) -> Nanos {
    Nanos(count * Nanos::MILLISECOND.0)
}

/// A guest that writes new pages all the time.
fn streaming(bytes_per_second: u64) -> WorkingSet {
    WorkingSet::new([(Nanos::SECOND, bytes_per_second)])
}

fn link(bandwidth: u64, max_rounds: u32) -> Link {
    Link { bandwidth: Some(bandwidth), downtime_limit: millis(300), max_rounds }
}

fn at(bandwidth: u64, max_rounds: u32) -> Forecast {
    forecast(GB, Share::ONE, &streaming(25 * MB).capped(GB), &link(bandwidth, max_rounds))
}

/// 1 GB in 10 s leaves 250 MB, these leave 62.5 MB, and these 15.625 MB: 156.25 ms.
#[test]
fn a_guest_slower_than_the_wire_converges_geometrically() {
    let found = at(100 * MB, 30);
    assert_eq!((found.converges, found.why, found.rounds), (true, Verdict::Fits, 3));
    assert_eq!(found.downtime, Nanos(156_250_000));
    assert_eq!(found.total_time, Nanos(13_281_250_000));
    assert_eq!(found.wire_bytes, 1_328_125_000);
    assert_eq!(found.to_string(), "converges after 3 rounds in 13.3 s, downtime 157 ms");
}

#[test]
fn too_few_rounds_are_told_apart_from_a_standstill() {
    let found = at(100 * MB, 2);
    assert_eq!((found.converges, found.why, found.rounds), (false, Verdict::RoundsRanOut, 2));
    assert_eq!((found.downtime, found.total_time), (millis(625), millis(13_125)));
    let text = "does not converge at 800 Mbit/s: after 2 rounds a pause would still take 625 ms, and the limit is 300 ms; \
                it would at 1.03 Gbit/s";
    assert_eq!(found.to_string(), text);
    assert_eq!(at(100 * MB, 0).rounds, 1, "the full round is always made");
}

/// 1 GB at 250 MB/s takes 4 s, in which 100 MB are written: 400 ms. One byte per second less is one byte more.
#[test]
fn the_needed_bandwidth_is_exact() {
    let guest = streaming(25 * MB).capped(GB);
    let with = |bandwidth| forecast(GB, Share::ONE, &guest, &Link { downtime_limit: millis(400), ..link(bandwidth, 1) });
    assert_eq!(with(MB).needed_bandwidth, Some(250 * MB));
    assert!(with(250 * MB).converges);
    assert!(!with(250 * MB - 1).converges);
}

#[test]
fn a_fast_writer_of_few_pages_converges_at_once() {
    let hot = WorkingSet::new([(millis(1), 10 * MB), (Nanos(100 * Nanos::SECOND.0), 10 * MB)]);
    let found = forecast(GB, Share::ONE, &hot, &link(100 * MB, 30));
    assert_eq!((found.rounds, found.downtime, found.total_time), (1, millis(100), millis(10_100)));
}

/// The guest writes all of its memory again while it is sent.
#[test]
fn a_standstill_is_given_up_after_three_rounds_without_progress() {
    let found = forecast(GB, Share::ONE, &streaming(130 * MB).capped(GB), &link(100 * MB, 30));
    assert_eq!(found.why, Verdict::Standstill { dirty_rate: 100 * MB, send_rate: 100 * MB });
    assert_eq!((found.rounds, found.downtime), (1 + STANDSTILL_ROUNDS, Nanos(10 * Nanos::SECOND.0)));
    assert_eq!(found.wire_bytes, 5 * GB);
    let needed = found.needed_bandwidth.unwrap();
    assert!((140 * MB..150 * MB).contains(&needed), "a little more than it writes: {needed}");
    assert!(found.to_string().starts_with("does not converge at 800 Mbit/s: pages are written at 800 Mbit/s and sent at "));
}

/// 1 MB takes 10 ms, in which 1.3 MB are written, and so on: 1.3^4 MB are left in the end.
#[test]
fn rounds_that_grow_are_a_standstill_too() {
    let tight = Link { downtime_limit: millis(1), ..link(100 * MB, 30) };
    let found = forecast(MB, Share::ONE, &streaming(130 * MB), &tight);
    assert_eq!(found.why, Verdict::Standstill { dirty_rate: 130 * MB, send_rate: 100 * MB });
    assert_eq!((found.rounds, found.downtime), (4, Nanos(28_561_000)));
}

#[test]
fn half_the_bytes_on_the_wire_are_as_good_as_twice_the_wire() {
    let half = Share::of(50, 100);
    let found = forecast(GB, half, &streaming(25 * MB).capped(GB), &link(50 * MB, 30));
    let twice = at(100 * MB, 30);
    assert_eq!((found.rounds, found.downtime, found.total_time), (twice.rounds, twice.downtime, twice.total_time));
    assert_eq!(found.wire_bytes, twice.wire_bytes.div_ceil(2));
    assert_eq!((Share(1).wire(1), half.wire(3), Share::ONE.wire(u64::MAX)), (1, 2, u64::MAX), "rounded up");
    assert_eq!((Share::of(7, 0), Share::of(1, 3), Share::of(u64::MAX, 1)), (Share::ONE, Share(21_846), Share(u32::MAX)));
}

/// So nobody "repairs" it: the rest of an earlier round may be larger and still fit.
#[test]
fn more_bandwidth_may_mean_a_longer_downtime_after_fewer_rounds() {
    let (slow, fast) = (at(100 * MB, 30), at(130 * MB, 30));
    assert_eq!((slow.rounds, fast.rounds), (3, 2));
    assert!(slow.downtime < fast.downtime && fast.total_time < slow.total_time);
}

#[test]
fn the_edges_have_answers() {
    let none = at(0, 30);
    assert_eq!((none.converges, none.why, none.rounds, none.wire_bytes), (false, Verdict::NothingMoves, 0, 0));
    assert!(none.to_string().starts_with("does not converge at 0 bit/s: nothing moves; it would at "));
    let idle = forecast(0, Share::ONE, &streaming(MB), &link(0, 30));
    assert_eq!((idle.converges, idle.needed_bandwidth), (true, Some(0)), "nothing to send needs no wire");
    let unlimited = forecast(GB, Share::ONE, &streaming(GB), &Link { bandwidth: None, ..link(0, 30) });
    assert_eq!((unlimited.converges, unlimited.rounds, unlimited.total_time), (true, 1, Nanos(0)));
    let strict = Link { downtime_limit: Nanos(0), ..link(GB, 30) };
    let never = forecast(GB, Share::ONE, &streaming(u64::MAX), &strict);
    assert_eq!(never.needed_bandwidth, None);
    assert!(never.to_string().ends_with("; no bandwidth is enough"));
    assert_eq!(forecast(GB, Share::ONE, &WorkingSet::new([]), &strict).needed_bandwidth, Some(1), "an idle guest");
}

#[test]
fn the_curve_goes_through_its_points_in_any_order() {
    let points = [(millis(40), 90), (millis(10), 50), (millis(20), 40), (millis(20), 70), (Nanos(0), 9), (millis(30), 60)];
    let set = WorkingSet::new(points);
    let expected = [(0, 0), (5, 25), (10, 50), (15, 60), (20, 70), (30, 70), (35, 80), (40, 90), (50, 110)];
    for (window, bytes) in expected {
        assert_eq!(set.bytes_within(millis(window)), bytes, "{window} ms");
    }
    assert_eq!(set.bytes_within(Nanos(1)), 1, "rounded up");
    assert_eq!(set.clone().capped(65).bytes_within(millis(15)), 60);
    assert_eq!(set.capped(65).bytes_within(millis(50)), 65);
}

#[test]
fn rates_and_times_are_short_and_rounded_up() {
    let rates =
        [(0, "0 bit/s"), (1, "8 bit/s"), (125, "1 kbit/s"), (12_500_001, "101 Mbit/s"), (u64::MAX, "147573952590 Gbit/s")];
    for (rate, text) in rates {
        assert_eq!(Rate(rate).to_string(), text);
    }
    assert_eq!(Rate(124_999_999).to_string(), "1 Gbit/s", "never 1000 Mbit/s");
    let times = [(0, "0 s"), (999, "999 ns"), (1001, "1.01 us"), (12_345_678, "12.4 ms"), (1_500_000_000, "1.5 s")];
    for (nanos, text) in times {
        assert_eq!(Span(Nanos(nanos)).to_string(), text);
    }
    assert_eq!(Span(millis(118_950)).to_string(), "119 s");
    assert_eq!(Span(millis(119_001)).to_string(), "2 min 00 s");
    assert_eq!(Span(millis(184_900)).to_string(), "3 min 05 s");
}

/// Numbers of every size, the extremes among them.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| bits >> shift)]
}

prop_compose! {
    fn working_sets()(points in prop::collection::vec((number(), number()), 0..8), cap in number()) -> (Vec<(Nanos, u64)>, u64) {
        (points.into_iter().map(|(window, bytes)| (Nanos(window), bytes)).collect(), cap)
    }
}

prop_compose! {
    /// Guests and wires of sizes that meet: most of these migrations neither end at once nor stand still at once.
    fn likely()(
        points in prop::collection::vec((1_u64..1 << 36, 1_u64..1 << 32), 1..6),
        first in 1_u64..1 << 34,
        share in 1_u32..1 << 17,
        bandwidth in 1_u64..1 << 32,
        limit in 0_u64..1 << 30,
        max_rounds in 0_u32..40,
    ) -> (WorkingSet, u64, Share, Link) {
        let points = points.into_iter().map(|(window, bytes)| (Nanos(window), bytes));
        let link = Link { bandwidth: Some(bandwidth), downtime_limit: Nanos(limit), max_rounds };
        (WorkingSet::new(points).capped(1 << 34), first, Share(share), link)
    }
}

/// The rest after each round, without any rule to stop early, in plain fractions of a second.
fn naive_rests(first: u64, share: Share, set: &WorkingSet, link: &Link) -> Vec<u64> {
    let bandwidth = u128::from(link.bandwidth.unwrap());
    let rounds = link.max_rounds.max(1);
    let mut rest = first;
    let step = |_| {
        let wire = (u128::from(rest) * u128::from(share.0)).div_ceil(1 << 16);
        rest = set.bytes_within(Nanos((wire * 1_000_000_000).div_ceil(bandwidth) as u64));
        rest
    };
    (0..rounds).map(step).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn giving_up_early_gives_nothing_away((set, first, share, link) in likely()) {
        let found = forecast(first, share, &set, &link);
        let rests = naive_rests(first, share, &set, &link);
        let fits = |rest: &u64| {
            let wire = (u128::from(*rest) * u128::from(share.0)).div_ceil(1 << 16);
            wire * 1_000_000_000 <= u128::from(link.bandwidth.unwrap()) * u128::from(link.downtime_limit.0)
        };
        prop_assert_eq!(found.converges, rests.iter().any(fits));
        if found.converges {
            prop_assert_eq!(found.rounds as usize, 1 + rests.iter().position(fits).unwrap());
        }
    }

    #[test]
    fn more_bandwidth_never_makes_it_worse((set, first, share, link) in likely(), more in 0_u64..1 << 32) {
        let wider = Link { bandwidth: link.bandwidth.map(|bandwidth| bandwidth + more), ..link };
        let (narrow, wide) = (forecast(first, share, &set, &link), forecast(first, share, &set, &wider));
        prop_assert_eq!(narrow.needed_bandwidth, wide.needed_bandwidth);
        if narrow.converges {
            prop_assert!(wide.converges && wide.rounds <= narrow.rounds);
            prop_assert!(wide.total_time <= narrow.total_time && wide.wire_bytes <= narrow.wire_bytes);
        }
        if narrow.rounds == wide.rounds {
            prop_assert!(wide.downtime <= narrow.downtime);
        }
    }

    #[test]
    fn the_needed_bandwidth_is_the_border((set, first, share, link) in likely()) {
        let with = |bandwidth| forecast(first, share, &set, &Link { bandwidth: Some(bandwidth), ..link });
        let found = with(1 << 32);
        match found.needed_bandwidth {
            Some(needed) => {
                prop_assert!(with(needed).converges);
                prop_assert!(needed == 0 || !with(needed - 1).converges);
            }
            None => prop_assert!(!found.converges && !with(u64::MAX).converges),
        }
    }

    #[test]
    fn no_number_is_too_large(
        (points, cap) in working_sets(), first in number(), share in any::<u32>(),
        bandwidth in prop::option::of(number()), limit in number(), max_rounds in any::<u32>(),
    ) {
        let set = WorkingSet::new(points).capped(cap);
        let link = Link { bandwidth, downtime_limit: Nanos(limit), max_rounds };
        let found = forecast(first, Share(share), &set, &link);
        prop_assert!(found.rounds <= MAX_ROUNDS && found.downtime <= found.total_time);
        prop_assert_eq!(found.converges, found.why == Verdict::Fits);
        prop_assert!(found.to_string().contains("converge"));
    }

    #[test]
    fn the_curve_never_falls((points, cap) in working_sets(), windows in prop::collection::vec(number(), 2..20)) {
        let set = WorkingSet::new(points.clone()).capped(cap);
        let mut windows = windows;
        windows.sort_unstable();
        let bytes: Vec<u64> = windows.iter().map(|&window| set.bytes_within(Nanos(window))).collect();
        prop_assert!(bytes.is_sorted());
        for (window, bytes) in points.into_iter().filter(|point| point.0 > Nanos(0)) {
            prop_assert!(set.bytes_within(window) >= bytes.min(cap));
        }
    }
}
