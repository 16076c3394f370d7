//! Recordings that are joined, and those that cannot be.

mod common;

use common::{assert_sound, file_of, frames_of, guest, verified};
use pagesieve_convert::{MergeError, Merged, Part, merge};
use pagesieve_core::{Gfn, Nanos};
use pagesieve_traces::{Class, ContentId, DirtyLog, EventSource, Frame, Happening, Header, Reader, Target};

fn join(files: &[(&str, Vec<u8>)]) -> Result<(Vec<u8>, Merged), MergeError> {
    let part = |(name, file): &(&str, Vec<u8>)| Part {
        name: (*name).to_owned(),
        reader: Reader::new(std::io::Cursor::new(file.clone())).unwrap(),
    };
    let mut out = Vec::new();
    let mut told = 0;
    let done = merge(files.iter().map(part).collect(), &mut out, &mut |bytes| told = bytes)?;
    assert_eq!(told > 0, done.frames > 0);
    Ok((out, done))
}

/// A recording that began so many seconds after another one.
fn recorded(created: u64, seed: u64) -> (Header, Vec<Frame>) {
    let (header, mut frames) = guest(Class::Mixed, seed);
    // Whatever a baseline's own log says, the seam must not depend on it.
    frames[0].log = DirtyLog::default();
    let target = Target { kind: "qemu".to_owned(), pid: 4711, command: "qemu -name web1".to_owned() };
    (Header { created, target, ..header }, frames)
}

#[test]
fn all_pages_are_unknown_where_the_second_begins() {
    let (first, second) = (recorded(1_000, 1), recorded(1_060, 2));
    let files = [("second", file_of(&second.0, &second.1)), ("first", file_of(&first.0, &first.1))];
    let (out, done) = join(&files).unwrap();
    assert_sound(&out);
    assert_eq!((done.parts, done.frames), (vec!["first".to_owned(), "second".to_owned()], 40));
    let (header, frames) = frames_of(&out);
    assert_eq!((header.created, &header.slots), (1_000, &first.0.slots));
    let seam = &frames[20];
    assert_eq!((seam.start, seam.end.0), (first.1[19].end, 60_000_000_000 + second.1[0].end.0));
    assert_eq!(seam.log.all().count(), 256);
    assert!(
        matches!(&seam.notes[0].what, Happening::Message(text) if text.starts_with("second begins, 57.99")),
        "{:?}",
        seam.notes
    );
    for (at, frame) in frames.iter().enumerate().filter(|(at, _)| *at != 20) {
        let (old, shift) = if at < 20 { (&first.1[at], 0) } else { (&second.1[at - 20], 60_000_000_000) };
        assert_eq!((&frame.log, frame.events.len(), frame.end.0), (&old.log, old.events.len(), old.end.0 + shift));
    }
}

#[test]
fn contents_of_two_recordings_never_count_as_equal() {
    let (first, second) = (recorded(1_000, 1), recorded(1_060, 2));
    let (out, _) = join(&[("a", file_of(&first.0, &first.1)), ("b", file_of(&second.0, &second.1))]).unwrap();
    let (_, frames) = frames_of(&out);
    let numbers = |frames: &[Frame]| -> Vec<u32> {
        frames.iter().flat_map(|frame| frame.summaries.iter().flatten()).map(|page| page.content.0).filter(|&n| n > 0).collect()
    };
    let (one, two) = (numbers(&frames[..20]), numbers(&frames[20..]));
    assert_eq!(one, numbers(&first.1));
    assert!(one.iter().max() < two.iter().min());
    let shift = one.iter().max().unwrap();
    assert_eq!(two.iter().map(|number| number - shift).collect::<Vec<_>>(), numbers(&second.1), "equal stays equal");
    assert!(frames[20].summaries.iter().flatten().all(|page| page.delta.is_none()));
}

#[test]
fn without_the_unknown_pages_the_join_would_lose_pages() {
    // This is what the seam is for: the same frames without it are not sound.
    let (first, second) = (recorded(1_000, 1), recorded(1_060, 2));
    let (out, _) = join(&[("a", file_of(&first.0, &first.1)), ("b", file_of(&second.0, &second.1))]).unwrap();
    let (header, mut frames) = frames_of(&out);
    let seam = &mut frames[20].log;
    (seam.unknown, seam.written) = (Vec::new(), Default::default());
    assert!(!verified(&file_of(&header, &frames)).ok);
}

#[test]
fn recordings_without_a_clock_follow_in_the_order_given() {
    let (first, second) = (recorded(0, 1), recorded(0, 2));
    let (out, done) = join(&[("b", file_of(&second.0, &second.1)), ("a", file_of(&first.0, &first.1))]).unwrap();
    assert_sound(&out);
    assert_eq!(done.parts, ["b", "a"]);
    let (_, frames) = frames_of(&out);
    assert_eq!(frames[20].start, frames[19].end);
    assert_eq!(done.duration_ns, frames[39].end.0);
}

#[test]
fn three_recordings_are_joined_and_the_second_may_change_its_slots() {
    let parts: Vec<_> = (0..3).map(|at| recorded(1_000 + at * 10, at)).collect();
    let files: Vec<_> = parts.iter().zip(["a", "b", "c"]).map(|(part, name)| (name, file_of(&part.0, &part.1))).collect();
    let (out, done) = join(&files).unwrap();
    assert_sound(&out);
    assert_eq!(
        (done.frames, done.events),
        (60, parts.iter().flat_map(|part| &part.1).map(|frame| frame.events.len() as u64).sum())
    );
    let mut changed = parts[0].1.clone();
    let mut slots = parts[0].0.slots.clone();
    slots[0].pages = 255;
    changed[19].slots = Some(slots);
    changed[19].populated.shrink(255);
    changed[19].log.written.shrink(255);
    let error = join(&[("a", file_of(&parts[0].0, &changed)), files[1].clone()]).unwrap_err().to_string();
    assert!(error.contains("a memory slot differs from that of a") && error.contains("0x0..0xff"), "{error}");
}

#[test]
fn what_cannot_be_joined_says_why() {
    let (header, frames) = recorded(1_000, 1);
    let file = file_of(&header, &frames);
    let error = |change: &dyn Fn(&mut Header)| {
        let mut other = Header { created: 2_000, ..header.clone() };
        change(&mut other);
        join(&[("a", file.clone()), ("b", file_of(&other, &frames))]).unwrap_err().to_string()
    };
    assert!(error(&|other| other.target.pid = 7).contains("the target differs from that of a"));
    assert!(error(&|other| other.source = EventSource::Ebpf).contains("the source of events differs"));
    assert!(error(&|other| other.machine.cpus = 64).contains("the machine differs"));
    assert!(error(&|other| other.slots[0].hva.0 += 4096).contains("a memory slot differs"));
    assert!(
        error(&|other| other.created = 1_000).contains("begins at 0 s, before a ends at 2"),
        "{}",
        error(&|o| o.created = 1_000)
    );
    assert!(matches!(join(&[("a", file.clone())]), Err(MergeError::TooFew)));
    let empty = file_of(&Header { created: 2_000, ..header.clone() }, &[]);
    assert!(matches!(join(&[("a", file.clone()), ("b", empty)]), Err(MergeError::NoFrames { .. })));
    let mut high = frames.clone();
    high[3].summaries.as_mut().unwrap()[0].content = ContentId((1 << 31) - 5);
    let late = file_of(&Header { created: 2_000, ..header.clone() }, &high);
    assert!(matches!(join(&[("a", file), ("b", late)]), Err(MergeError::TooMuch { .. })));
}

#[test]
fn only_what_holds_for_all_parts_is_in_the_header() {
    let (mut a, frames) = recorded(1_000, 1);
    let mut b = Header { created: 2_000, ..a.clone() };
    (a.hooks, b.hooks) = (vec!["x".to_owned(), "y".to_owned()], vec!["y".to_owned()]);
    (a.fingerprint_key, b.class) = (Some([1; 32]), Some("idle".to_owned()));
    let (out, _) = join(&[("a", file_of(&a, &frames)), ("b", file_of(&b, &frames))]).unwrap();
    let (header, frames) = frames_of(&out);
    assert_eq!((header.hooks, header.class, header.fingerprint_key), (vec!["y".to_owned()], None, None));
    assert!(frames.iter().flat_map(|frame| &frame.events).all(|event| event.gfn < Gfn(256) && event.time < Nanos(1 << 50)));
}
