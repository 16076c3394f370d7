//! Blocks with a codec of their own, so that every kind of page can be made at will.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::page::{PAGE, SMALL_DELTA};
use super::*;

/// "Compresses" pages of one repeated byte to `length` copies of it.
struct Repeat {
    length: usize,
    calls: usize,
}

impl Repeat {
    fn new(length: usize) -> Self {
        Self { length, calls: 0 }
    }
}

impl Compress for Repeat {
    fn compress(&mut self, page: &[u8], into: &mut [u8]) -> Option<usize> {
        self.calls += 1;
        assert_eq!(page.len(), PAGE);
        let same = page.iter().all(|byte| *byte == page[0]);
        let into = into.get_mut(..self.length).filter(|_| same)?;
        into.fill(page[0]);
        Some(self.length)
    }
}

impl Decompress for Repeat {
    fn decompress(&mut self, bytes: &[u8], page: &mut [u8]) -> bool {
        // Writes before it fails, as a real one may.
        page.fill(bytes[0]);
        bytes.len() == self.length && bytes.iter().all(|byte| *byte == bytes[0])
    }
}

/// A page in which neighbours differ.
fn pattern(seed: u8) -> Vec<u8> {
    (0..PAGE).map(|at| (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ seed).collect()
}

fn changed(page: &[u8], count: usize) -> Vec<u8> {
    let mut page = page.to_vec();
    page[100..100 + count].iter_mut().for_each(|byte| *byte ^= 0xff);
    page
}

#[test]
fn a_block_of_every_kind_by_hand() {
    let old = [pattern(1), pattern(2), pattern(3), pattern(4), pattern(5)].concat();
    let new = [vec![0; PAGE], pattern(2), changed(&pattern(3), 2), vec![7; PAGE], pattern(6)].concat();
    let mut wire = vec![0xee];
    let counts = encode_block(&new, Some(&old), &mut Repeat::new(3), &mut wire);
    assert_eq!(counts, PageCounts { zero: 1, unchanged: 1, xbzrle: 1, zstd: 1, raw: 1 });
    assert_eq!(counts.total(), 5);
    let delta = [100, 2, new[2 * PAGE + 100], new[2 * PAGE + 101]];
    let by_hand = [&[0xee, 0, 0, 0, 0x20, 4, 0x40], &delta[..], &[3, 0x60, 7, 7, 7, 0, 0x90], &pattern(6)].concat();
    assert_eq!(wire, by_hand);
    let mut block = old;
    decode_block(&wire[1..], &mut block, &mut Repeat::new(3)).unwrap();
    assert_eq!(block, new);
}

#[test]
fn nothing_builds_on_a_version_that_is_not_known() {
    let new = pattern(1);
    let mut wire = vec![];
    let counts = encode_block(&new, None, &mut NoCompression, &mut wire);
    assert_eq!(counts, PageCounts { raw: 1, ..PageCounts::default() });
    assert_eq!(wire.len(), encoded_limit(PAGE));
    let mut block = vec![0x55; PAGE];
    decode_block(&wire, &mut block, &mut NoCompression).unwrap();
    assert_eq!(block, new);
}

#[test]
fn of_equal_lengths_the_cheapest_to_decode_wins() {
    let kind = |new: &[u8], old: &[u8], compressor: &mut dyn Compress| {
        let mut wire = vec![];
        encode_block(new, Some(old), compressor, &mut wire);
        (wire[1] >> 5, wire.len() - 2)
    };
    assert_eq!(kind(&[0; PAGE], &[0; PAGE], &mut NoCompression), (1, 0), "unchanged before zero");
    // A delta of 4096 bytes: 3 for the lengths of one run of 4093.
    let old = pattern(9);
    assert_eq!(kind(&changed_but(&old, 3), &old, &mut NoCompression), (4, PAGE), "raw before xbzrle");
    assert_eq!(kind(&changed_but(&old, 4), &old, &mut NoCompression), (2, PAGE - 1), "xbzrle when it saves a byte");
    // The delta of a page that is 200 bytes of another: 0, 200 in two bytes, the bytes.
    let mut old = [7; PAGE];
    old[..200].fill(8);
    assert_eq!(kind(&[7; PAGE], &old, &mut Repeat::new(203)), (2, 203), "xbzrle before zstd");
    assert_eq!(kind(&[7; PAGE], &old, &mut Repeat::new(202)), (3, 202), "zstd when it saves a byte");
    assert_eq!(kind(&[7; PAGE], &pattern(0), &mut Repeat::new(4095)), (3, 4095));
    assert_eq!(kind(&[7; PAGE], &[8; PAGE], &mut Repeat::new(4096)), (4, PAGE), "raw before zstd");
}

/// All bytes changed but the last `count`.
fn changed_but(page: &[u8], count: usize) -> Vec<u8> {
    let mut page = page.to_vec();
    page[..PAGE - count].iter_mut().for_each(|byte| *byte ^= 0xff);
    page
}

#[test]
fn compression_is_not_tried_where_it_cannot_pay() {
    let calls = |new: &[u8], old: &[u8]| {
        let mut compressor = Repeat::new(1);
        encode_block(new, Some(old), &mut compressor, &mut vec![]);
        compressor.calls
    };
    let old = pattern(3);
    assert_eq!(calls(&[0; PAGE], &old), 0, "zero");
    assert_eq!(calls(&old, &old), 0, "unchanged");
    assert_eq!(calls(&changed(&old, SMALL_DELTA - 2), &old), 0, "a delta of {SMALL_DELTA} bytes");
    assert_eq!(calls(&changed(&old, SMALL_DELTA - 1), &old), 1);
}

#[test]
fn a_compressor_that_lies_does_no_harm() {
    struct Liar(usize);
    impl Compress for Liar {
        fn compress(&mut self, _: &[u8], _: &mut [u8]) -> Option<usize> {
            Some(self.0)
        }
    }
    for length in [0, PAGE, usize::MAX] {
        let mut wire = vec![];
        encode_block(&pattern(1), None, &mut Liar(length), &mut wire);
        assert_eq!(wire[..2], [0, 0x90], "raw");
    }
}

#[test]
fn malformed_blocks_are_refused_before_anything_changes() {
    let raw = [&[0, 0x90][..], &pattern(1)].concat();
    let cases: [(Vec<u8>, BlockError); 11] = [
        (vec![], BlockError::Truncated { page: 0 }),
        (vec![0], BlockError::Truncated { page: 0 }),
        (vec![0, 0], BlockError::Truncated { page: 1 }),
        (raw[..PAGE + 1].to_vec(), BlockError::Truncated { page: 0 }),
        (vec![0, 0, 0, 0x20, 9], BlockError::Trailing { bytes: 1 }),
        (vec![0, 0, 0, 0xa0], BlockError::Header { page: 1, kind: 5, length: 0 }),
        (vec![0, 0, 1, 0x20, 9], BlockError::Header { page: 1, kind: 1, length: 1 }),
        (vec![0, 0, 0, 0x40], BlockError::Header { page: 1, kind: 2, length: 0 }),
        ([&[0, 0, 0xff, 0x8f][..], &[1; PAGE - 1]].concat(), BlockError::Header { page: 1, kind: 4, length: PAGE - 1 }),
        ([&[0, 0, 0xff, 0x9f][..], &[1; 2 * PAGE - 1]].concat(), BlockError::Header { page: 1, kind: 4, length: 2 * PAGE - 1 }),
        (vec![0, 0, 2, 0x40, 1, 1], BlockError::Delta { page: 1, error: xbzrle::DecodeError::Truncated }),
    ];
    for (encoded, error) in cases {
        let mut block = vec![3; 2 * PAGE];
        assert_eq!(decode_block(&encoded, &mut block, &mut NoCompression), Err(error));
        assert_eq!(block, vec![3; 2 * PAGE], "{error}");
    }
    let mut odd = [3; PAGE + 1];
    assert_eq!(decode_block(&[0, 0], &mut odd, &mut NoCompression), Err(BlockError::PartialPage { length: PAGE + 1 }));
}

#[test]
fn a_damaged_compressed_page_stays_old() {
    let mut block = vec![3; 3 * PAGE];
    let encoded = [0, 0, 2, 0x60, 1, 2, 0, 0];
    assert_eq!(decode_block(&encoded, &mut block, &mut Repeat::new(2)), Err(BlockError::Compressed { page: 1 }));
    assert_eq!(block, [[0; PAGE], [3; PAGE], [3; PAGE]].concat(), "the pages in front are new, the others old");
}

proptest! {
    #[test]
    fn arbitrary_bytes_give_old_or_new_pages(encoded in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut block = vec![3; 2 * PAGE];
        match decode_block(&encoded, &mut block, &mut Repeat::new(2)) {
            Ok(()) => {}
            Err(BlockError::Compressed { page }) => prop_assert_eq!(&block[page * PAGE..], vec![3; (2 - page) * PAGE]),
            Err(_) => prop_assert_eq!(block, vec![3; 2 * PAGE]),
        }
    }
}
