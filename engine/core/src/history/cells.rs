//! Numbers of all pages as bytes, without the zeros of pages that were never used.

use alloc::vec;
use alloc::vec::Vec;

use super::LoadError;

/// A reading position in bytes that may be hostile: every step is checked.
pub(super) struct Cursor<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn bytes(&mut self, count: u64) -> Result<&'a [u8], LoadError> {
        let count = usize::try_from(count).map_err(|_| LoadError::Damaged)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(LoadError::Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(LoadError::Damaged)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, LoadError> {
        self.array().map(|[byte]| byte)
    }

    /// A number in LEB128 of at most 64 bits.
    pub(super) fn number(&mut self) -> Result<u64, LoadError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(LoadError::Damaged)
    }

    /// Bytes with their length in front.
    pub(super) fn part(&mut self) -> Result<Cursor<'a>, LoadError> {
        let length = self.number()?;
        Ok(Cursor { rest: self.bytes(length)? })
    }
}

pub(super) fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends bytes with their length in front.
pub(super) fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    put_number(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// A number of fixed width.
pub(super) trait Cell: Copy + Default + PartialEq {
    const WIDTH: usize;
    fn put(self, out: &mut Vec<u8>);
    /// From exactly [`Cell::WIDTH`] bytes.
    fn get(bytes: &[u8]) -> Option<Self>;
}

macro_rules! cell {
    ($($number:ty),*) => {$(
        impl Cell for $number {
            const WIDTH: usize = size_of::<$number>();

            fn put(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn get(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )*};
}

cell!(u16, u32, u64);

/// Bytes of zeros that a run goes over: the two numbers of a new one take no more.
const GAP: usize = 8;

/// Appends the first `frames` cells as runs: a count of zeros, a count of cells, the cells. Zeros at the end are left out.
pub(super) fn put_runs<T: Cell>(out: &mut Vec<u8>, cells: &[T], frames: usize) {
    let cells = &cells[..frames.min(cells.len())];
    let is_zero = |cell: &T| *cell == T::default();
    let mut at = 0;
    while let Some(zeros) = cells[at..].iter().position(|cell| !is_zero(cell)) {
        let start = at + zeros;
        let end = run_end(cells, start, is_zero);
        put_number(out, zeros as u64);
        put_number(out, (end - start) as u64);
        out.reserve((end - start) * T::WIDTH);
        cells[start..end].iter().for_each(|cell| cell.put(out));
        at = end;
    }
}

/// One past the last cell of the run that begins at `start`: up to [`GAP`] bytes of zeros, or the last cell that is not zero.
fn run_end<T: Cell>(cells: &[T], start: usize, is_zero: impl Fn(&T) -> bool) -> usize {
    let (mut end, mut zeros) = (start, 0);
    for (at, cell) in cells.iter().enumerate().skip(start) {
        if !is_zero(cell) {
            (end, zeros) = (at + 1, 0);
            continue;
        }
        zeros += T::WIDTH;
        if zeros > GAP {
            break;
        }
    }
    end
}

/// Reads runs up to the end of the bytes. `frames` must be trusted: so many cells are made, zeros without touching memory.
pub(super) fn runs<T: Cell>(mut from: Cursor<'_>, frames: usize) -> Result<Vec<T>, LoadError> {
    let mut cells = vec![T::default(); frames];
    let mut free = cells.as_mut_slice();
    while !from.rest.is_empty() {
        let (zeros, count) = (from.number()?, from.number()?);
        let zeros = usize::try_from(zeros).map_err(|_| LoadError::Damaged)?;
        let (_, after) = free.split_at_mut_checked(zeros).ok_or(LoadError::Damaged)?;
        let count = usize::try_from(count).map_err(|_| LoadError::Damaged)?;
        let (run, rest) = after.split_at_mut_checked(count).ok_or(LoadError::Damaged)?;
        // The run lies within the cells, so its length in bytes does not overflow.
        let bytes = from.bytes((count * T::WIDTH) as u64)?;
        for (cell, bytes) in run.iter_mut().zip(bytes.chunks_exact(T::WIDTH)) {
            *cell = T::get(bytes).ok_or(LoadError::Damaged)?;
        }
        free = rest;
    }
    Ok(cells)
}
