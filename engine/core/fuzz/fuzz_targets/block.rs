//! Blocks: what is encoded comes back, and what is not an encoding is refused without a page that is neither old nor new.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pagesieve_core::delta::{BlockError, Decompress, decode_block, encode_block, encoded_limit};
use pagesieve_live::Zstd;

const PAGE: usize = 4096;

thread_local! {
    /// Used for all inputs, as the drivers do.
    static CODEC: RefCell<Zstd> = RefCell::new(Zstd::new(Zstd::DEFAULT_LEVEL).expect("the default level exists"));
}

fuzz_target!(|data: &[u8]| {
    CODEC.with_borrow_mut(|codec| {
        decode(data, codec);
        round_trip(data, codec);
        damaged(data, codec);
    });
});

/// Decodes the input over one to four pages.
fn decode(data: &[u8], codec: &mut Zstd) {
    let Some((&pages, encoded)) = data.split_first() else { return };
    let old: Vec<u8> = (0..(usize::from(pages) % 4 + 1) * PAGE).map(|at| (at / 7) as u8).collect();
    let mut block = old.clone();
    match decode_block(encoded, &mut block, codec) {
        Ok(()) => again(&old, &block, codec),
        Err(BlockError::Compressed { page }) => assert!(block[page * PAGE..] == old[page * PAGE..]),
        Err(_) => assert!(block == old, "a block that is refused changes nothing"),
    }
    let mut page = [0; PAGE];
    codec.decompress(encoded, &mut page);
}

/// Two pages of which the input says what they were and how they change, there and back.
fn round_trip(data: &[u8], codec: &mut Zstd) {
    let (old, new) = versions(data);
    again(&old, &new, codec);
}

/// The same, with bits of the encoding flipped where the end of the input says so.
fn damaged(data: &[u8], codec: &mut Zstd) {
    let (old, new) = versions(data);
    let mut wire = vec![];
    encode_block(&new, Some(&old), codec, &mut wire);
    for flip in data.rchunks_exact(3).take(4) {
        let at = usize::from(u16::from_le_bytes([flip[0], flip[1]])) % wire.len();
        wire[at] ^= flip[2];
    }
    let mut block = old.clone();
    match decode_block(&wire, &mut block, codec) {
        Ok(()) => {}
        Err(BlockError::Compressed { page }) => assert!(block[page * PAGE..] == old[page * PAGE..]),
        Err(_) => assert!(block == old, "a block that is refused changes nothing"),
    }
}

fn versions(data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (base, edits) = data.split_at(data.len() / 2);
    let mut old = vec![0; 2 * PAGE];
    old.iter_mut().zip(base.iter().cycle()).for_each(|(into, byte)| *into = *byte);
    let mut new = old.clone();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % new.len();
        new[at..].iter_mut().take(usize::from(edit[2]) * 17).for_each(|byte| *byte = byte.wrapping_mul(3) ^ edit[3]);
    }
    (old, new)
}

/// Encodes with and without the old version, and decodes.
fn again(old: &[u8], new: &[u8], codec: &mut Zstd) {
    for old in [Some(old), None] {
        let mut wire = vec![];
        encode_block(new, old, codec, &mut wire);
        assert!(wire.len() <= encoded_limit(new.len()));
        let mut block = old.map_or_else(|| vec![0xa5; new.len()], <[u8]>::to_vec);
        decode_block(&wire, &mut block, codec).expect("an encoding of ours is well-formed");
        assert!(block == new);
    }
}
