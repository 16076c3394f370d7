//! What other tools really printed.

mod common;

use std::io::Cursor;

use common::{assert_sound, frames_of};
use pagesieve_convert::{ImportError, ImportOptions, Imported, Tool, import};
use pagesieve_core::{AccessKind, Nanos, Origin, PageBitmap};
use pagesieve_traces::{EventSource, Frame, Happening, Header};

fn import_text(text: &[u8], options: &ImportOptions) -> Result<(Header, Vec<Frame>, Imported), ImportError> {
    let mut out = Vec::new();
    let mut told = 0;
    let done = import(&mut Cursor::new(text), &mut out, options, &mut |bytes| told = bytes)?;
    assert_eq!((told, done.bytes), (2 * text.len() as u64, out.len() as u64), "it is read twice");
    assert_sound(&out);
    let (header, frames) = frames_of(&out);
    assert_eq!((header.source, header.fingerprints, &*header.arming), (EventSource::Imported, false, "none"));
    let pages: u64 = header.slots.iter().map(|slot| slot.pages).sum();
    assert_eq!((done.pages, done.frames), (pages, frames.len() as u64));
    assert!(frames.iter().all(|frame| frame.populated.count() == pages), "nothing proves that a page is zero");
    assert!(matches!(&frames[0].notes[0].what, Happening::Message(text) if text.starts_with("imported from ")));
    Ok((header, frames, done))
}

fn data(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn all_unknown(frames: &[Frame]) -> bool {
    frames.iter().all(|frame| frame.log.merely_unknown() == frame.populated && frame.log.written == PageBitmap::default())
}

#[test]
fn perf_as_it_was_asked_to_print() {
    let options = ImportOptions { class: Some("light".to_owned()), ..ImportOptions::default() };
    let (header, frames, done) = import_text(&data("perf-explicit.txt"), &options).unwrap();
    assert_eq!((done.tool, done.lines, done.used, done.malformed, done.late), ("perf", 40, 40, 0, 0));
    assert_eq!((header.target.pid, &*header.target.command), (10960, "pagesieve"));
    assert_eq!((header.hooks, header.class), (vec!["perf/page-faults".to_owned()], Some("light".to_owned())));
    assert!(all_unknown(&frames));
    let events: Vec<_> = frames.iter().flat_map(|frame| &frame.events).collect();
    assert_eq!(events.len(), 40);
    assert_eq!((events[0].time, events[0].origin, events[0].cpu, events[0].tid), (Nanos(0), Origin::Kernel, 1, 10960));
    assert_eq!(events[1].time, Nanos(63_048_089_841_000 - 63_048_089_820_351));
    // The first fault was at 0x563f3695c108.
    let slot = header.slots.iter().find(|slot| slot.base <= events[0].gfn && events[0].gfn < slot.end()).unwrap();
    assert_eq!(slot.hva_of(events[0].gfn).0, 0x563f_3695_c000);
}

#[test]
fn perf_tracepoints_tell_writes() {
    let (header, frames, done) = import_text(&data("perf-tracepoints.txt"), &ImportOptions::default()).unwrap();
    assert_eq!((done.lines, done.used), (19, 19));
    let hooks = ["perf/exceptions:page_fault_kernel", "perf/exceptions:page_fault_user"];
    assert_eq!(header.hooks, hooks);
    let events: Vec<_> = frames.iter().flat_map(|frame| &frame.events).collect();
    assert!(events.iter().any(|event| event.kind == AccessKind::Write && event.origin == Origin::User));
    assert!(events.iter().any(|event| event.kind == AccessKind::Write && event.origin == Origin::Kernel));
    assert!(all_unknown(&frames));
}

#[test]
fn lackey_counts_instructions_and_knows_stores() {
    let options = ImportOptions { epoch: Some(Nanos(10)), ..ImportOptions::default() };
    let text = data("lackey.txt");
    let (header, frames, done) = import_text(&text, &options).unwrap();
    let lines = || std::str::from_utf8(&text).unwrap().lines();
    let of = |start: &str| lines().filter(|line| line.starts_with(start)).count() as u64;
    assert_eq!((done.tool, done.other, done.malformed), ("lackey", of("=="), 0));
    assert_eq!(done.used, of("I ") + of(" S") + of(" L") + of(" M"));
    assert_eq!((&*header.clock, &*header.target.command, header.target.pid), ("instructions", "/bin/true", 0));
    assert_eq!(frames.last().unwrap().end, Nanos(of("I ")));
    // The dirty log of an epoch is the pages stored to, counted here in the plainest way.
    let mut stored = vec![std::collections::BTreeSet::new(); frames.len()];
    let mut clock = 0;
    for line in lines() {
        if line.starts_with(" S") || line.starts_with(" M") {
            let address = u64::from_str_radix(line[3..].split(',').next().unwrap(), 16).unwrap();
            stored[clock as usize / 10 + 1].insert(address >> 12);
        }
        clock += u64::from(line.starts_with("I "));
    }
    for (frame, stored) in frames.iter().zip(&stored).skip(1) {
        let address = |gfn| header.slots.iter().find(|slot| slot.base <= gfn && gfn < slot.end()).unwrap().hva_of(gfn).0 >> 12;
        let written: Vec<_> = frame.log.written.iter().map(address).collect();
        assert_eq!(written, stored.iter().copied().collect::<Vec<_>>(), "epoch {}", frame.epoch);
        assert!(frame.log.unknown.is_empty());
    }
    assert!(stored.iter().any(|pages| !pages.is_empty()));
}

#[test]
fn damo_tells_regions() {
    let (header, frames, done) = import_text(&data("damo.json"), &ImportOptions::default()).unwrap();
    assert_eq!((done.tool, done.lines, done.used, done.other), ("damo", 3, 3, 1));
    let slots: Vec<_> = header.slots.iter().map(|slot| (slot.base.0, slot.pages, slot.hva.0)).collect();
    assert_eq!(slots, [(0, 8, 94_000_000_000_000), (8, 32, 140_731_667_070_976)], "in the order of addresses");
    assert!(all_unknown(&frames));
    let events: Vec<_> = frames.iter().map(|frame| frame.events.len()).collect();
    assert_eq!(events, [0, 32, 8], "one for each page and epoch");
    assert!(frames[1].events.iter().all(|event| event.time == Nanos(0) && event.gfn.0 >= 8));
    assert_eq!(frames[2].events[0].time, Nanos(1_200_000_000));
    assert_eq!(frames[2].end, Nanos(1_200_000_000));
}

#[test]
fn the_tool_is_guessed_only_without_doubt() {
    let error = |text: &[u8]| import_text(text, &ImportOptions::default()).unwrap_err().to_string();
    assert!(error(b"").contains("the file is empty"));
    assert!(error(b"hello\nworld\n").contains("none of its first lines"));
    assert!(error(b"[{\"a\": 1}]").contains("none of damo's keys"));
    assert!(error(b"PERFILE2\0\0").contains("perf script"));
    assert!(error(b"\x93PSTR\r\n\x1a").contains("a trace already"));
    let both = [data("lackey.txt"), data("perf-explicit.txt")].concat();
    assert!(error(&both).contains("lines of two of them"));
    let told = ImportOptions { from: Some(Tool::Lackey), ..ImportOptions::default() };
    let (_, _, done) = import_text(&both, &told).unwrap();
    assert_eq!((done.tool, done.malformed), ("lackey", 40));
}

#[test]
fn without_a_usable_line_the_error_says_how_to_record() {
    let nothing = |tool, text: &str| {
        let options = ImportOptions { from: Some(tool), ..ImportOptions::default() };
        import_text(text.as_bytes(), &options).unwrap_err().to_string()
    };
    assert!(nothing(Tool::Perf, "hello\n").contains("perf record -d"));
    assert!(nothing(Tool::Perf, "x 1 1.5: page-faults:  55d5 main (/bin/x)\n").contains("have no address"));
    assert!(nothing(Tool::Perf, "x 1 1.5: page-faults:  ffffffff81000000\n").contains("perf record -d"));
    assert!(nothing(Tool::Lackey, "hello\n").contains("--tool=lackey"));
    assert!(nothing(Tool::Damo, "[{\"snapshots\": []}]").contains("damo record"));
    assert!(nothing(Tool::Damo, "hello").contains("json_compressed"));
}

#[test]
fn processes_are_not_mixed() {
    let text = b"a 1/1 1.0: page-faults: 1000\nb 2/3 1.1: page-faults: 2000\nb 2/2 1.2: page-faults: 3000\n";
    let import = |pid| import_text(text, &ImportOptions { pid, ..ImportOptions::default() });
    let error = import(None).unwrap_err().to_string();
    assert!(error.contains("2 processes (2 with 2 lines, 1 with 1 lines)") && error.contains("--pid"), "{error}");
    assert!(matches!(import(Some(9)), Err(ImportError::NoSuchProcess(9))));
    let (header, frames, done) = import(Some(2)).unwrap();
    assert_eq!((header.target.pid, done.used, done.other, done.pages), (2, 2, 1, 2));
    assert_eq!(frames[1].events[0].time, Nanos(0), "the first fault of that process begins the trace");
}
