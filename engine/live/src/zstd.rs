//! Compression of single pages with zstd, for the delta coder of the engine.

use std::fmt;

use pagesieve_core::delta::{Compress, Decompress};
use zstd::bulk::{Compressor, Decompressor};

/// A zstd codec for pages. Both contexts are made once and used for every page; neither remembers anything from one page to
/// the next.
///
/// A page is one zstd frame without a checksum, since the fingerprint of the block covers it. Decoding needs no memory beyond
/// the context and the page, whatever the frame claims about its window or content.
pub struct Zstd {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
}

/// Why there is no codec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZstdError {
    /// zstd has no such level.
    #[error(
        "compression level {level} does not exist: choose one from {least} to {most} (the default is {})",
        Zstd::DEFAULT_LEVEL
    )]
    Level {
        /// What was asked for.
        level: i32,
        /// The lowest level: the fastest.
        least: i32,
        /// The highest: the smallest output.
        most: i32,
    },
    /// zstd could not make a context, for want of memory.
    #[error("zstd has no memory for its context")]
    Context(#[from] std::io::Error),
}

impl Zstd {
    /// The level that compresses well at several hundred MB/s.
    pub const DEFAULT_LEVEL: i32 = 3;

    /// A codec that compresses at this level; 0 is zstd's own default, and levels below 0 are faster and larger. Every codec
    /// decompresses every level.
    ///
    /// # Errors
    /// See [`ZstdError`].
    pub fn new(level: i32) -> Result<Self, ZstdError> {
        let levels = zstd::compression_level_range();
        if !levels.contains(&level) {
            return Err(ZstdError::Level { level, least: *levels.start(), most: *levels.end() });
        }
        let mut compressor = Compressor::new(level)?;
        compressor.include_checksum(false)?;
        Ok(Self { compressor, decompressor: Decompressor::new()? })
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}

impl Compress for Zstd {
    fn compress(&mut self, page: &[u8], into: &mut [u8]) -> Option<usize> {
        // The one error there can be is that `into` is too small.
        self.compressor.compress_to_buffer(page, into).ok()
    }
}

impl Decompress for Zstd {
    fn decompress(&mut self, bytes: &[u8], page: &mut [u8]) -> bool {
        self.decompressor.decompress_to_buffer(bytes, page).is_ok_and(|length| length == page.len())
    }
}

#[cfg(test)]
mod tests {
    use pagesieve_core::delta::{BlockError, PageCounts, decode_block, encode_block, encoded_limit};
    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 4096;

    fn codec() -> Zstd {
        Zstd::new(Zstd::DEFAULT_LEVEL).unwrap()
    }

    /// Text-like bytes that compress, but not to nothing.
    fn text(seed: u8) -> Vec<u8> {
        (0..PAGE).map(|at| b"a page of a guest is "[(at * at / 7 + usize::from(seed)) % 21]).collect()
    }

    /// Bytes that do not compress.
    fn noise(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2) + 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..PAGE).map(next).collect()
    }

    #[test]
    fn levels_are_those_of_zstd() {
        for level in [-131_072, -1, 0, 3, 22] {
            assert!(Zstd::new(level).is_ok(), "level {level}");
        }
        for level in [i32::MIN, 23] {
            let error = Zstd::new(level).unwrap_err();
            assert!(error.to_string().contains("from -131072 to 22 (the default is 3)"), "{error}");
        }
    }

    #[test]
    fn each_kind_of_page_finds_its_form() {
        let mut near = noise(3);
        near[1000] ^= 1;
        let new = [vec![0; PAGE], noise(2), near, text(4), noise(5)].concat();
        let old = [noise(1), noise(2), noise(3), noise(4), noise(6)].concat();
        let mut wire = vec![];
        let counts = encode_block(&new, Some(&old), &mut codec(), &mut wire);
        assert_eq!(counts, PageCounts { zero: 1, unchanged: 1, xbzrle: 1, zstd: 1, raw: 1 });
        let mut block = old;
        decode_block(&wire, &mut block, &mut codec()).unwrap();
        assert!(block == new);
    }

    #[test]
    fn what_is_not_exactly_a_page_is_refused() {
        let mut codec = codec();
        let mut page = vec![0; PAGE];
        let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
        assert!(codec.decompress(&frame(&text(1)), &mut page) && page == text(1));
        assert!(!codec.decompress(&frame(&text(1)[1..]), &mut page), "a byte less");
        assert!(!codec.decompress(&frame(&[text(1), vec![0]].concat()), &mut page), "a byte more");
        // Few bytes that claim 64 MiB.
        assert!(!codec.decompress(&frame(&vec![0; 1 << 26]), &mut page));
        assert!(!codec.decompress(&[], &mut page));
    }

    /// A page of one of several kinds, with the version before it.
    fn page() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let any_page = prop_oneof![
            Just(vec![0; PAGE]),
            any::<u8>().prop_map(|byte| vec![byte; PAGE]),
            any::<u64>().prop_map(noise),
            any::<u8>().prop_map(text),
        ];
        let edits = proptest::collection::vec((0..PAGE, proptest::collection::vec(any::<u8>(), 1..200)), 0..12);
        let edited = (any_page.clone(), edits).prop_map(|(old, edits)| {
            let mut new = old.clone();
            for (at, bytes) in edits {
                new[at..].iter_mut().zip(bytes).for_each(|(into, byte)| *into = byte);
            }
            (old, new)
        });
        prop_oneof![(any_page.clone(), any_page), edited]
    }

    fn versions() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        proptest::collection::vec(page(), 0..6).prop_map(|pages| {
            let (old, new): (Vec<_>, Vec<_>) = pages.into_iter().unzip();
            (old.concat(), new.concat())
        })
    }

    /// Every page of `block` is that of one of the versions; those from `first_old` on are old.
    fn assert_no_mixture(block: &[u8], old: &[u8], first_old: usize) {
        assert_eq!(block.len(), old.len());
        assert!(block[first_old * PAGE..] == old[first_old * PAGE..], "pages from {first_old} on are old");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn blocks_come_back((old, new) in versions(), known in any::<bool>()) {
            let mut wire = vec![];
            let counts = encode_block(&new, known.then_some(&old), &mut codec(), &mut wire);
            prop_assert_eq!(counts.total() as usize, new.len() / PAGE);
            prop_assert!(wire.len() <= encoded_limit(new.len()));
            prop_assert!(known || counts.unchanged + counts.xbzrle == 0);
            let mut block = if known { old } else { vec![0xa5; new.len()] };
            decode_block(&wire, &mut block, &mut codec()).unwrap();
            prop_assert!(block == new);
        }

        #[test]
        fn damage_never_panics_nor_mixes_pages(
            (old, new) in versions(),
            flips in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4),
            cut in proptest::option::of(any::<prop::sample::Index>()),
        ) {
            let mut wire = vec![];
            encode_block(&new, Some(&old), &mut codec(), &mut wire);
            for (at, bits) in flips.iter().filter(|_| !wire.is_empty()).collect::<Vec<_>>() {
                let at = at.index(wire.len());
                wire[at] ^= bits;
            }
            wire.truncate(cut.map_or(wire.len(), |cut| cut.index(wire.len() + 1)));
            let mut block = old.clone();
            match decode_block(&wire, &mut block, &mut codec()) {
                Ok(()) => prop_assert_eq!(block.len(), old.len()),
                Err(BlockError::Compressed { page }) => assert_no_mixture(&block, &old, page),
                Err(_) => assert_no_mixture(&block, &old, 0),
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut page = vec![0; PAGE];
            codec().decompress(&bytes, &mut page);
            let mut frame = zstd::bulk::compress(&text(9), 3).unwrap();
            let length = frame.len().min(bytes.len());
            frame[4..length.max(4)].iter_mut().zip(&bytes).for_each(|(into, byte)| *into ^= byte);
            codec().decompress(&frame, &mut page);
        }
    }
}
