//! A cut says of its epochs what the whole says of them, and begins with the state that they begin with.

mod common;

use std::ops::Range;

use common::{assert_sound, assert_valid, blinded, contents, file_of, frames_of, guest, verified};
use pagesieve_convert::{Cut, CutError, Selection, cut};
use pagesieve_core::{Gfn, Hva, MemSlot, Nanos, PAGE_SIZE, PageBitmap};
use pagesieve_traces::{Class, End, Frame, Happening, Header, OnDamage, ReadOptions, Reader, UnknownReason};
use proptest::prelude::*;

fn cut_file(file: &[u8], selection: &Selection) -> Result<(Vec<u8>, Cut), CutError> {
    let mut out = Vec::new();
    let mut told = Vec::new();
    let done = cut(&mut Reader::new(file).unwrap(), &mut out, selection, &mut |bytes| told.push(bytes))?;
    assert!(told.is_sorted() && told.last().is_some_and(|&bytes| bytes <= file.len() as u64));
    assert_eq!(done.bytes, out.len() as u64);
    Ok((out, done))
}

fn ms(from: u64, to: u64) -> Selection {
    let time = |millis: u64| Nanos(millis * Nanos::MILLISECOND.0);
    Selection { from: Some(time(from)), to: Some(time(to)), pages: None }
}

/// The pages of a set that lie in these ranges.
fn within(set: &PageBitmap, ranges: &[Range<u64>]) -> Vec<u64> {
    set.iter().map(|gfn| gfn.0).filter(|page| ranges.iter().any(|range| range.contains(page))).collect()
}

fn pages(set: &PageBitmap) -> Vec<u64> {
    set.iter().map(|gfn| gfn.0).collect()
}

#[test]
fn everything_is_the_same_trace_with_a_note() {
    let (header, frames) = guest(Class::Mixed, 1);
    let (out, done) = cut_file(&file_of(&header, &frames), &Selection::default()).unwrap();
    let (new_header, mut new) = frames_of(&out);
    assert_eq!(new_header, header);
    assert!(matches!(&new[0].notes.remove(0).what, Happening::Message(text) if text.contains("from the start to the end")));
    assert_eq!(new, frames);
    assert_eq!((done.shift_ns, done.frames), (0, frames.len() as u64));
}

#[test]
fn a_cut_in_the_middle_begins_with_the_state_of_the_whole() {
    let (header, frames) = guest(Class::Mixed, 2);
    let header = Header { created: 1_700_000_000, ..header };
    let (out, done) = cut_file(&file_of(&header, &frames), &ms(1_250, 1_600)).unwrap();
    assert_sound(&out);
    let (new_header, new) = frames_of(&out);
    // 1.25 s lies in epoch 12 (the scans make epochs a little longer than 100 ms), and epoch 15 begins before 1.6 s.
    let first = frames.iter().rposition(|frame| frame.start.0 <= 1_250_000_000).unwrap();
    let last = frames.iter().rposition(|frame| frame.start.0 < 1_600_000_000).unwrap();
    assert_eq!(new.len(), last - first + 2, "a baseline, and the epochs");
    let before = &frames[first - 1];
    assert_eq!(done.shift_ns, before.scan_start.0);
    assert_eq!(new_header.created, header.created + done.shift_ns / 1_000_000_000);
    let baseline = &new[0];
    assert_eq!((baseline.start, baseline.end.0), (Nanos(0), before.end.0 - done.shift_ns));
    assert_eq!((&baseline.populated, &baseline.huge), (&before.populated, &before.huge));
    assert_eq!(baseline.log.merely_unknown().count(), 256, "nothing is proven in a baseline");
    let known: Vec<_> = baseline.summaries.iter().flatten().map(|page| (page.gfn.0, page.content.0)).collect();
    let populated: Vec<_> = before.populated.iter().map(|gfn| gfn.0).collect();
    let truth = &contents(&frames)[first - 1];
    let expected: Vec<_> = populated.iter().map(|gfn| (*gfn, truth.get(gfn).copied().unwrap_or(0))).collect();
    assert_eq!(known, expected, "a summary of every populated page");
    for (at, (new, old)) in new[1..].iter().zip(&frames[first..]).enumerate() {
        assert_eq!(new.epoch.0 as usize, at + 1);
        assert_eq!((new.start.0 + done.shift_ns, new.end.0 + done.shift_ns), (old.start.0, old.end.0));
        assert_eq!((&new.log, &new.summaries, &new.lost), (&old.log, &old.summaries, &old.lost));
        assert!(new.events.iter().zip(&old.events).all(|(a, b)| a.time.0 + done.shift_ns == b.time.0 && a.gfn == b.gfn));
        assert_eq!(new.events.len(), old.events.len());
    }
}

#[test]
fn events_of_the_scan_before_are_kept_since_they_may_belong_to_the_first_epoch() {
    let (header, mut frames) = guest(Class::Light, 3);
    let scan = frames[4].scan_start;
    let event = pagesieve_core::Access { time: scan, gfn: Gfn(7), ..frames[0].events[0] };
    frames[4].events.push(event);
    let (out, _) = cut_file(&file_of(&header, &frames), &ms(520, 2_000)).unwrap();
    let (_, new) = frames_of(&out);
    assert_eq!(new[0].events.iter().map(|event| (event.time.0, event.gfn.0)).collect::<Vec<_>>(), [(0, 7)]);
}

#[test]
fn pages_that_nobody_looked_at_before_the_cut_are_unknown_in_its_first_epoch() {
    let (header, frames) = guest(Class::Mixed, 4);
    let blind = blinded(&frames, &[3, 4, 5, 6, 7]);
    assert_sound(&file_of(&header, &blind));
    let (out, _) = cut_file(&file_of(&header, &blind), &ms(620, 2_000)).unwrap();
    assert_sound(&out);
    let (_, new) = frames_of(&out);
    let mut logged = blind[3].log.all();
    blind[4..6].iter().for_each(|frame| logged.union_with(&frame.log.all()));
    let unknown = new[1].log.unknown.iter().find(|set| set.reason == UnknownReason::Unarmed).unwrap();
    assert_eq!(pages(&unknown.pages), pages(&logged));
    assert!(new[2].log.unknown.is_empty());
}

/// These pages alone.
fn only(start: u64, end: u64) -> Option<Vec<Range<u64>>> {
    Some(std::iter::once(start..end).collect())
}

#[test]
fn slots_of_a_cut_are_those_in_force() {
    let (header, mut frames) = guest(Class::Idle, 5);
    let whole = header.slots[0];
    let half = MemSlot { pages: 128, ..whole };
    let moved = MemSlot { base: Gfn(128), pages: 128, hva: Hva(0x1000_0000), ..whole };
    frames[5].slots = Some(vec![half, moved]);
    let mut all = PageBitmap::new(256);
    all.insert_range(128..256);
    frames[5].log.add_unknown(UnknownReason::Unarmed, &all);
    let file = file_of(&header, &frames);
    assert_sound(&file);
    for (from, slots, changes) in [(320, vec![whole], 1), (540, vec![whole], 1), (720, vec![half, moved], 0)] {
        let (out, _) = cut_file(&file, &ms(from, 2_000)).unwrap();
        assert_sound(&out);
        let (new_header, new) = frames_of(&out);
        assert_eq!((new_header.slots, new.iter().filter(|frame| frame.slots.is_some()).count()), (slots, changes), "{from}");
    }
    let selection = Selection { pages: only(100, 140), ..ms(320, 2_000) };
    let (out, done) = cut_file(&file, &selection).unwrap();
    assert_sound(&out);
    let (new_header, new) = frames_of(&out);
    let slots = |slots: &[MemSlot]| slots.iter().map(|slot| (slot.base.0, slot.pages, slot.hva.0)).collect::<Vec<_>>();
    assert_eq!(slots(&new_header.slots), [(100, 40, whole.hva.0 + 100 * PAGE_SIZE)]);
    let change = new.iter().find_map(|frame| frame.slots.as_ref()).unwrap();
    assert_eq!(slots(change), [(100, 28, whole.hva.0 + 100 * PAGE_SIZE), (128, 12, 0x1000_0000)]);
    assert_eq!((done.slots, done.pages), (1, 40));
}

#[test]
fn what_selects_nothing_is_an_error_that_says_what_there_is() {
    let (header, frames) = guest(Class::Idle, 6);
    let file = file_of(&header, &frames);
    let error = |selection: &Selection| cut_file(&file, selection).unwrap_err().to_string();
    assert!(error(&ms(1_000, 1_000)).contains("ends at 1 s"));
    assert!(error(&ms(5_000, 9_000)).contains("the trace goes from 0 s to 2."));
    let nothing = Selection { pages: only(256, 300), ..Selection::default() };
    assert!(error(&nothing).contains("the slots are 0x0..0x100"));
    let empty = cut_file(&file_of(&header, &[]), &Selection::default());
    assert!(matches!(empty, Err(CutError::NoFrames)));
}

#[test]
fn a_damaged_trace_is_cut_up_to_its_last_whole_frame() {
    let (header, frames) = guest(Class::Light, 7);
    let mut file = file_of(&header, &frames);
    let middle = file.len() / 2;
    file[middle] ^= 1;
    let options = ReadOptions { on_damage: OnDamage::Stop, ..ReadOptions::default() };
    let mut out = Vec::new();
    let mut reader = Reader::with_options(&file[..], options).unwrap();
    let done = cut(&mut reader, &mut out, &ms(200, 9_000), &mut |_| ()).unwrap();
    assert!(matches!(done.end, Some(End::Damaged { .. })) && done.incomplete.is_some(), "{done:?}");
    assert_sound(&out);
    assert!((3..frames.len()).contains(&frames_of(&out).1.len()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_part_of_any_guest_is_sound_and_says_what_the_whole_says(
        seed in 0..100_u64,
        class in prop::sample::select(vec![Class::Light, Class::Mixed, Class::HeavyIo]),
        from in 0..1_900_u64,
        length in 1..2_000_u64,
        cuts in prop::collection::btree_set(0..256_u64, 2..7),
        blind in prop_oneof![Just(Vec::new()), prop::collection::vec(1..20_usize, 1..6)],
    ) {
        let (header, frames) = guest(class, seed);
        let frames = blinded(&frames, &blind);
        let file = file_of(&header, &frames);
        let cuts: Vec<_> = cuts.into_iter().collect();
        let ranges: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        let selection = Selection { pages: Some(ranges.clone()), ..ms(from, from + length) };
        let (out, done) = cut_file(&file, &selection).unwrap();
        assert_valid(&out);
        let found = verified(&out);
        // Of a page that changed while nobody compared a replay cannot tell what it was, and may call it lost: so in the whole, too.
        prop_assert_eq!(found.recall.content_in_log, Some(1.0));
        prop_assert!(!found.violations.iter().any(|violation| violation.contains("dirty log")), "{:#?}", found.violations);
        prop_assert!(found.ok || !blind.is_empty(), "{:#?}", found.violations);
        let (_, new) = frames_of(&out);
        let baseline = usize::from(done.shift_ns > 0);
        let first = frames.iter().position(|frame| frame.end.0 == new[baseline].end.0 + done.shift_ns).unwrap();
        let kept = |frame: &Frame| pages(&frame.log.written);
        for (new, old) in new[baseline..].iter().zip(&frames[first..]) {
            prop_assert_eq!(kept(new), within(&old.log.written, &ranges));
            prop_assert_eq!(pages(&new.populated), within(&old.populated, &ranges));
            let events = |frame: &Frame| frame.events.iter().map(|event| event.gfn.0).collect::<Vec<_>>();
            let inside: Vec<_> = events(old).into_iter().filter(|page| ranges.iter().any(|range| range.contains(page))).collect();
            prop_assert_eq!(events(new), inside);
        }
        // Where contents were compared, both tell the same, baseline or not.
        let (truth, told) = (contents(&frames), contents(&new));
        for (at, told) in told.iter().enumerate().filter(|(at, _)| new[*at].summaries.is_some() && *at >= baseline) {
            let mut truth = truth[first + at - baseline].clone();
            truth.retain(|page, _| ranges.iter().any(|range| range.contains(page)));
            prop_assert_eq!(told, &truth, "frame {}", at);
        }
    }
}
