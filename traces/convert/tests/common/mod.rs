//! Small traces in memory.
#![allow(dead_code, unreachable_pub, reason = "every test file uses another part")]

use std::collections::BTreeMap;

use pagesieve_core::Nanos;
use pagesieve_core::summary::VerifySummary;
use pagesieve_replayer::{TraceInfo, verify};
use pagesieve_traces::{Class, ContentId, Frame, Header, PageSummary, Reader, SynthConfig, Writer, synth};

/// A synthetic guest of 1 MiB, seen for two seconds in twenty epochs.
pub fn guest(class: Class, seed: u64) -> (Header, Vec<Frame>) {
    let (memory, duration, epoch) = (1 << 20, Nanos(2 * Nanos::SECOND.0), Nanos(100 * Nanos::MILLISECOND.0));
    let frames = synth(SynthConfig { memory, duration, epoch, seed, ..SynthConfig::new(class) }).unwrap();
    (frames.header().clone(), frames.collect())
}

pub fn file_of(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, header).unwrap();
    frames.iter().for_each(|frame| _ = writer.write_frame(frame).unwrap());
    writer.finish().unwrap();
    file
}

pub fn frames_of(file: &[u8]) -> (Header, Vec<Frame>) {
    let mut reader = Reader::new(file).unwrap();
    let frames = reader.frames().map(Result::unwrap).collect();
    (reader.header().clone(), frames)
}

#[track_caller]
pub fn assert_valid(file: &[u8]) {
    let found = pagesieve_traces::validate(&mut Reader::new(file).unwrap()).unwrap();
    assert!(found.is_valid() && found.complete, "{:#?}", found.problems);
}

pub fn verified(file: &[u8]) -> VerifySummary {
    let (header, frames) = frames_of(file);
    verify(TraceInfo { name: "test", header: &header, length: None }, frames.into_iter().map(Ok)).unwrap()
}

/// Valid, and no sound policy loses a page on it, and every change is in a log.
#[track_caller]
pub fn assert_sound(file: &[u8]) {
    assert_valid(file);
    let found = verified(file);
    assert!(found.ok, "{:#?}", found.violations);
}

/// What each page holds at the end of each frame, told in the plainest way.
pub fn contents(frames: &[Frame]) -> Vec<BTreeMap<u64, u32>> {
    let mut now = BTreeMap::new();
    let mut all = Vec::new();
    for frame in frames {
        for page in frame.summaries.iter().flatten() {
            now.insert(page.gfn.0, page.content.0);
        }
        now.retain(|&gfn, content| *content > 0 && frame.populated.contains(pagesieve_core::Gfn(gfn)));
        all.push(now.clone());
    }
    all
}

/// The same guest, but in these frames nobody compared contents: the next comparison tells all that changed since the last.
pub fn blinded(frames: &[Frame], blind: &[usize]) -> Vec<Frame> {
    let truth = contents(frames);
    let mut known: BTreeMap<u64, u32> = BTreeMap::new();
    let mut out = frames.to_vec();
    for (at, frame) in out.iter_mut().enumerate() {
        if blind.contains(&at) {
            frame.summaries = None;
            continue;
        }
        let page = |gfn: u64, content: u32| PageSummary {
            gfn: pagesieve_core::Gfn(gfn),
            content: ContentId(content),
            compressed: 100,
            delta: None,
        };
        let changed = truth[at].iter().filter(|(gfn, content)| at == 0 || known.get(gfn) != Some(content));
        let mut summaries: Vec<_> = changed.map(|(&gfn, &content)| page(gfn, content)).collect();
        let zeroed = known.keys().filter(|gfn| !truth[at].contains_key(gfn));
        summaries.extend(zeroed.map(|&gfn| page(gfn, 0)));
        summaries.sort_by_key(|page| page.gfn);
        frame.summaries = Some(summaries);
        known = truth[at].clone();
    }
    out
}
