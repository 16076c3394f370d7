//! One page on the wire: a header of two bytes and what it announces.
//!
//! ```text
//! page   = header payload
//! header = u16, little-endian: kind << 13 | length of the payload
//! ```
//!
//! | kind | name | length | payload |
//! |---|---|---|---|
//! | 0 | zero | 0 | |
//! | 1 | unchanged | 0 | the destination's version is the new one |
//! | 2 | xbzrle | 1 to 4095 | [delta](crate::delta::xbzrle) against the destination's version |
//! | 3 | zstd | 1 to 4095 | the page, compressed |
//! | 4 | raw | 4096 | the page |
//!
//! Anything else is malformed.

use alloc::vec::Vec;

use super::{is_zero, xbzrle};

/// Bytes of a page.
pub(super) const PAGE: usize = crate::PAGE_SIZE as usize;
/// Bytes of the header of a page.
pub(super) const HEADER: usize = 2;
/// A delta of up to this many bytes is sent without a look at what compression would give. It could not save more than that,
/// and costs about as much time as a line of 1 Gbit/s needs for a thousand bytes.
pub const SMALL_DELTA: usize = 64;

const LENGTH_BITS: u32 = 13;

/// Compresses single pages. The decisions about what to compress are the engine's; the codec lives outside, since this crate
/// has only pure functions of its own.
pub trait Compress {
    /// Compresses `page` (4096 bytes) to the start of `into`, and gives the length. `None` if it does not fit.
    fn compress(&mut self, page: &[u8], into: &mut [u8]) -> Option<usize>;
}

/// The other direction of [`Compress`].
pub trait Decompress {
    /// Decompresses `bytes` to `page` (4096 bytes). False if they are malformed or give less or more than that; what `page` holds is
    /// then of no meaning. The bytes come from outside and may be anything.
    fn decompress(&mut self, bytes: &[u8], page: &mut [u8]) -> bool;
}

/// Compresses nothing and refuses what is compressed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCompression;

impl Compress for NoCompression {
    fn compress(&mut self, _: &[u8], _: &mut [u8]) -> Option<usize> {
        None
    }
}

impl Decompress for NoCompression {
    fn decompress(&mut self, _: &[u8], _: &mut [u8]) -> bool {
        false
    }
}

/// How a page is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKind {
    /// All bytes are zero.
    Zero,
    /// The destination holds it already.
    Unchanged,
    /// As a delta.
    Xbzrle,
    /// Compressed.
    Zstd,
    /// As it is.
    Raw,
}

impl PageKind {
    /// The header for a payload of this length.
    pub(super) fn header(self, length: usize) -> [u8; HEADER] {
        let kind = match self {
            Self::Zero => 0,
            Self::Unchanged => 1,
            Self::Xbzrle => 2,
            Self::Zstd => 3,
            Self::Raw => 4,
        };
        (kind << LENGTH_BITS | length as u16).to_le_bytes()
    }

    /// Reads a header: kind and length of the payload. `Err` gives the same for one that is malformed, the kind as a number.
    pub(super) fn read(header: [u8; HEADER]) -> Result<(Self, usize), (u8, usize)> {
        let header = u16::from_le_bytes(header);
        let length = usize::from(header & ((1 << LENGTH_BITS) - 1));
        let number = (header >> LENGTH_BITS) as u8;
        let (kind, lengths) = match number {
            0 => (Self::Zero, 0..=0),
            1 => (Self::Unchanged, 0..=0),
            2 => (Self::Xbzrle, 1..=PAGE - 1),
            3 => (Self::Zstd, 1..=PAGE - 1),
            4 => (Self::Raw, PAGE..=PAGE),
            _ => return Err((number, length)),
        };
        if lengths.contains(&length) { Ok((kind, length)) } else { Err((number, length)) }
    }
}

/// What is known of the version of a page that the destination holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// Nothing: the page must not build on it.
    Unknown,
    /// It is the one that is sent.
    Same,
    /// Its bytes.
    Bytes(&'a [u8]),
}

/// Appends a page in its smallest form.
///
/// Of forms of one length the one that is cheapest to decode: unchanged, zero, raw, xbzrle, zstd.
pub(super) fn encode_page(new: &[u8], old: Old<'_>, compressor: &mut dyn Compress, out: &mut Vec<u8>) -> PageKind {
    let old = match old {
        Old::Unknown => None,
        Old::Bytes(old) if old != new => Some(old),
        Old::Same | Old::Bytes(_) => {
            out.extend_from_slice(&PageKind::Unchanged.header(0));
            return PageKind::Unchanged;
        }
    };
    if is_zero(new) {
        out.extend_from_slice(&PageKind::Zero.header(0));
        return PageKind::Zero;
    }
    let header = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let delta = old.and_then(|old| xbzrle::encode(old, new, out, PAGE - 1));
    let (kind, length) = match (delta, compress(new, delta, compressor, out)) {
        (_, Some(length)) => (PageKind::Zstd, length),
        (Some(length), None) => (PageKind::Xbzrle, length),
        (None, None) => {
            out.extend_from_slice(new);
            (PageKind::Raw, PAGE)
        }
    };
    out[header..header + HEADER].copy_from_slice(&kind.header(length));
    kind
}

/// Puts the compressed page where `out` has a delta now, if it is shorter than that and a raw page.
fn compress(page: &[u8], delta: Option<usize>, compressor: &mut dyn Compress, out: &mut Vec<u8>) -> Option<usize> {
    if delta.is_some_and(|delta| delta <= SMALL_DELTA) {
        return None;
    }
    let most = delta.unwrap_or(PAGE) - 1;
    let end = out.len();
    out.resize(end + most, 0);
    // The filter is for compressors that do not keep their word.
    let length = compressor.compress(page, &mut out[end..]).filter(|length| (1..=most).contains(length));
    let at = end - delta.unwrap_or(0);
    if let Some(length) = length {
        out.copy_within(end..end + length, at);
    }
    out.truncate(length.map_or(end, |length| at + length));
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_the_table() {
        let good = [
            (PageKind::Zero, 0, 0x0000),
            (PageKind::Unchanged, 0, 0x2000),
            (PageKind::Xbzrle, 1, 0x4001),
            (PageKind::Xbzrle, 4095, 0x4fff),
            (PageKind::Zstd, 0x123, 0x6123),
            (PageKind::Raw, 4096, 0x9000_u16),
        ];
        for (kind, length, header) in good {
            assert_eq!(kind.header(length), [header as u8, (header >> 8) as u8]);
        }
        let accepted = (0..=u16::MAX).filter_map(|header| PageKind::read(header.to_le_bytes()).ok().map(|read| (header, read)));
        let mut count = 0;
        for (header, (kind, length)) in accepted {
            assert_eq!(kind.header(length), header.to_le_bytes());
            count += 1;
        }
        assert_eq!(count, 1 + 1 + 4095 + 4095 + 1, "and no other header is accepted");
    }
}
