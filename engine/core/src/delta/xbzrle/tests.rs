use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn bytes_on_the_wire_are_those_of_qemu() {
    let old = vec![0; 300];
    let mut new = old.clone();
    new[0] = 1;
    new[200..203].copy_from_slice(&[7, 8, 9]);
    let mut out = vec![];
    assert_eq!(encode(&old, &new, &mut out, 300), Some(9));
    assert_eq!(out, [0, 1, 1, 0xc7, 1, 3, 7, 8, 9]);
    assert_eq!(encode(&old, &old, &mut out, 0), Some(0), "equal versions need no byte");
}

#[test]
fn a_delta_that_does_not_pay_leaves_the_buffer_alone() {
    let mut out = vec![42];
    assert_eq!(encode(&[0; 64], &[1; 64], &mut out, 65), None);
    assert_eq!(encode(&[0; 64], &[1; 63], &mut out, 1000), None, "lengths differ");
    assert_eq!(out, [42]);
    assert_eq!(encode(&[0; 64], &[1; 64], &mut out, 66), Some(66));
}

#[test]
fn malformed_deltas_are_refused_and_change_nothing() {
    let cases: [(&[u8], DecodeError); 8] = [
        (&[0], DecodeError::Truncated),
        (&[0, 2, 1], DecodeError::Truncated),
        (&[0x80], DecodeError::Truncated),
        (&[0, 0], DecodeError::EmptyRun),
        (&[1, 1, 9, 0, 1, 9], DecodeError::EmptyRun),
        (&[0, 1, 9, 7, 1, 9], DecodeError::TooLong),
        (&[0x80, 0, 1, 9], DecodeError::Length),
        (&[0xff, 0xff, 0xff, 0xff, 0x7f, 1, 9], DecodeError::Length),
    ];
    for (delta, error) in cases {
        let mut page = [5; 8];
        assert_eq!(decode(delta, &mut page), Err(error), "{delta:?}");
        assert_eq!(page, [5; 8], "{delta:?}");
    }
}

/// The format, as its description says it and as slow as that.
fn naive(old: &[u8], new: &[u8]) -> Vec<u8> {
    let differs = |at: &usize| old[*at] != new[*at];
    let (mut out, mut at) = (vec![], 0);
    while let Some(from) = (at..new.len()).find(differs) {
        let to = (from..new.len()).find(|at| !differs(at)).unwrap_or(new.len());
        for mut length in [from - at, to - from] {
            while length > 127 {
                out.push((length % 128 + 128) as u8);
                length /= 128;
            }
            out.push(length as u8);
        }
        out.extend_from_slice(&new[from..to]);
        at = to;
    }
    out
}

/// Encodes without a limit, and checks length, limits and the way back.
fn encoded(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = vec![1, 2, 3];
    let length = encode(old, new, &mut out, usize::MAX).unwrap();
    assert_eq!(out.drain(..3).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(out.len(), length);
    assert_eq!(encoded_len(old, new, length), Some(length));
    let mut again = vec![];
    assert_eq!(encode(old, new, &mut again, length), Some(length), "the limit may be reached");
    if length > 0 {
        assert_eq!(encode(old, new, &mut again, length - 1), None, "and not exceeded");
        assert_eq!(encoded_len(old, new, length - 1), None);
    }
    assert_eq!(again, out);
    let mut page = old.to_vec();
    decode(&out, &mut page).unwrap();
    assert_eq!(page, new);
    out
}

/// Zeros with some runs set to 9, each from one place to before another, against zeros.
fn delta_of(length: usize, runs: &[(usize, usize)]) -> Vec<u8> {
    let mut new = vec![0; length];
    for (from, to) in runs {
        new[*from..*to].fill(9);
    }
    encoded(&vec![0; length], &new)
}

/// By hand, from the description of the format. The steps of the encoder end at multiples of 64, 256 and 1024.
#[test]
fn runs_may_lie_anywhere() {
    assert_eq!(delta_of(4096, &[(0, 1)]), [0, 1, 9]);
    assert_eq!(delta_of(4096, &[(4095, 4096)]), [0xff, 0x1f, 1, 9], "4095 = 31 * 128 + 127");
    assert_eq!(delta_of(4096, &[(0, 1), (4095, 4096)]), [0, 1, 9, 0xfe, 0x1f, 1, 9]);
    assert_eq!(delta_of(4096, &[(63, 65)]), [63, 2, 9, 9], "over the end of a word of the mask");
    assert_eq!(delta_of(4096, &[(63, 64), (65, 66)]), [63, 1, 9, 1, 1, 9]);
    assert_eq!(delta_of(4096, &[(64, 128)]), [&[64, 64][..], &[9; 64]].concat(), "a whole word of the mask");
    assert_eq!(delta_of(4096, &[(255, 257)]), [0xff, 1, 2, 9, 9], "over the end of a stretch");
    assert_eq!(delta_of(4096, &[(10, 700)]), [&[10, 0xb2, 5][..], &[9; 690]].concat(), "690 = 5 * 128 + 50");
    assert_eq!(delta_of(4096, &[(0, 4096)]), [&[0, 0x80, 0x20][..], &[9; 4096]].concat(), "a whole page");
    assert_eq!(delta_of(100, &[(98, 100)]), [98, 2, 9, 9], "in a tail shorter than a word of the mask");
    assert_eq!(delta_of(1, &[(0, 1)]), [0, 1, 9]);
    assert_eq!(delta_of(0, &[]), []);
}

#[test]
fn lengths_grow_by_a_byte_where_uleb128_does() {
    let cases: [(usize, &[u8]); 6] = [
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (16383, &[0xff, 0x7f]),
        (16384, &[0x80, 0x80, 1]),
        (2_097_151, &[0xff, 0xff, 0x7f]),
        (2_097_152, &[0x80, 0x80, 0x80, 1]),
    ];
    for (run, length) in cases {
        assert_eq!(delta_of(run + 90, &[(run, run + 1)]), [length, &[1, 9]].concat(), "{run} equal bytes in front");
        assert_eq!(delta_of(run + 90, &[(3, 4), (run + 4, run + 5)]), [&[3, 1, 9], length, &[1, 9]].concat(), "and between");
        assert_eq!(delta_of(run + 90, &[(5, run + 5)]), [&[5][..], length, &vec![9; run]].concat(), "{run} changed bytes");
    }
}

#[test]
fn a_length_longer_than_five_bytes_or_32_bits_is_refused() {
    for delta in [&[0x80; 5][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 1, 1, 9], &[0x80, 0x80, 0x80, 0x80, 0x10, 1, 9]] {
        assert_eq!(decode(delta, &mut [5; 8]), Err(DecodeError::Length), "{delta:?}");
    }
    // The greatest that fits: no sum wraps.
    let greatest = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(decode(&[&greatest[..], &greatest].concat(), &mut [5; 8]), Err(DecodeError::TooLong));
}

/// Every pattern of changes in a few bytes, at every place relative to the steps of the encoder.
#[test]
fn every_small_pattern_at_every_border() {
    let old: Vec<u8> = (0..1100).map(|at| (at * 7) as u8).collect();
    for at in [0, 58, 59, 60, 123, 250, 251, 252, 507, 1018, 1020, 1092] {
        for pattern in 0_u32..256 {
            let mut new = old.clone();
            (0..8).filter(|bit| pattern >> bit & 1 != 0).for_each(|bit| new[at + bit] ^= 0x80);
            assert_eq!(encoded(&old, &new), naive(&old, &new), "pattern {pattern:#b} at {at}");
        }
    }
}

#[test]
fn runs_of_every_length_with_a_neighbour() {
    let old = vec![0x11; 700];
    for length in 1..300 {
        for at in [0, 1, 40, 64, 255] {
            let mut new = old.clone();
            new[at..at + length].fill(0x22);
            new[at + length + 1] = 0x33;
            assert_eq!(encoded(&old, &new), naive(&old, &new), "{length} bytes at {at}");
        }
    }
}

#[test]
fn a_full_buffer_keeps_what_it_holds() {
    let (old, new) = (vec![0; 4096], vec![1; 4096]);
    let mut out = Vec::with_capacity(5);
    out.extend_from_slice(b"abcde");
    assert_eq!(encode(&old, &new, &mut out, 4098), None);
    assert_eq!(out, b"abcde");
    assert_eq!(encode(&old, &new, &mut out, 4099), Some(4099));
    assert_eq!(out[..8], *b"abcde\0\x80\x20");
}

fn versions() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let edit = (0_usize..4096, proptest::collection::vec(any::<u8>(), 1..300));
    (proptest::collection::vec(any::<u8>(), 1..4096), proptest::collection::vec(edit, 0..6)).prop_map(|(old, edits)| {
        let mut new = old.clone();
        for (at, bytes) in edits {
            let at = at % new.len();
            for (into, byte) in new[at..].iter_mut().zip(bytes) {
                *into = byte;
            }
        }
        (old, new)
    })
}

proptest! {
    #[test]
    fn decoding_gives_the_new_version((old, new) in versions(), limit in 0_usize..5000) {
        let mut out = vec![];
        let length = encode(&old, &new, &mut out, limit);
        prop_assert_eq!(length, encoded_len(&old, &new, limit));
        if let Some(length) = length {
            prop_assert!(length <= limit && length == out.len());
            let mut page = old;
            decode(&out, &mut page).unwrap();
            prop_assert_eq!(page, new);
        }
    }

    #[test]
    fn bytes_are_those_of_the_naive_encoder((old, new) in versions(), seed in any::<u64>(), dense in 1_u32..40) {
        prop_assert_eq!(encoded(&old, &new), naive(&old, &new));
        // And with single bytes changed all over, one in `dense`.
        let mut state = seed | 1;
        let scattered: Vec<u8> = new.iter().map(|byte| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            byte ^ u8::from(((state >> 32) as u32).is_multiple_of(dense))
        }).collect();
        prop_assert_eq!(encoded(&old, &scattered), naive(&old, &scattered));
    }

    #[test]
    fn arbitrary_bytes_never_panic(delta in proptest::collection::vec(any::<u8>(), 0..64), len in 0_usize..128) {
        let mut page = vec![3; len];
        if decode(&delta, &mut page).is_err() {
            prop_assert_eq!(page, vec![3; len]);
        }
    }
}
