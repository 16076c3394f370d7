//! What is written comes back, for any frame.

mod common;

use common::{file, frames, header, read};
use pagesieve_core::{Access, AccessKind, Epoch, Gfn, Nanos, Origin, PageBitmap};
use pagesieve_traces::{
    Closing, ContentId, DirtyLog, End, Frame, Happening, Lost, Note, PageSummary, Reader, UnknownPages, UnknownReason,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

fn any_set() -> impl Strategy<Value = PageBitmap> {
    (0..700u64, vec((0..700u64, 1..90u64), 0..40), any::<bool>()).prop_map(|(end, runs, scatter)| {
        let mut set = PageBitmap::new(end);
        for (start, length) in runs {
            let step = if scatter { 2 } else { 1 };
            for page in (start..start + length).step_by(step) {
                set.insert(Gfn(page));
            }
        }
        set
    })
}

fn any_events(start: u64) -> impl Strategy<Value = Vec<Access>> {
    let time = prop_oneof![0..100u64, 0..u64::MAX / 2];
    let gfn = prop_oneof![0..200u64, 0..1u64 << 40];
    vec((time, gfn, 0..3usize, 0..3usize, any::<u16>(), any::<u32>()), 0..60).prop_map(move |raw| {
        let event = |(time, gfn, kind, origin, cpu, tid)| Access {
            // Some lie before the start of the frame.
            time: Nanos(start / 2 + time),
            gfn: Gfn(gfn),
            kind: [AccessKind::Read, AccessKind::Write, AccessKind::Exec][kind],
            origin: [Origin::User, Origin::Kernel, Origin::Gup][origin],
            cpu,
            tid,
        };
        let mut events: Vec<_> = raw.into_iter().map(event).collect();
        events.sort_by_key(|event| event.time);
        events
    })
}

fn any_log() -> impl Strategy<Value = DirtyLog> {
    let reasons = [UnknownReason::ScanFailed, UnknownReason::Unarmed, UnknownReason::BecameHole];
    (any_set(), any_set(), vec(any_set(), 0..=3)).prop_map(move |(written, discarded, sets)| {
        let unknown = reasons.into_iter().zip(sets).map(|(reason, pages)| UnknownPages { reason, pages }).collect();
        DirtyLog { written, discarded, unknown }
    })
}

fn any_summaries() -> impl Strategy<Value = Vec<PageSummary>> {
    btree_map(0..1u64 << 40, (any::<u32>(), any::<u16>(), option::of(any::<u16>())), 0..40).prop_map(|pages| {
        let summary =
            |(gfn, (content, compressed, delta))| PageSummary { gfn: Gfn(gfn), content: ContentId(content), compressed, delta };
        pages.into_iter().map(summary).collect()
    })
}

fn any_notes() -> impl Strategy<Value = Vec<Note>> {
    let what = prop_oneof![
        Just(Happening::Exec),
        any::<u32>().prop_map(|child| Happening::Forked { child }),
        (any::<Option<i32>>(), any::<Option<i32>>()).prop_map(|(status, signal)| Happening::Ended { status, signal }),
        vec(any::<char>(), 0..20).prop_map(|text| Happening::Message(text.into_iter().collect())),
    ];
    vec((any::<u64>(), what).prop_map(|(time, what)| Note { time: Nanos(time), what }), 0..5)
}

fn any_lost() -> impl Strategy<Value = Lost> {
    let numbers = (vec(any::<u64>(), 0..5), any::<u64>(), any::<u64>());
    numbers.prop_map(|(per_cpu, control, outside)| Lost { per_cpu, control, outside })
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let start = 0..u64::MAX / 4;
    let closing = prop_oneof![Just(Closing::Running), Just(Closing::Quiescent), Just(Closing::Rechecked)];
    let parts = (closing, any::<bool>(), any_log(), any_set(), any_set(), any_lost(), option::of(any_summaries()), any_notes());
    (start.prop_flat_map(|start| (Just(start), any_events(start))), any::<u64>(), any::<u64>(), parts).prop_map(
        |((start, events), scan_start, end, (closing, slots, log, populated, huge, lost, summaries, notes))| Frame {
            epoch: Epoch(1),
            start: Nanos(start),
            scan_start: Nanos(scan_start),
            end: Nanos(end),
            closing,
            slots: slots.then(|| vec![common::slot(5, 7)]),
            events,
            log,
            populated,
            huge,
            lost,
            summaries,
            notes,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn any_frames_come_back(mut frames in vec(any_frame(), 0..4)) {
        frames.sort_by_key(|frame| frame.start);
        for (at, frame) in frames.iter_mut().enumerate() {
            frame.epoch = Epoch(40 + at as u32);
        }
        prop_assert_eq!(read(&file(&header(), &frames)).unwrap(), frames);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(Reader::new(&bytes[..]).is_err());
        // The same bytes as the payload of a frame, with a right checksum.
        let _ = read(&common::with_payload(&bytes));
    }
}

#[test]
fn header_frames_and_end_come_back() {
    let (header, frames) = (header(), frames());
    let file = file(&header, &frames);
    let mut reader = Reader::new(&file[..]).unwrap();
    assert_eq!(reader.header(), &header);
    assert_eq!(reader.end(), None);
    assert_eq!(reader.slots().pages(), 512);
    for frame in &frames {
        assert_eq!(reader.next_frame().unwrap().as_ref(), Some(frame));
    }
    assert_eq!(reader.slots().pages(), 536, "frame 2 changed the slots");
    assert_eq!(reader.next_frame().unwrap(), None);
    assert_eq!(reader.end(), Some(&End::Complete));
    assert_eq!(reader.position(), file.len() as u64);
}

#[test]
fn a_frame_is_decodable_alone() {
    let all = file(&header(), &frames());
    let first = first_and_second(&all);
    let mut alone = all[..first.0].to_vec();
    alone.extend(&all[first.1..]);
    let mut reader = Reader::new(&alone[..]).unwrap();
    assert_eq!(reader.next_frame().unwrap(), Some(frames().remove(1)));
}

fn first_and_second(file: &[u8]) -> (usize, usize) {
    let first = common::first_frame_at(file);
    (first, first + common::chunk_length(file, first))
}
