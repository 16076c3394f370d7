//! Bytes that no encoder wrote.

use proptest::prelude::*;

use super::{decode, encode, samples, sender};
use crate::wire::{Decoder, Frame, Hello, Kind, MAX_BODY, Reply, Side, WireError};

#[test]
fn every_cut_asks_for_more() {
    for (name, frame) in samples::frames() {
        let bytes = encode(&frame);
        for length in 0..bytes.len() {
            assert_eq!(decode(sender(frame.kind()), &bytes[..length]), Ok(None), "{name}, {length} bytes");
        }
    }
    let mut bytes = Vec::new();
    samples::hello().encode(&mut bytes);
    assert!((0..bytes.len()).all(|length| Hello::decode(&bytes[..length]) == Ok(None)));
    for (_, reply) in samples::replies() {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        assert!((0..bytes.len()).all(|length| Reply::decode(&bytes[..length]) == Ok(None)));
    }
}

#[test]
fn no_flipped_bit_is_accepted() {
    for (name, frame) in samples::frames() {
        let bytes = encode(&frame);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // More bytes behind it, so that a length that became larger does not merely wait.
            damaged.extend([0x55; 300]);
            let result = decode(sender(frame.kind()), &damaged);
            assert!(matches!(result, Err(_) | Ok(None)), "{name}, bit {bit}: {result:?}");
        }
    }
    let mut bytes = Vec::new();
    samples::hello().encode(&mut bytes);
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(Hello::decode(&damaged).is_err(), "bit {bit}");
    }
    for (_, reply) in samples::replies() {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Reply::decode(&damaged), Err(_) | Ok(None)), "bit {bit}");
        }
    }
}

#[test]
fn damage_is_named_and_lasts() {
    let mut bytes = encode(&Frame::Ping(1));
    let first = bytes.len() as u64;
    let (_, put) = samples::frames().swap_remove(6);
    put.encode(&mut bytes);
    *bytes.last_mut().unwrap() ^= 1;
    let mut decoder = Decoder::new(Side::Client, 3);
    decoder.feed(&bytes);
    assert_eq!(decoder.next(), Ok(Some(Frame::Ping(1))));
    let error = WireError::Checksum { frame: 1, offset: first, kind: Kind::Put, length: 41 };
    assert_eq!(decoder.next(), Err(error.clone()));
    decoder.feed(&encode(&Frame::Ping(2)));
    assert_eq!(decoder.next(), Err(error.clone()), "nothing behind it is read");
    let text =
        "frame 1 (Put, 41 bytes) at byte 17 is damaged and was not applied; try again, and look at the network if it stays so";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_length_is_checked_before_the_body_is_there() {
    let header = |length: u32| [&length.to_le_bytes()[..], &[Kind::Put as u8]].concat();
    assert_eq!(decode(Side::Client, &header(MAX_BODY)), Ok(None));
    for length in [MAX_BODY + 1, u32::MAX] {
        let error = WireError::TooLong { frame: 0, offset: 0, kind: Kind::Put, length };
        assert_eq!(decode(Side::Client, &header(length)), Err(error));
    }
}

#[test]
fn kinds_have_a_side_and_a_stream() {
    for (name, frame) in samples::frames() {
        let (kind, bytes) = (frame.kind(), encode(&frame));
        for side in [Side::Client, Side::Server] {
            for stream in [0, 1] {
                let mut decoder = Decoder::new(side, stream);
                decoder.feed(&bytes);
                let expected = if kind.belongs(side, stream) {
                    Ok(Some(frame.clone()))
                } else {
                    Err(WireError::Misplaced { frame: 0, offset: 0, kind, stream })
                };
                assert_eq!(decoder.next(), expected, "{name}");
            }
        }
    }
    assert!(!Kind::Open.belongs(Side::Client, 1) && !Kind::Put.belongs(Side::Server, 0));
}

/// A frame around a body, with the right checksum.
fn sealed(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.push(kind as u8);
    bytes.extend(body);
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

#[test]
fn a_right_checksum_does_not_help_a_wrong_body() {
    for (name, frame) in samples::frames() {
        let bytes = encode(&frame);
        let body = &bytes[5..bytes.len() - 4];
        assert_eq!(sealed(frame.kind(), body), bytes);
        let side = sender(frame.kind());
        // These end with bytes of any number.
        if !matches!(frame.kind(), Kind::DeviceState | Kind::Put) {
            let longer = [body, &[0]].concat();
            assert!(decode(side, &sealed(frame.kind(), &longer)).is_err(), "{name} and a byte");
            for length in 0..body.len() {
                assert!(decode(side, &sealed(frame.kind(), &body[..length])).is_err(), "{name}, {length} bytes");
            }
        }
    }
}

/// Fields that hold what they must not, each in a frame that is otherwise a sample.
#[test]
fn senseless_fields_are_refused() {
    let body_of = |wanted: &str| {
        let frame = samples::frames().into_iter().find(|(name, _)| *name == wanted).unwrap().1;
        let bytes = encode(&frame);
        (frame.kind(), bytes[5..bytes.len() - 4].to_vec())
    };
    let cases: &[(&str, usize, &[u8], &str)] = &[
        ("Open (file)", 13, &[2], "what is sent"),
        ("Open (file)", 14, &[0xff; 8], "length"),
        ("Open (file)", 22, &4095_u32.to_le_bytes(), "block size"),
        ("Open (file)", 22, &0_u32.to_le_bytes(), "block size"),
        ("Open (file)", 22, &(2_u32 << 20).to_le_bytes(), "block size"),
        ("Open (guest)", 5, &0_u32.to_le_bytes(), "slots"),
        ("Open (guest)", 5, &u32::MAX.to_le_bytes(), "slots"),
        ("Open (guest)", 17, &0x101_u64.to_le_bytes(), "page numbers"),
        ("Open (guest)", 17, &0_u64.to_le_bytes(), "page numbers"),
        ("Open (guest)", 33, &u64::MAX.to_le_bytes(), "page numbers"),
        ("Put", 8, &u64::MAX.to_le_bytes(), "page numbers"),
        ("Put", 8, &(1_u64 << 51).to_le_bytes(), "page numbers"),
        ("Put", 16, &0_u32.to_le_bytes(), "a block"),
        ("Put", 16, &257_u32.to_le_bytes(), "a block"),
        ("Put", 16, &3_u32.to_le_bytes(), "encoded block"),
        ("Put", 36, &[7], "flag of deltas"),
        ("Zero", 16, &257_u32.to_le_bytes(), "a block"),
        ("Fingerprints", 8, &0_u32.to_le_bytes(), "list of blocks"),
        ("Fingerprints", 8, &0x8001_u32.to_le_bytes(), "list of blocks"),
        ("Fingerprints", 12, &[0b1101], "padding"),
        ("Ack", 0, &1025_u32.to_le_bytes(), "list of blocks"),
        ("Ack", 0, &3_u32.to_le_bytes(), "ends within"),
        ("Nack", 12, b"a\n", "plain UTF-8"),
        ("Failed", 4, &[0xff], "plain UTF-8"),
        ("Abort", 0, &1025_u16.to_le_bytes(), "text"),
    ];
    for (name, at, field, why) in cases {
        let (kind, mut body) = body_of(name);
        body[*at..at + field.len()].copy_from_slice(field);
        let error = decode(sender(kind), &sealed(kind, &body)).expect_err(&format!("{name} with {field:x?} at {at}"));
        assert!(matches!(&error, WireError::Malformed { .. }) && error.to_string().contains(why), "{name}: {error}");
    }
    let (kind, mut body) = body_of("Open (file)");
    body[2..5].copy_from_slice(b"../");
    let error = decode(Side::Client, &sealed(kind, &body)).unwrap_err();
    assert!(error.to_string().contains("the name has a component . or .."), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), side in any::<bool>()) {
        let side = if side { Side::Client } else { Side::Server };
        let _ = decode(side, &bytes);
        let _ = Hello::decode(&bytes);
        let _ = Reply::decode(&bytes);
        for &kind in Kind::ALL {
            if let Ok(Some(frame)) = decode(side, &sealed(kind, &bytes)) {
                // One form only: what was read is written in the same bytes.
                prop_assert_eq!(encode(&frame), sealed(kind, &bytes));
            }
        }
    }

    #[test]
    fn sealed_damage_has_one_form(
        which in 0..samples::frames().len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let frame = samples::frames().swap_remove(which).1;
        let bytes = encode(&frame);
        let mut body = bytes[5..bytes.len() - 4].to_vec();
        for (at, byte) in edits {
            if !body.is_empty() {
                let at = at.index(body.len());
                body[at] = byte;
            }
        }
        let sealed = sealed(frame.kind(), &body);
        if let Ok(Some(read)) = decode(sender(frame.kind()), &sealed) {
            prop_assert_eq!(encode(&read), sealed);
        }
    }
}
