//! Numbers and lists in a body, little-endian.

use super::Token;
use super::error::Malformed;

/// The rest of a body that is being read.
#[derive(Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Malformed::Choice { field, value: value.into() }),
        }
    }

    /// A flag, and what follows if it is 1.
    pub(super) fn option<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn token(&mut self) -> Result<Token, Malformed> {
        self.array().map(Token)
    }

    /// A `u32` that says how many entries of at least `size` bytes follow. What is not there is not counted: so a list never
    /// takes more memory than the body that was received for it.
    pub(super) fn count(&mut self, field: &'static str, least: usize, most: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if (least..=most).contains(&count) { Ok(count) } else { Err(Malformed::Count { field, count, least, most }) }
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// A list of bits, the lowest first. Bits behind the last one must be 0, so that a body has one form only.
    pub(super) fn bits(&mut self, count: usize) -> Result<Vec<bool>, Malformed> {
        let bytes = self.take(count.div_ceil(8))?;
        if let (Some(&last), used @ 1..) = (bytes.last(), count % 8)
            && last >> used != 0
        {
            return Err(Malformed::Choice { field: "the padding of a list of bits", value: last.into() });
        }
        Ok((0..count).map(|at| bytes[at / 8] >> (at % 8) & 1 == 1).collect())
    }
}

pub(super) fn put_bits(out: &mut Vec<u8>, bits: impl ExactSizeIterator<Item = bool>) {
    let start = out.len();
    out.resize(start + bits.len().div_ceil(8), 0);
    for (at, bit) in bits.enumerate() {
        out[start + at / 8] |= u8::from(bit) << (at % 8);
    }
}

/// Bytes with their length in front as a `u16`; they are known to be few.
pub(super) fn put_bytes16(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: usize) {
    debug_assert!(u32::try_from(value).is_ok());
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

pub(super) fn put_option<const N: usize>(out: &mut Vec<u8>, value: Option<&[u8; N]>) {
    out.push(value.is_some().into());
    out.extend_from_slice(value.map_or(&[][..], |value| value));
}
