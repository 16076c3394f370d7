//! One frame of each kind and form; those of `WIRE.md`.

use pagesieve_core::Fingerprint;

use crate::wire::{Failure, Fault, Frame, Held, Hello, Name, Open, Put, Reply, Slot, Span, Text, Token, Verdict, Version, What};

fn token(start: u8) -> Token {
    Token(std::array::from_fn(|at| start + at as u8))
}

pub(super) fn hello() -> Hello {
    Hello { version: Version { major: 1, minor: 0 }, session: token(0x10), stream: 2, streams: 4 }
}

pub(super) fn replies() -> Vec<(&'static str, Reply)> {
    let version = Version { major: 1, minor: 0 };
    vec![
        ("Reply (welcome)", Reply { version, verdict: Verdict::Welcome, text: Text::default() }),
        ("Reply (refused)", Reply { version, verdict: Verdict::Busy, text: Text::new("try later") }),
    ]
}

/// Name of the sample in `WIRE.md`, and the frame.
pub(super) fn frames() -> Vec<(&'static str, Frame)> {
    let name = |name: &str| Name::new(name).unwrap();
    let file = Open { name: name("vm/disk.img"), what: What::File { bytes: 10_000 }, block_size: 65_536 };
    let guest = Open {
        name: name("g1"),
        what: What::Guest(vec![Slot { first: 0, pages: 0xa0 }, Slot { first: 0x100, pages: 0x7f00 }]),
        block_size: 65_536,
    };
    let span = Span { first: 0x1234, pages: 2 };
    let fingerprint = Fingerprint(u128::from_le_bytes(token(0x40).0));
    // A page of zeros and one that is unchanged.
    let put = Put { sequence: 7, span, fingerprint, based: true, encoded: vec![0, 0, 0, 0x20] };
    let digest = Some(std::array::from_fn(|at| 0x60 + at as u8));
    vec![
        ("Open (file)", Frame::Open(file)),
        ("Open (guest)", Frame::Open(guest)),
        ("Commit", Frame::Commit { length: 10_000, digest }),
        ("DeviceState", Frame::DeviceState { last: true, bytes: b"device".to_vec() }),
        ("Handover", Frame::Handover),
        ("Abort", Frame::Abort { text: Text::new("interrupted") }),
        ("Put", Frame::Put(put)),
        ("Zero", Frame::Zero { sequence: 8, span }),
        ("Opened (empty)", Frame::Opened { held: Held::Empty, blocks: 3 }),
        ("Opened (fingerprints)", Frame::Opened { held: Held::Fingerprints, blocks: 3 }),
        ("Fingerprints", Frame::Fingerprints { first: 16, blocks: vec![None, Some(fingerprint), None] }),
        ("Committed", Frame::Committed { digest: None }),
        ("HandedOver", Frame::HandedOver),
        ("Failed", Frame::Failed { code: Failure::NoSpace, text: Text::new("disk full") }),
        ("Ack", Frame::Ack { sequences: vec![7, 8] }),
        ("Nack", Frame::Nack { sequence: 9, code: Fault::Fingerprint, text: Text::new("stale") }),
        ("Ping", Frame::Ping(5)),
        ("Pong", Frame::Pong(5)),
        ("Settle", Frame::Settle { session: token(0x10) }),
    ]
}
