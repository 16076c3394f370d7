//! Synthetic traces are consistent, differ by class, and never change.

mod common;

use std::collections::{BTreeSet, HashMap};

use common::file;
use pagesieve_core::{AccessKind, Gfn, Nanos, Origin};
use pagesieve_traces::{Class, ContentId, Frame, Reader, SynthConfig, SynthError, synth, validate};

fn config(class: Class) -> SynthConfig {
    SynthConfig { memory: 32 << 20, duration: Nanos(4_500_000_000), ..SynthConfig::new(class) }
}

fn frames(config: SynthConfig) -> Vec<Frame> {
    synth(config).unwrap().collect()
}

#[test]
fn the_same_seed_makes_the_same_bytes() {
    for class in Class::ALL {
        let bytes = |config| file(synth(config).unwrap().header(), &frames(config));
        let other = SynthConfig { seed: 2, ..config(class) };
        assert!(bytes(config(class)) == bytes(config(class)));
        assert_ne!(frames(config(class)), frames(other));
    }
}

/// Counts of what a consistent trace may hold, to see that all of it occurs.
#[derive(Default, Debug)]
struct Seen {
    changed: usize,
    unchanged: usize,
    zeroed: usize,
    copied: usize,
    discarded: u64,
}

/// An independent look at the promises: content changes only inside the log, writes have events, holes read as zero.
fn look(frames: &[Frame]) -> Seen {
    let mut content: HashMap<Gfn, ContentId> = HashMap::new();
    let mut seen = Seen::default();
    let mut known = BTreeSet::new();
    for (at, frame) in frames.iter().enumerate() {
        let summaries = frame.summaries.as_ref().unwrap();
        let writes: BTreeSet<_> =
            frame.events.iter().filter(|event| event.kind == AccessKind::Write).map(|event| event.gfn).collect();
        assert_eq!(writes, frame.log.written.iter().collect(), "the scan sees what the events see");
        if at == 0 {
            let first: Vec<_> = summaries.iter().map(|summary| summary.gfn).collect();
            assert_eq!(first, frame.populated.iter().collect::<Vec<_>>());
        }
        let log = frame.log.all();
        let mut changed = 0;
        for summary in summaries {
            let old = content.insert(summary.gfn, summary.content).unwrap_or_default();
            if at > 0 {
                assert!(log.contains(summary.gfn), "content of {} changed outside the log", summary.gfn);
                assert_ne!(old, summary.content, "only changes are listed");
                changed += 1;
                seen.zeroed += usize::from(summary.content == ContentId(0));
                seen.copied += usize::from(summary.content != ContentId(0) && known.contains(&summary.content));
            }
        }
        known.extend(summaries.iter().map(|summary| summary.content));
        for (gfn, _) in content.iter().filter(|(_, content)| content.0 != 0) {
            assert!(frame.populated.contains(*gfn), "a hole reads as zero");
        }
        if at > 0 {
            seen.changed += changed;
            seen.unchanged += log.count() as usize - changed;
        }
        seen.discarded += frame.log.discarded.count();
    }
    seen
}

#[test]
fn every_class_is_consistent_and_valid() {
    for class in Class::ALL {
        let config = SynthConfig { duration: Nanos(20_000_000_000), ..config(class) };
        let frames = frames(config);
        assert_eq!(frames.len(), 20);
        let seen = look(&frames);
        assert!(seen.changed > 0 && seen.unchanged > 0 && seen.zeroed > 0 && seen.discarded > 0, "{class}: {seen:?}");
        assert!(seen.copied > 0, "{class}: {seen:?}");
        let file = file(synth(config).unwrap().header(), &frames);
        let validation = validate(&mut Reader::new(&file[..]).unwrap()).unwrap();
        assert!(validation.is_valid() && validation.complete, "{class}: {validation:?}");
    }
}

#[test]
fn a_guest_beyond_3_gib_has_a_hole_for_devices() {
    for (memory, slots) in [(3u64 << 30, 1), (4 << 30, 2)] {
        let config = SynthConfig { memory, duration: Nanos::SECOND, fingerprints: false, ..SynthConfig::new(Class::HeavyIo) };
        let source = synth(config).unwrap();
        let header = source.header().clone();
        assert_eq!(header.slots.len(), slots);
        let frames: Vec<_> = source.collect();
        let file = file(&header, &frames);
        let mut reader = Reader::new(&file[..]).unwrap();
        assert!(validate(&mut reader).unwrap().is_valid());
        assert_eq!(frames[0].populated.end(), reader.slots().frame_end());
        let above = frames[0].events.iter().filter(|event| event.gfn.0 >= 0x10_0000).count();
        assert_eq!(above > 0, slots == 2, "memory above the hole is used");
    }
}

fn events(class: Class, what: impl Fn(&Frame) -> usize) -> usize {
    frames(SynthConfig { memory: 256 << 20, ..config(class) }).iter().map(what).sum()
}

#[test]
fn classes_differ_in_the_way_their_names_say() {
    let all = Class::ALL.map(|class| events(class, |frame| frame.events.len()));
    assert!(all.is_sorted() && all[0] * 4 < all[1] && all[1] * 4 < all[3], "{all:?}");
    let by_kernel = |frame: &Frame| frame.events.iter().filter(|event| event.origin == Origin::Kernel).count();
    let kernel = Class::ALL.map(|class| events(class, by_kernel));
    assert!(kernel[3] * 3 > all[3] && kernel[2] * 3 < all[2], "{kernel:?} of {all:?}");
    let in_sequence = |frame: &Frame| frame.events.windows(2).filter(|pair| pair[1].gfn.0 == pair[0].gfn.0 + 1).count();
    let sequential = Class::ALL.map(|class| events(class, in_sequence));
    assert!(sequential[3] * 5 > all[3] * 4 && sequential[2] * 3 < all[2] * 2, "{sequential:?} of {all:?}");
}

#[test]
fn memory_fills_up_over_time() {
    let frames = frames(SynthConfig { memory: 512 << 20, ..config(Class::Light) });
    assert!(frames.last().unwrap().populated.count() > frames[0].populated.count());
}

#[test]
fn events_do_not_depend_on_summaries() {
    let without = frames(SynthConfig { fingerprints: false, ..config(Class::Mixed) });
    for (with, without) in frames(config(Class::Mixed)).into_iter().zip(without) {
        assert_eq!(without.summaries, None);
        assert_eq!(Frame { summaries: None, ..with }, without);
    }
}

#[test]
fn impossible_parameters_are_refused() {
    let good = config(Class::Idle);
    let refused = |config| synth(config).err().unwrap();
    assert_eq!(refused(SynthConfig { memory: 4096, ..good }), SynthError::Memory(4096));
    assert_eq!(refused(SynthConfig { epoch: Nanos(0), ..good }), SynthError::Epoch(Nanos(0)));
    let ever = Nanos(u64::MAX);
    assert_eq!(refused(SynthConfig { duration: ever, epoch: Nanos(1), ..good }), SynthError::Duration(ever));
    assert_eq!("heavy-io".parse(), Ok(Class::HeavyIo));
    assert!("busy".parse::<Class>().unwrap_err().to_string().contains("heavy-io"));
    assert_eq!(frames(SynthConfig { duration: Nanos(0), ..good }).len(), 1);
}
