use pagesieve_core::{Backing, Hva, MemSlot, Nanos};
use pagesieve_traces::{ContentId, EventSource, Machine, Target};

use super::*;
use crate::shadow::Shadow;

fn slot(base: u64, pages: u64) -> MemSlot {
    MemSlot { base: Gfn(base), pages, hva: Hva(base << 20), backing: Backing::Shared, numa_node: None }
}

fn header(fingerprints: bool) -> Header {
    Header {
        tool: String::new(),
        created: 0,
        clock: String::new(),
        machine: Machine::default(),
        source: EventSource::Synthetic,
        hooks: Vec::new(),
        arming: String::new(),
        target: Target::default(),
        class: None,
        epoch_length: Nanos(1),
        fingerprints,
        fingerprint_key: None,
        slots: vec![slot(0, 4)],
    }
}

fn set(pages: &[u64]) -> PageBitmap {
    let mut set = PageBitmap::new(16);
    for &page in pages {
        set.insert(Gfn(page));
    }
    set
}

/// A frame with written and populated pages, and summaries as page, content and delta.
fn frame(epoch: u32, written: &[u64], populated: &[u64], summaries: &[(u64, u32, Option<u16>)]) -> Frame {
    let mut frame = Frame { epoch: Epoch(epoch), populated: set(populated), ..Frame::default() };
    frame.log.written = set(written);
    let summary = |&(gfn, content, delta)| PageSummary { gfn: Gfn(gfn), content: ContentId(content), compressed: 900, delta };
    frame.summaries = Some(summaries.iter().map(summary).collect());
    frame
}

fn pass(source: &mut Source, frame: &Frame) {
    source.open(frame).unwrap();
    source.close(frame);
}

#[test]
fn a_page_of_the_log_is_torn_until_its_epoch_ends() {
    let mut source = Source::new(&header(true)).unwrap();
    pass(&mut source, &frame(0, &[], &[0, 1], &[(0, 5, None), (1, 6, None)]));
    let next = frame(1, &[1], &[0, 1], &[(1, 7, None)]);
    source.open(&next).unwrap();
    assert_eq!(source.read(Gfn(0)), Version(5));
    assert_eq!(source.read(Gfn(1)), Version::TORN);
    assert_eq!(source.truth(Gfn(1)), Version(6));
    assert!(!Version::TORN.same(Version::TORN));
    source.close(&next);
    assert_eq!(source.read(Gfn(1)), Version(7));
}

#[test]
fn the_oracle_is_not_fooled_by_a_torn_page_or_one_left_behind() {
    let mut source = Source::new(&header(true)).unwrap();
    pass(&mut source, &frame(0, &[], &[0, 1, 2], &[(0, 5, None), (1, 6, None), (2, 7, None)]));
    let mut shadow = Shadow::equal(&source);
    shadow.apply(1, &[Version::TORN, Version(9)]);
    shadow.defer(2..3);
    shadow.judge(Epoch(1), &source);
    assert_eq!(shadow.lost(), &{
        let mut lost = PageBitmap::new(4);
        lost.insert(Gfn(1));
        lost
    });
    assert_eq!(shadow.first_lost(), Some((Epoch(1), Gfn(1))));
    shadow.begin_round();
    shadow.judge(Epoch(2), &source);
    assert!(shadow.lost().contains(Gfn(2)), "deferred in an earlier round only");
}

#[test]
fn a_hole_is_zero_and_data_in_a_new_slot_is_not() {
    for fingerprints in [true, false] {
        let mut source = Source::new(&header(fingerprints)).unwrap();
        pass(&mut source, &frame(0, &[], &[0, 1], &[(0, 5, None), (1, 6, None)]));
        assert_ne!(source.truth(Gfn(1)), Version::ZERO);
        pass(&mut source, &frame(1, &[1], &[0, 3], &[]));
        assert_eq!(source.truth(Gfn(1)), Version::ZERO);
        assert_eq!(source.truth(Gfn(3)), Version::ZERO, "populated by reading");
        let mut grown = frame(2, &[], &[0, 8], &[(8, 9, None)]);
        grown.slots = Some(vec![slot(0, 4), slot(8, 4)]);
        assert!(source.open(&grown).unwrap());
        assert_eq!(source.read(Gfn(8)), Version::TORN);
        source.close(&grown);
        assert_ne!(source.truth(Gfn(8)), Version::ZERO);
    }
}

#[test]
fn the_smallest_form_of_a_page_depends_on_what_is_there() {
    let mut source = Source::new(&header(true)).unwrap();
    pass(&mut source, &frame(0, &[], &[0, 1], &[(0, 5, None), (1, 6, None)]));
    pass(&mut source, &frame(1, &[0], &[0, 1], &[(0, 7, Some(40))]));
    let bytes = |read, there| source.wire_len(Gfn(0), read, there);
    assert_eq!(bytes(Version(7), Version(5)), 40, "the destination holds what the delta starts from");
    assert_eq!(bytes(Version(7), Version(6)), 900);
    assert_eq!(bytes(Version(7), Version(7)), 0);
    assert_eq!(bytes(Version::ZERO, Version(5)), 0);
    assert_eq!(bytes(Version::TORN, Version(5)), 900);
    let mut unseen = frame(2, &[0], &[0, 1], &[]);
    unseen.summaries = None;
    pass(&mut source, &unseen);
    assert!(!source.truth(Gfn(0)).same(Version(7)), "it may have changed while nobody looked");
    let plain = Source::new(&header(false)).unwrap();
    assert_eq!(plain.wire_len(Gfn(0), Version(2), Version(1)), 4096);
}

#[test]
fn a_summary_after_an_epoch_that_nobody_looked_at_is_no_change_by_itself() {
    let mut source = Source::new(&header(true)).unwrap();
    pass(&mut source, &frame(0, &[], &[0, 1], &[(0, 5, None), (1, 6, None)]));
    let mut blind = frame(1, &[0, 1], &[0, 1], &[]);
    blind.summaries = None;
    pass(&mut source, &blind);
    let [sent, other] = [Gfn(0), Gfn(1)].map(|gfn| source.truth(gfn));
    pass(&mut source, &frame(2, &[], &[0, 1], &[(0, 7, Some(40))]));
    assert!(source.truth(Gfn(0)).same(sent), "it was read after the epoch in which it changed");
    assert!(source.truth(Gfn(1)).same(other));
    assert_eq!(source.wire_len(Gfn(0), sent, Version(5)), 900);
    pass(&mut source, &frame(3, &[0, 1], &[0, 1], &[(0, 8, Some(40))]));
    assert_eq!(source.truth(Gfn(0)), Version(8));
    assert_eq!(source.wire_len(Gfn(0), Version(8), sent), 900, "the delta starts from a content that has no name here");
    assert!(!source.truth(Gfn(1)).same(other), "it is in the log again, and may be what it was before the blind epoch");
}

#[test]
fn a_slot_that_reaches_too_far_is_refused_before_any_table_is_made() {
    let mut far = header(true);
    far.slots = vec![slot(1 << 39, 1)];
    assert!(matches!(Source::new(&far), Err(ReplayError::TooManyFrames(_))));
    let mut source = Source::new(&header(true)).unwrap();
    let mut later = frame(0, &[], &[], &[]);
    later.slots = Some(far.slots);
    assert!(matches!(source.open(&later), Err(ReplayError::TooManyFrames(_))));
}
