//! Whole numbers of variable length (LEB128, as `FORMAT.md` describes), and a reading position in a slice.

use crate::error::Damage;

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign become small numbers: 0, -1, 1, -2, 2 become 0, 1, 2, 3, 4. Wraps, so any pair of numbers has
/// a difference.
pub(crate) fn zigzag(value: u64) -> u64 {
    (value << 1) ^ ((value as i64) >> 63) as u64
}

pub(crate) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// A position in bytes that may be hostile: every step is checked.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damage> {
        let (&first, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(first)
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Result<&'a [u8], Damage> {
        let count = usize::try_from(count).map_err(|_| SHORT)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// One number. The first three lengths, which make up nearly all of a trace, are decoded without a loop.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Damage> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Ok(u64::from(a))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Ok(u64::from(a & 0x7f) | u64::from(b) << 7)
            }
            [a, b, c, ref rest @ ..] if c < 0x80 => {
                self.rest = rest;
                Ok(u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7 | u64::from(c) << 14)
            }
            _ => self.long_number(),
        }
    }

    #[inline(never)]
    fn long_number(&mut self) -> Result<u64, Damage> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Damage::Malformed("a number is longer than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damage::Malformed("a number is longer than 64 bits"))
    }

    /// A count of items that take at least `least` bytes each: more than the rest can hold is refused before any memory is
    /// set aside for them.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Damage> {
        let count = self.number()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() / least => Ok(count),
            _ => Err(Damage::Malformed("a count is larger than the bytes that follow it")),
        }
    }
}

const SHORT: Damage = Damage::Malformed("it ends too early");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_at_every_length() {
        let mut edges = vec![0, 1, u64::MAX];
        edges.extend((1..10).flat_map(|n| [(1u64 << (7 * n)) - 1, 1 << (7 * n)]));
        for value in edges {
            let mut out = Vec::new();
            put(&mut out, value);
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.number(), Ok(value));
            assert_eq!(cursor.left(), 0);
            assert!(Cursor::new(&out[..out.len() - 1]).number().is_err());
            assert_eq!(unzigzag(zigzag(value)), value);
        }
        assert_eq!(zigzag(u64::MAX), 1, "-1 is a small number");
    }

    #[test]
    fn a_number_beyond_64_bits_is_refused() {
        let mut bytes = [0xff; 10];
        bytes[9] = 1;
        assert_eq!(Cursor::new(&bytes).number(), Ok(u64::MAX));
        bytes[9] = 2;
        assert!(Cursor::new(&bytes).number().is_err());
        assert!(Cursor::new(&[0x80; 11]).number().is_err());
    }
}
