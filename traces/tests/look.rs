//! `validate`, `info` and `dump`.

mod common;

use common::{file, first_frame_at, frame, frames, header, slot};
use pagesieve_core::{Gfn, Nanos};
use pagesieve_traces::{DumpFormat, Frame, Info, OnDamage, ReadOptions, Reader, dump, info, validate};
use serde_json::Value;

fn problems(frames: &[Frame]) -> Vec<String> {
    let file = file(&header(), frames);
    let validation = validate(&mut Reader::new(&file[..]).unwrap()).unwrap();
    assert_eq!(validation.frames, frames.len() as u64);
    validation.problems.into_iter().map(|problem| problem.what).collect()
}

#[test]
fn a_sound_trace_has_no_problems() {
    assert_eq!(problems(&frames()), Vec::<String>::new());
}

#[test]
fn every_broken_rule_is_named_once() {
    type Fault = fn(&mut Frame);
    let faults: [(&str, Fault); 13] = [
        ("a frame starts, is scanned, ends", |frame| frame.scan_start = Nanos(2999 + 1001)),
        ("a frame starts after the end of the one before", |frame| frame.start = Nanos(1999)),
        ("events lie inside their epoch", |frame| frame.events[0].time = Nanos(1899)),
        ("events lie inside their epoch", |frame| frame.events[19].time = Nanos(3001)),
        ("events lie in a memory slot", |frame| frame.events[0].gfn = Gfn(300)),
        ("sets of pages end with the memory", |frame| frame.log.written.grow(1281)),
        ("sets of pages lie in memory slots", |frame| frame.log.unknown[1].pages.insert_range(255..258)),
        ("huge pages are populated", |frame| frame.huge.insert_range(1031..1032)),
        ("page summaries lie in a memory slot", |frame| frame.summaries.as_mut().unwrap()[1].gfn = Gfn(999)),
        ("a page takes at most 4096 bytes", |frame| frame.summaries.as_mut().unwrap()[1].delta = Some(4097)),
        ("a page takes at most 4096 bytes", |frame| frame.summaries.as_mut().unwrap()[0].compressed = 4097),
        ("only populated pages hold data", |frame| frame.populated.remove_range(0..3)),
        ("notes are in the order of their time", |frame| frame.notes.swap(0, 1)),
    ];
    for (rule, fault) in faults {
        let mut frames = frames();
        fault(&mut frames[2]);
        let found = problems(&frames);
        assert!(found.len() == 1 && found[0].starts_with(rule), "{rule}: {found:?}");
    }
}

#[test]
fn an_event_inside_the_scan_before_may_come_late() {
    let mut frames = frames();
    frames[2].events[0].time = Nanos(1900);
    assert_eq!(problems(&frames), Vec::<String>::new());
}

#[test]
fn the_first_epoch_is_0() {
    assert!(problems(&[frame(2), frame(3)])[0].starts_with("epochs count up from 0"));
}

#[test]
fn summaries_need_fingerprints() {
    let mut header = header();
    header.fingerprints = false;
    let file = file(&header, &[frame(0), Frame { summaries: None, ..frame(1) }]);
    let validation = validate(&mut Reader::new(&file[..]).unwrap()).unwrap();
    assert_eq!((validation.problems.len(), validation.problems[0].times), (1, 1));
}

#[test]
fn a_frame_is_judged_by_the_slots_it_brings() {
    let mut frames = frames();
    frames[1].slots = Some(vec![slot(0, 256)]);
    let found = problems(&frames);
    assert!(found.iter().any(|problem| problem.starts_with("events lie in a memory slot")), "{found:?}");
}

fn info_of(file: &[u8]) -> Info {
    let options = ReadOptions { on_damage: OnDamage::Stop, ..ReadOptions::default() };
    info(&mut Reader::with_options(file, options).unwrap()).unwrap()
}

#[test]
fn info_counts_what_is_there() {
    let mut file = file(&header(), &frames());
    let found = info_of(&file);
    assert_eq!((found.frames, found.duration, found.events), (3, Nanos(3000), 60));
    assert_eq!(found.events_by_kind.values().sum::<u64>(), 60);
    assert_eq!((found.events_by_kind["read"], found.events_by_kind["exec"]), (21, 18));
    assert_eq!((found.events_by_origin["user"], found.events_by_origin["gup"]), (21, 18));
    assert_eq!((found.lost_events, found.lost_control, found.outside_events), (3 * 70_300, 3, u64::MAX));
    assert_eq!((found.dirty_pages, found.unknown_pages, found.populated_pages), (24, 12, 7));
    assert_eq!((found.summaries, found.memory, found.file_bytes), (9, 512 * 4096, file.len() as u64));
    assert_eq!(found.bytes_per_event, Some(file.len() as f64 / 60.0));
    assert!(found.complete && found.has_fingerprint_key && found.lossy_frames == 3 && found.quiescent_frames == 3);

    let second = first_frame_at(&file) + common::chunk_length(&file, first_frame_at(&file));
    let cut = info_of(&file[..second + 10]);
    assert_eq!((cut.frames, cut.complete, cut.file_bytes), (1, false, second as u64));
    assert!(cut.incomplete.unwrap().contains("cut"));
    file[second + 50] ^= 1;
    assert!(info_of(&file).incomplete.unwrap().contains("damaged"));
}

#[test]
fn a_dump_has_a_json_object_for_everything() {
    let file = file(&header(), &frames());
    let mut out = Vec::new();
    dump(&mut Reader::new(&file[..]).unwrap(), &mut out, DumpFormat::JsonLines).unwrap();
    let lines: Vec<Value> = out
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    let count = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    assert_eq!(["header", "frame", "event", "summary", "note", "end"].map(count), [1, 3, 60, 9, 9, 1]);
    let frame = lines.iter().find(|line| line["type"] == "frame").unwrap();
    assert_eq!(frame["written"], serde_json::json!([[2, 2], [1024, 1]]));
    assert_eq!(lines.last().unwrap()["complete"], true);
    assert!(lines[0].get("fingerprint_key").is_none(), "the key stays in the file");
}

#[test]
fn a_text_dump_names_what_is_there() {
    let file = file(&header(), &frames());
    let mut out = Vec::new();
    dump(&mut Reader::new(&file[..file.len() - 3]).unwrap(), &mut out, DumpFormat::Text).unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in [
        "epoch 2 from 0.000002000",
        "write",
        "kernel",
        "written 3: 0x2+2 0x400",
        "unknown (DirectIo) 3",
        "content 5",
        "naïve",
        "end: cut after 3",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}
