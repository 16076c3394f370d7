//! Blocks, and answers to them.

use pagesieve_core::Fingerprint;

use super::Text;
use super::error::Malformed;
use super::fields::{Fields, put_bytes16, put_u32};

/// Most pages of a block: 1 MiB.
pub const MAX_BLOCK_PAGES: u32 = 256;
/// Most blocks that one frame acknowledges.
pub const MAX_ACKS: usize = 1024;

/// Fewest and most bytes of a page in [`Put::encoded`].
const PAGE: std::ops::RangeInclusive<usize> = 2..=4098;

/// The pages of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first page: a gfn, or a number within a file.
    pub first: u64,
    /// How many, 1 to [`MAX_BLOCK_PAGES`].
    pub pages: u32,
}

impl Span {
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.pages.to_le_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let span = Self { first: fields.u64()?, pages: fields.u32()? };
        if !(1..=MAX_BLOCK_PAGES).contains(&span.pages) {
            return Err(Malformed::Count {
                field: "a block",
                count: span.pages as usize,
                least: 1,
                most: MAX_BLOCK_PAGES as usize,
            });
        }
        // The last byte of the last page must have an offset.
        let end = span.first.checked_add(span.pages.into()).ok_or(Malformed::Pages)?;
        if end > 1 << 51 { Err(Malformed::Pages) } else { Ok(span) }
    }
}

/// A block with content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Number of the block on its way, for the answer; it rises within a stream.
    pub sequence: u64,
    /// Its pages.
    pub span: Span,
    /// Fingerprint of the block once decoded.
    pub fingerprint: Fingerprint,
    /// Whether deltas in it refer to what the destination holds. If not, the destination decodes it whatever it holds.
    pub based: bool,
    /// What [`encode_block`](pagesieve_core::delta::encode_block) made of it.
    pub encoded: Vec<u8>,
}

impl Put {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.sequence.to_le_bytes());
        self.span.put(out);
        out.extend_from_slice(&self.fingerprint.0.to_le_bytes());
        out.push(self.based.into());
        out.extend_from_slice(&self.encoded);
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let sequence = fields.u64()?;
        let span = Span::read(fields)?;
        let fingerprint = Fingerprint(fields.u128()?);
        let based = fields.flag("the flag of deltas")?;
        let encoded = fields.rest();
        let pages = span.pages as usize;
        let (least, most) = (pages * PAGE.start(), pages * PAGE.end());
        if !(least..=most).contains(&encoded.len()) {
            return Err(Malformed::Count { field: "the encoded block", count: encoded.len(), least, most });
        }
        Ok(Self { sequence, span, fingerprint, based, encoded: encoded.to_vec() })
    }
}

pub(super) fn put_zero(out: &mut Vec<u8>, sequence: u64, span: Span) {
    out.extend_from_slice(&sequence.to_le_bytes());
    span.put(out);
}

pub(super) fn read_zero(fields: &mut Fields<'_>) -> Result<(u64, Span), Malformed> {
    Ok((fields.u64()?, Span::read(fields)?))
}

pub(super) fn put_acks(out: &mut Vec<u8>, sequences: &[u64]) {
    put_u32(out, sequences.len());
    sequences.iter().for_each(|sequence| out.extend_from_slice(&sequence.to_le_bytes()));
}

pub(super) fn read_acks(fields: &mut Fields<'_>) -> Result<Vec<u64>, Malformed> {
    let count = fields.count("the list of blocks", 1, MAX_ACKS)?;
    let (numbers, _) = fields.take(count * 8)?.as_chunks::<8>();
    Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
}

pub(super) fn put_nack(out: &mut Vec<u8>, sequence: u64, code: u16, text: &Text) {
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&code.to_le_bytes());
    put_bytes16(out, text.as_str().as_bytes());
}
