use alloc::string::ToString;

use proptest::prelude::*;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use super::SharePolicy::{Converging, Equal, OneByOne, ShortestFirst, Weighted};
use super::*;

mod fluid;

fn demand(weight: u32, remaining: u64, dirty_rate: u64) -> Demand {
    Demand { weight, remaining, dirty_rate, paused: false }
}

#[test]
fn each_policy_keeps_its_word() {
    // Shortest with the whole wire: 700 / 70 = 10 s, then 1200 / 95 = 12.6 s, then 500 / 20 = 25 s.
    let demands = [demand(1, 500, 80), demand(2, 1200, 5), demand(5, 700, 30), demand(9, 0, 1)];
    assert_eq!(divide(100, Equal, &demands), [34, 33, 33, 0], "the byte that is left over goes to the first");
    assert_eq!(divide(100, Weighted, &demands), [13, 25, 62, 0]);
    assert_eq!(divide(100, OneByOne, &demands), [100, 0, 0, 0]);
    assert_eq!(divide(100, ShortestFirst, &demands), [0, 0, 100, 0]);
    assert_eq!(divide(100, Converging, &demands), [0, 10 + 15, 60 + 15, 0], "2 * 80 do not fit");
}

#[test]
fn a_paused_guest_goes_first() {
    let mut demands = [demand(1, 500, 10), demand(2, 500, 10), demand(1, 500, 60)];
    demands[1].paused = true;
    for policy in SharePolicy::ALL {
        assert_eq!(divide(100, policy, &demands), [0, 100, 0], "{policy}");
    }
    demands[2].paused = true;
    for policy in SharePolicy::ALL {
        let expected = if policy == Weighted { [0, 67, 33] } else { [0, 50, 50] };
        assert_eq!(divide(100, policy, &demands), expected, "{policy}: neither waits for the other");
    }
    demands[1].remaining = 0;
    demands[2].remaining = 0;
    assert_eq!(divide(100, Equal, &demands), [100, 0, 0], "a paused guest with nothing left holds nobody up");
}

#[test]
fn a_wire_too_narrow_for_all_is_not_left_idle() {
    let hopeless = [demand(1, 500, 300), demand(1, 500, 200)];
    assert_eq!(divide(100, Converging, &hopeless), [0, 100], "the calmer one");
    assert_eq!(divide(100, ShortestFirst, &hopeless), [0, 100]);
    assert_eq!(divide(250, Converging, &hopeless), [0, 250], "more than it writes, though not twice as much");
    assert_eq!(divide(1, Equal, &hopeless), [1, 0]);
    assert_eq!(divide(0, Equal, &hopeless), [0, 0]);
    assert_eq!(divide(100, Weighted, &[demand(0, 1, 0), demand(0, 1, 0)]), [50, 50], "weight 0 counts as 1");
    assert!(divide(100, Equal, &[]).is_empty());
}

#[test]
fn names_round_trip_and_a_wrong_one_lists_the_right_ones() {
    for policy in SharePolicy::ALL {
        let name = policy.to_string();
        assert_eq!(name.parse(), Ok(policy));
        let read: StrDeserializer<'_, Error> = name.as_str().into_deserializer();
        assert_eq!(SharePolicy::deserialize(read), Ok(policy), "files use the same names");
    }
    let error = "lottery".parse::<SharePolicy>().unwrap_err().to_string();
    let names = "equal, weighted, one-by-one, shortest-first, converging";
    assert_eq!(error, alloc::format!("no such way to share bandwidth; use one of {names}"));
}

prop_compose! {
    fn small()(weight in 0_u32..9, remaining in 0_u64..4, dirty_rate in 0_u64..60, paused in prop::bool::weighted(0.1)) -> Demand {
        Demand { weight, remaining, dirty_rate, paused }
    }
}

prop_compose! {
    fn any_size()(weight in any::<u32>(), remaining in any::<u64>(), dirty_rate in any::<u64>(), paused in any::<bool>()) -> Demand {
        Demand { weight, remaining, dirty_rate, paused }
    }
}

fn cases() -> impl Strategy<Value = (u64, SharePolicy, Vec<Demand>)> {
    let demands = prop_oneof![
        4 => (0_u64..200, prop::collection::vec(small(), 0..8)),
        1 => (prop_oneof![any::<u64>(), Just(u64::MAX)], prop::collection::vec(any_size(), 0..8)),
    ];
    (demands, prop::sample::select(&SharePolicy::ALL)).prop_map(|((total, demands), policy)| (total, policy, demands))
}

/// Guests that may get something: the paused ones with work, or else all with work.
fn eligible(demands: &[Demand]) -> Vec<usize> {
    let paused = demands.iter().any(|demand| demand.paused && demand.remaining > 0);
    (0..demands.len()).filter(|&at| demands[at].remaining > 0 && demands[at].paused == paused).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_handed_out_to_those_who_can_use_it((total, policy, demands) in cases()) {
        let shares = divide(total, policy, &demands);
        let eligible = eligible(&demands);
        let sum: u128 = shares.iter().map(|&share| u128::from(share)).sum();
        prop_assert_eq!(sum, if eligible.is_empty() { 0 } else { u128::from(total) });
        prop_assert_eq!(shares.len(), demands.len());
        for (at, &share) in shares.iter().enumerate() {
            prop_assert!(share == 0 || eligible.contains(&at), "guest {} got {}", at, share);
        }
    }

    #[test]
    fn nobody_starves_under_equal_and_weighted((total, _, demands) in cases()) {
        let eligible = eligible(&demands);
        for policy in [Equal, Weighted] {
            let weight = |at: usize| if policy == Equal { 1 } else { u128::from(demands[at].weight.max(1)) };
            let sum: u128 = eligible.iter().map(|&at| weight(at)).sum();
            let shares = divide(total, policy, &demands);
            for &at in &eligible {
                let exact = u128::from(total) * weight(at) / sum;
                prop_assert!((exact..=exact + 1).contains(&u128::from(shares[at])), "guest {} of {:?}", at, shares);
            }
        }
    }

    #[test]
    fn a_guest_gets_no_less_once_it_is_paused((total, policy, demands) in cases(), at in any::<prop::sample::Index>()) {
        prop_assume!(!demands.is_empty());
        let at = at.index(demands.len());
        let mut paused = demands.clone();
        paused[at].paused = true;
        let (before, after) = (divide(total, policy, &demands)[at], divide(total, policy, &paused)[at]);
        prop_assert!(after >= before, "{} before the pause, {} after it", before, after);
    }

    #[test]
    fn no_other_choice_lets_more_guests_converge((total, _, demands) in cases()) {
        let demands: Vec<Demand> = demands.into_iter().map(|demand| Demand { paused: false, ..demand }).collect();
        let working = eligible(&demands);
        let need = |at: usize| u128::from(demands[at].dirty_rate) * u128::from(HEADROOM);
        let fits = |choice: &u32| {
            let chosen = working.iter().enumerate().filter(|(bit, _)| choice & (1 << bit) != 0);
            chosen.map(|(_, &at)| need(at)).sum::<u128>() <= u128::from(total)
        };
        let most = (0..1_u32 << working.len()).filter(fits).map(u32::count_ones).max().unwrap_or(0);
        let shares = divide(total, Converging, &demands);
        let winning = working.iter().filter(|&&at| u128::from(shares[at]) >= need(at)).count();
        prop_assert_eq!(winning, most as usize);
        let wasted = working.iter().filter(|&&at| shares[at] > 0 && u128::from(shares[at]) < need(at)).count();
        prop_assert!(wasted == 0 || (wasted == 1 && winning == 0), "{:?}", shares);
    }
}
