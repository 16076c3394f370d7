//! Random guests, tables of slots and mishaps.

use proptest::prelude::*;

use super::*;

fn event() -> impl Strategy<Value = Event> {
    let page = || 0..FRAMES as u64;
    prop_oneof![
        12 => (page(), any::<bool>()).prop_map(|(page, seen)| Event::Write { page, seen }),
        4 => page().prop_map(|page| Event::Discard { page }),
        4 => page().prop_map(|page| Event::Read { page }),
        4 => Just(Event::Close),
        2 => Just(Event::ScanFails),
        2 => Just(Event::SendFails),
        2 => any::<bool>().prop_map(Event::HoldAcks),
        2 => any::<bool>().prop_map(Event::Slots),
        1 => Just(Event::Cut),
        2 => any::<bool>().prop_map(|lost| Event::Retry { lost }),
        8 => (0_u64..4).prop_map(|ticks| Event::Wait(ticks * TICK)),
        // Long enough for forecasts, whose unit is the millisecond.
        2 => (1_u64..40).prop_map(|time| Event::Wait(time * Nanos::MILLISECOND.0)),
    ]
}

/// One to four slots, cut out of the frames between borders.
fn table() -> impl Strategy<Value = Table> {
    proptest::collection::btree_set(0..=FRAMES as u64, 2..8).prop_map(|borders| {
        let borders: Vec<u64> = borders.into_iter().collect();
        borders.chunks_exact(2).map(|pair| (pair[0], pair[1] - pair[0])).collect()
    })
}

fn sound() -> impl Strategy<Value = PolicyKind> {
    proptest::sample::select(PolicyKind::ALL.into_iter().filter(|kind| kind.is_sound()).collect::<Vec<_>>())
}

fn baseline() -> impl Strategy<Value = Baseline> {
    prop_oneof![Just(Baseline::Empty), Just(Baseline::Equal { as_of: Epoch(0) }), Just(Baseline::Fingerprints)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn at_the_handover_the_destination_equals_the_source(
        policy in sound(),
        sync in any::<bool>(),
        baseline in baseline(),
        shift in 0_u32..4,
        tables in [table(), table()],
        plan in proptest::collection::vec((event(), 0_usize..6), 0..80),
    ) {
        let mut world = World::new(config(policy, sync, 1 << shift), tables, baseline);
        for (event, steps) in plan {
            world.happen(event);
            for _ in 0..steps {
                world.step();
            }
        }
        world.settle();
        prop_assert_eq!(world.check(), Ok(()));
    }
}
