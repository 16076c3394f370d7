//! What was encoded is decoded, in pieces of any size.

use pagesieve_core::Fingerprint;
use pagesieve_core::delta::{NoCompression, encode_block};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{encode, samples, sender};
use crate::wire::{
    Decoder, FRAME_OVERHEAD, Frame, GREETING_LIMIT, Hello, MAX_BODY, MAX_CHUNK, MAX_CHUNK_BLOCKS, Name, Open, Put, Reply, Side,
    Slot, Span, Text, Verdict, Version, What,
};

#[test]
fn every_sample_comes_back() {
    for (name, frame) in samples::frames() {
        let mut decoder = Decoder::new(sender(frame.kind()), 0);
        for byte in encode(&frame) {
            assert!(decoder.next().unwrap().is_none());
            decoder.feed(&[byte]);
        }
        assert_eq!(decoder.next().unwrap(), Some(frame), "{name}");
        assert!(decoder.is_between_frames());
    }
}

/// In the order of their numbers.
const VERDICTS: [Verdict; 8] = [
    Verdict::Welcome,
    Verdict::Version,
    Verdict::Streams,
    Verdict::Duplicate,
    Verdict::Busy,
    Verdict::Damaged,
    Verdict::NeedsTls,
    Verdict::NoTls,
];

#[test]
fn greetings_come_back_with_what_follows() {
    let mut bytes = Vec::new();
    samples::hello().encode(&mut bytes);
    bytes.push(9);
    assert_eq!(Hello::decode(&bytes), Ok(Some((samples::hello(), bytes.len() - 1))));
    for number in 0..20 {
        let version = Version { major: 9, minor: number };
        let texts = ["", "why", &"x".repeat(Text::LIMIT)];
        for text in texts.map(Text::new) {
            let verdict = VERDICTS.get(usize::from(number)).copied().unwrap_or(Verdict::Other(number));
            let reply = Reply { version, verdict, text };
            let mut bytes = Vec::new();
            reply.encode(&mut bytes);
            assert!(bytes.len() <= GREETING_LIMIT);
            assert_eq!(bytes[12..14], number.to_le_bytes());
            assert_eq!(Reply::decode(&bytes), Ok(Some((reply, bytes.len()))));
        }
    }
}

#[test]
fn versions_fit_by_their_major_number() {
    let version = |major, minor| Version { major, minor };
    assert!(version(1, 0).fits(version(1, 7)) && !version(1, 0).fits(version(2, 0)));
    assert_eq!(version(1, 7).common(version(1, 3)), version(1, 3));
}

/// The largest frame of each kind that has lists is within the limit.
#[test]
fn the_largest_frames_fit() {
    let noise: Vec<u8> = (0..1_usize << 20).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8 | 1).collect();
    let mut encoded = Vec::new();
    encode_block(&noise, None, &mut NoCompression, &mut encoded);
    let put = Put { sequence: 0, span: Span { first: 0, pages: 256 }, fingerprint: Fingerprint(0), based: false, encoded };
    let slots = (0..4096).map(|at| Slot { first: at * 2, pages: 1 }).collect();
    let name = Name::new(["y"; 512].join("/")).unwrap();
    let open = Open { name, what: What::Guest(slots), block_size: 4096 };
    let frames = [
        Frame::Put(put),
        Frame::Open(open),
        Frame::DeviceState { last: false, bytes: noise },
        Frame::Fingerprints { first: 0, blocks: vec![Some(Fingerprint(1)); MAX_CHUNK_BLOCKS] },
        Frame::Ack { sequences: vec![3; 1024] },
    ];
    for frame in frames {
        let bytes = encode(&frame);
        assert!(bytes.len() <= MAX_BODY as usize + FRAME_OVERHEAD);
        let mut decoder = Decoder::new(sender(frame.kind()), 0);
        decoder.feed(&bytes);
        assert!(decoder.next().unwrap() == Some(frame));
    }
    const { assert!(MAX_CHUNK < MAX_BODY as usize) };
}

fn put() -> impl Strategy<Value = Frame> {
    (any::<u64>(), 0..1_u64 << 50, 1_u32..6, any::<u128>(), any::<bool>()).prop_flat_map(
        |(sequence, first, pages, print, based)| {
            let length = pages as usize * 2..=pages as usize * 4098;
            vec(any::<u8>(), length).prop_map(move |encoded| {
                Frame::Put(Put { sequence, span: Span { first, pages }, fingerprint: Fingerprint(print), based, encoded })
            })
        },
    )
}

fn from_client() -> impl Strategy<Value = Frame> {
    prop_oneof![
        put(),
        (any::<u64>(), any::<Option<[u8; 32]>>()).prop_map(|(length, digest)| Frame::Commit { length: length >> 2, digest }),
        (any::<bool>(), vec(any::<u8>(), 0..500)).prop_map(|(last, bytes)| Frame::DeviceState { last, bytes }),
        ".{0,80}".prop_map(|text| Frame::Abort { text: Text::new(text) }),
        any::<u64>().prop_map(Frame::Ping),
    ]
}

fn from_server() -> impl Strategy<Value = Frame> {
    let print = || any::<Option<u128>>().prop_map(|print| print.map(Fingerprint));
    prop_oneof![
        (0..1_u64 << 40, vec(print(), 1..40)).prop_map(|(first, blocks)| Frame::Fingerprints { first, blocks }),
        vec(any::<u64>(), 1..40).prop_map(|sequences| Frame::Ack { sequences }),
        Just(Frame::HandedOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_come_back_in_order(
        frames in prop_oneof![
            vec(from_client(), 0..6).prop_map(|frames| (Side::Client, frames)),
            vec(from_server(), 0..6).prop_map(|frames| (Side::Server, frames)),
        ],
        piece in 1_usize..5000,
    ) {
        let (side, frames) = frames;
        let bytes: Vec<u8> = frames.iter().flat_map(encode).collect();
        let mut decoder = Decoder::new(side, 0);
        let mut got = Vec::new();
        for piece in bytes.chunks(piece) {
            decoder.feed(piece);
            while let Some(frame) = decoder.next().unwrap() {
                got.push(frame);
            }
        }
        prop_assert!(got == frames);
        prop_assert!(decoder.is_between_frames());
    }
}
