//! Guests as fluids on one wire: what the ways to divide it come to over a whole migration.

use alloc::vec::Vec;

use super::*;

const MB: u64 = 1_000_000;
const WIRE: u64 = 125 * MB;
const SIZE: u64 = 1000 * MB;
/// Steps in a second.
const HZ: u64 = 100;
/// Steps that the rest may take once a guest is paused: 300 ms.
const DOWNTIME_LIMIT: u64 = 30;
const AN_HOUR: u64 = 3600 * HZ;

#[derive(Clone, Copy, Debug)]
struct Guest {
    demand: Demand,
    paused_at: Option<u64>,
    done_at: Option<u64>,
}

/// When each guest was done, in steps; `None` if it was not within an hour. Checks the downtimes on the way.
fn run(policy: SharePolicy, dirty_rates: &[u64]) -> Vec<Option<u64>> {
    let fresh = |&rate: &u64| Guest { demand: demand(1, SIZE, rate * MB), paused_at: None, done_at: None };
    let mut guests: Vec<Guest> = dirty_rates.iter().map(fresh).collect();
    for now in 0..AN_HOUR {
        let demands: Vec<Demand> = guests.iter().map(|guest| guest.demand).collect();
        for (guest, share) in guests.iter_mut().zip(divide(WIRE, policy, &demands)) {
            step(guest, share, now);
        }
    }
    for Guest { paused_at, done_at, .. } in &guests {
        if let (Some(paused), Some(done)) = (paused_at, done_at) {
            assert!(done - paused <= DOWNTIME_LIMIT, "{policy}: a downtime of {} steps", done - paused);
        }
    }
    guests.iter().map(|guest| guest.done_at).collect()
}

fn step(guest: &mut Guest, share: u64, now: u64) {
    let demand = &mut guest.demand;
    if guest.done_at.is_some() {
        return;
    }
    let written = if demand.paused { 0 } else { demand.dirty_rate / HZ };
    // A guest cannot have more to send than it has memory, however long it waits.
    demand.remaining = (demand.remaining + written).min(SIZE).saturating_sub(share / HZ);
    if demand.remaining == 0 {
        guest.done_at = Some(now + 1);
    } else if !demand.paused && demand.remaining <= share / HZ * DOWNTIME_LIMIT {
        demand.paused = true;
        guest.paused_at = Some(now + 1);
    }
}

fn mean(done: &[Option<u64>]) -> u64 {
    let done: Vec<u64> = done.iter().map(|done| done.expect("the guest should have moved within the hour")).collect();
    done.iter().sum::<u64>() / done.len() as u64
}

/// Together the guests write 160 MB/s on a wire of 125 MB/s. Each of four gets 31 MB/s and writes 40.
#[test]
fn in_parallel_nobody_converges_and_one_by_one_everybody_does() {
    let rates = [40; 4];
    assert_eq!(run(Equal, &rates), [None; 4]);
    assert_eq!(run(Weighted, &rates), [None; 4]);
    for policy in [OneByOne, ShortestFirst, Converging] {
        let done = run(policy, &rates);
        assert!(done.is_sorted() && mean(&done) < 60 * HZ, "{policy}: 1000 MB at 85 MB/s take 12 s each: {done:?}");
    }
}

/// The first in the list writes nearly as much as the wire takes, so whoever waits for it waits long.
#[test]
fn mixed_guests_move_sooner_with_the_calm_ones_first() {
    let rates = [100, 30, 20, 10];
    let [equal, in_order, shortest, converging] =
        [Equal, OneByOne, ShortestFirst, Converging].map(|policy| mean(&run(policy, &rates)));
    assert!(converging < equal && converging < in_order, "{converging}, {equal}, {in_order}");
    assert!(shortest < equal && shortest < in_order, "{shortest}, {equal}, {in_order}");
    assert!(run(Converging, &rates)[0] > run(Converging, &rates)[1], "the busiest is the last");
}

/// Guests that write nothing move however the wire is divided, and the last is done at the same time.
#[test]
fn idle_guests_are_done_together_or_in_turn() {
    for policy in SharePolicy::ALL {
        let done = run(policy, &[0; 4]);
        let last = done.iter().flatten().max().copied().unwrap();
        assert_eq!(last, 32 * HZ, "{policy}: 4000 MB at 125 MB/s take 32 s: {done:?}");
    }
}
