//! The bytes in `WIRE.md` are those of the encoder.

use std::collections::BTreeMap;

use super::{encode, samples};
use crate::wire::{Kind, MAX_BODY};

const WIRE: &str = include_str!("../../../WIRE.md");

/// The boxes of the document: their name and bytes. A `#` begins a note.
fn boxes() -> BTreeMap<String, Vec<u8>> {
    let mut boxes = BTreeMap::new();
    let mut lines = WIRE.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```hex ") else { continue };
        let digits = lines.by_ref().take_while(|line| !line.starts_with("```"));
        let bytes = digits.flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace());
        let bytes = bytes.map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte:?} in {name}"))).collect();
        assert!(boxes.insert(name.to_owned(), bytes).is_none(), "two boxes {name}");
    }
    boxes
}

/// For comparing, and for pasting.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

#[test]
fn the_document_shows_what_is_sent() {
    let mut samples: BTreeMap<String, Vec<u8>> =
        samples::frames().iter().map(|(name, frame)| ((*name).to_owned(), encode(frame))).collect();
    let mut hello = Vec::new();
    samples::hello().encode(&mut hello);
    samples.insert("Hello".to_owned(), hello);
    for (name, reply) in samples::replies() {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        samples.insert(name.to_owned(), bytes);
    }
    let boxes = boxes();
    for (name, bytes) in &samples {
        let shown = boxes.get(name).map(|bytes| hex(bytes));
        assert_eq!(shown.as_deref(), Some(hex(bytes).as_str()), "box {name}");
    }
    assert_eq!(boxes.keys().collect::<Vec<_>>(), samples.keys().collect::<Vec<_>>());
}

#[test]
fn every_kind_has_a_sample_and_a_row_with_its_number() {
    let samples: Vec<Kind> = samples::frames().iter().map(|(_, frame)| frame.kind()).collect();
    for &kind in Kind::ALL {
        assert!(samples.contains(&kind), "{kind}");
        assert!(WIRE.contains(&format!("| {} | {kind} |", kind as u8)), "a row for {kind}");
    }
    assert!(WIRE.contains(&format!("{MAX_BODY} bytes")), "the largest body");
}
