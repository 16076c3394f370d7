//! A block on the wire: its [pages](super::page), one after the other.
//!
//! The encoding says nothing about which block it is, how many pages it has or which version it builds on: the frame around it
//! does. Nor does it hold a checksum: a block that is decoded over another old version than the encoder had comes out wrong
//! without an error, so whoever decodes compares the [fingerprint](super::fingerprint()) afterwards.

use alloc::vec::Vec;
use core::fmt;

use super::page::{Compress, Decompress, HEADER, Old, PAGE, PageKind, encode_page};
use super::xbzrle;

/// How many pages of a block took which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages of zeros.
    pub zero: u64,
    /// Pages that the destination holds already.
    pub unchanged: u64,
    /// Deltas.
    pub xbzrle: u64,
    /// Compressed pages.
    pub zstd: u64,
    /// Pages as they are.
    pub raw: u64,
}

impl PageCounts {
    fn count(&mut self, kind: PageKind) {
        *match kind {
            PageKind::Zero => &mut self.zero,
            PageKind::Unchanged => &mut self.unchanged,
            PageKind::Xbzrle => &mut self.xbzrle,
            PageKind::Zstd => &mut self.zstd,
            PageKind::Raw => &mut self.raw,
        } += 1;
    }

    /// All pages.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.zero + self.unchanged + self.xbzrle + self.zstd + self.raw
    }
}

impl core::ops::AddAssign for PageCounts {
    fn add_assign(&mut self, more: Self) {
        self.zero += more.zero;
        self.unchanged += more.unchanged;
        self.xbzrle += more.xbzrle;
        self.zstd += more.zstd;
        self.raw += more.raw;
    }
}

/// Most bytes that the encoding of a block takes: each page raw, with its header.
#[must_use]
pub fn encoded_limit(block_len: usize) -> usize {
    block_len + block_len / PAGE * HEADER
}

/// Appends the encoding of a block to `out` and tells which forms its pages took.
///
/// `old` is the version of the block that the destination holds, `None` if that is not known: then no page may build on it.
/// Each page takes its smallest form, except that after a delta of at most [`SMALL_DELTA`](super::page::SMALL_DELTA) bytes
/// compression is not tried.
///
/// # Panics
/// If the length of `new` is not a multiple of 4096, or `old` has another length.
pub fn encode_block(new: &[u8], old: Option<&[u8]>, compressor: &mut dyn Compress, out: &mut Vec<u8>) -> PageCounts {
    assert!(old.is_none_or(|old| old.len() == new.len()), "both versions of a block are of one length");
    let old = |index: usize, _: &[u8]| old.map_or(Old::Unknown, |old| Old::Bytes(&old[index * PAGE..][..PAGE]));
    encode_pages(new, old, compressor, out)
}

/// The same where of each page something else may be known: `old` is asked with the number of the page in the block and its new bytes.
///
/// # Panics
/// If the length of `new` is not a multiple of 4096, or old bytes are not a page.
pub fn encode_pages<'a>(
    new: &[u8],
    old: impl Fn(usize, &[u8]) -> Old<'a>,
    compressor: &mut dyn Compress,
    out: &mut Vec<u8>,
) -> PageCounts {
    let (pages, rest) = new.as_chunks::<PAGE>();
    assert!(rest.is_empty(), "a block is whole pages, not {} bytes", new.len());
    let mut counts = PageCounts::default();
    for (index, page) in pages.iter().enumerate() {
        counts.count(encode_page(page, old(index, page), compressor, out));
    }
    counts
}

/// Why a block cannot be decoded. Pages count from 0 within the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// The block to decode into is not whole pages: a mistake on this side.
    PartialPage {
        /// Its length in bytes.
        length: usize,
    },
    /// The encoding ends within this page.
    Truncated {
        /// The page.
        page: usize,
    },
    /// The encoding goes on behind the last page.
    Trailing {
        /// Bytes too many.
        bytes: usize,
    },
    /// No page has such a header.
    Header {
        /// The page.
        page: usize,
        /// Kind in the header.
        kind: u8,
        /// Length in the header.
        length: usize,
    },
    /// A delta is malformed.
    Delta {
        /// The page.
        page: usize,
        /// What is wrong with it.
        error: xbzrle::DecodeError,
    },
    /// A compressed page does not decompress to 4096 bytes.
    Compressed {
        /// The page.
        page: usize,
    },
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartialPage { length } => write!(f, "a block of {length} bytes is not whole pages"),
            Self::Truncated { page } => write!(f, "the block is cut off in page {page}"),
            Self::Trailing { bytes } => write!(f, "{bytes} bytes follow the last page of the block"),
            Self::Header { page, kind, length } => {
                write!(f, "page {page} has kind {kind} and length {length}, which do not exist")
            }
            Self::Delta { page, error } => write!(f, "page {page}: {error}"),
            Self::Compressed { page } => write!(f, "the compressed page {page} is damaged"),
        }
    }
}

impl core::error::Error for BlockError {}

/// Turns `block`, which holds the old version, into the new one. Without an old version it may hold anything as long as the
/// encoder had none either.
///
/// # Errors
/// Refuses what [`encode_block`] cannot have written for a block of this length. The structure is checked to its end first, so
/// of all errors only [`BlockError::Compressed`] can come after `block` has changed. Then the pages in front of the one named
/// are new, that one and those behind it old; no page is ever a mixture.
pub fn decode_block(encoded: &[u8], block: &mut [u8], decompressor: &mut dyn Decompress) -> Result<(), BlockError> {
    let length = block.len();
    let (pages, rest) = block.as_chunks_mut::<PAGE>();
    if !rest.is_empty() {
        return Err(BlockError::PartialPage { length });
    }
    let mut encodings = Encodings { encoded, page: 0 };
    for page in 0..pages.len() {
        let (kind, payload) = encodings.next()?;
        if kind == PageKind::Xbzrle {
            xbzrle::check(payload, PAGE).map_err(|error| BlockError::Delta { page, error })?;
        }
    }
    if !encodings.encoded.is_empty() {
        return Err(BlockError::Trailing { bytes: encodings.encoded.len() });
    }
    let mut encodings = Encodings { encoded, page: 0 };
    for (index, page) in pages.iter_mut().enumerate() {
        let (kind, payload) = encodings.next()?;
        decode_page(kind, payload, index, page, decompressor)?;
    }
    Ok(())
}

/// Changes a page from the old to the new version, or not at all.
fn decode_page(
    kind: PageKind,
    payload: &[u8],
    index: usize,
    page: &mut [u8; PAGE],
    decompressor: &mut dyn Decompress,
) -> Result<(), BlockError> {
    match kind {
        PageKind::Zero => page.fill(0),
        PageKind::Unchanged => {}
        PageKind::Xbzrle => xbzrle::decode(payload, page).map_err(|error| BlockError::Delta { page: index, error })?,
        PageKind::Zstd => {
            // Not in place: a codec that fails has written something by then.
            let mut new = [0; PAGE];
            if !decompressor.decompress(payload, &mut new) {
                return Err(BlockError::Compressed { page: index });
            }
            *page = new;
        }
        PageKind::Raw => page.copy_from_slice(payload),
    }
    Ok(())
}

/// The pages of an encoding, as far as headers tell.
struct Encodings<'a> {
    encoded: &'a [u8],
    page: usize,
}

impl<'a> Encodings<'a> {
    /// The next page: kind and payload.
    fn next(&mut self) -> Result<(PageKind, &'a [u8]), BlockError> {
        let page = self.page;
        let (&header, rest) = self.encoded.split_first_chunk().ok_or(BlockError::Truncated { page })?;
        let (kind, length) = PageKind::read(header).map_err(|(kind, length)| BlockError::Header { page, kind, length })?;
        let (payload, rest) = rest.split_at_checked(length).ok_or(BlockError::Truncated { page })?;
        self.encoded = rest;
        self.page += 1;
        Ok((kind, payload))
    }
}
