//! A history as bytes. `FORMAT.md` beside this file specifies them.

use alloc::vec::Vec;

use super::cells::{Cursor, put_number, put_part, put_runs, runs};
use super::{Cells, Column, Identity, LoadError, Loaded, OwnedCells, OwnedColumn};
use crate::{Backing, Blocks, Gfn, Hva, MemSlot, Nanos, PageBitmap};

/// The first eight bytes: no text, and line ends that a transfer as text would destroy.
pub const MARK: [u8; 8] = *b"\x93PSHI\r\n\x1a";
/// The major version that is written and read.
pub const MAJOR: u16 = 1;
/// The minor version that is written. Every minor of [`MAJOR`] is read.
pub const MINOR: u16 = 0;
/// Columns that a file holds at most.
pub const MAX_COLUMNS: usize = 16;

/// Bytes before the body: mark, major, minor, length of the body.
const HEAD: usize = 20;

/// The history as bytes. Columns beyond [`MAX_COLUMNS`] and frames beyond [`Blocks::MAX_FRAMES`] are left out; the latter cannot be
/// loaded again in any case.
#[must_use]
pub fn encode(identity: &Identity, columns: &[Column<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&MAJOR.to_le_bytes());
    out.extend_from_slice(&MINOR.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    put_part(&mut out, &put_identity(identity));
    let columns = &columns[..columns.len().min(MAX_COLUMNS)];
    put_number(&mut out, columns.len() as u64);
    let frames = identity.slots.frame_end().min(Blocks::MAX_FRAMES);
    for column in columns {
        put_column(&mut out, column, frames);
    }
    let body = (out.len() - HEAD) as u64;
    out[HEAD - 8..HEAD].copy_from_slice(&body.to_le_bytes());
    let sum = crc32fast::hash(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The history that `bytes` hold, if it is one of the same boot, target and slots as `now` and was saved before it.
///
/// Costs memory in proportion to the slots in `now` and the length of `bytes`, whatever the bytes claim.
///
/// # Errors
/// See [`LoadError`]. If several are true, the first of boot, target, slots and time is named.
pub fn decode(bytes: &[u8], now: &Identity) -> Result<Loaded, LoadError> {
    let mut body = open(bytes)?;
    let saved_at = check_identity(body.part()?, now)?;
    let frames = now.slots.frame_end();
    if frames > Blocks::MAX_FRAMES {
        return Err(LoadError::TooLarge(frames));
    }
    let count = body.number()?;
    if count > MAX_COLUMNS as u64 {
        return Err(LoadError::Damaged);
    }
    let mut columns = Vec::new();
    for _ in 0..count {
        columns.extend(column(&mut body, frames)?);
    }
    if !body.rest.is_empty() {
        return Err(LoadError::Damaged);
    }
    Ok(Loaded { saved_at, columns })
}

/// Checks everything around the body. The version comes first: another one may keep its checksum elsewhere.
fn open(bytes: &[u8]) -> Result<Cursor<'_>, LoadError> {
    let mut head = Cursor { rest: bytes.strip_prefix(&MARK).ok_or(LoadError::NotAHistory)? };
    let found = u16::from_le_bytes(head.array()?);
    if found != MAJOR {
        return Err(LoadError::Version { found });
    }
    let _minor: [u8; 2] = head.array()?;
    let length = u64::from_le_bytes(head.array()?);
    let body = head.bytes(length)?;
    let (summed, sum) = bytes.split_last_chunk().ok_or(LoadError::Damaged)?;
    if head.rest != sum || crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
        return Err(LoadError::Damaged);
    }
    Ok(Cursor { rest: body })
}

fn put_identity(identity: &Identity) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&identity.boot_id);
    put_number(&mut out, identity.saved_at.0);
    put_part(&mut out, identity.target.as_bytes());
    put_number(&mut out, identity.slots.iter().len() as u64);
    for slot in identity.slots.iter() {
        put_number(&mut out, slot.base.0);
        put_number(&mut out, slot.pages);
        put_number(&mut out, slot.hva.0);
        out.push(match slot.backing {
            Backing::Anonymous => 0,
            Backing::Shared => 1,
        });
        put_number(&mut out, slot.numa_node.map_or(0, |node| u64::from(node) + 1));
    }
    out
}

/// When the history was saved, if it is of the same boot, target and slots. Later minors may add fields at the end, so what
/// follows the known ones is ignored.
fn check_identity(mut from: Cursor<'_>, now: &Identity) -> Result<Nanos, LoadError> {
    if from.array()? != now.boot_id {
        return Err(LoadError::OtherBoot);
    }
    let saved_at = Nanos(from.number()?);
    if from.part()?.rest != now.target.as_bytes() {
        return Err(LoadError::OtherTarget);
    }
    if from.number()? != now.slots.iter().len() as u64 {
        return Err(LoadError::OtherSlots);
    }
    for ours in now.slots.iter() {
        if slot(&mut from)? != *ours {
            return Err(LoadError::OtherSlots);
        }
    }
    if saved_at > now.saved_at { Err(LoadError::SavedLater) } else { Ok(saved_at) }
}

fn slot(from: &mut Cursor<'_>) -> Result<MemSlot, LoadError> {
    Ok(MemSlot {
        base: Gfn(from.number()?),
        pages: from.number()?,
        hva: Hva(from.number()?),
        backing: match from.byte()? {
            0 => Backing::Anonymous,
            1 => Backing::Shared,
            _ => return Err(LoadError::Damaged),
        },
        numa_node: match from.number()? {
            0 => None,
            node => Some(u16::try_from(node - 1).map_err(|_| LoadError::Damaged)?),
        },
    })
}

const BITS: u8 = 0;
const U16: u8 = 1;
const U32: u8 = 2;
const U64: u8 = 3;

fn put_column(out: &mut Vec<u8>, column: &Column<'_>, frames: u64) {
    let count = frames as usize;
    let mut cells = Vec::new();
    let kind = match column.cells {
        Cells::U16(numbers) => {
            put_runs(&mut cells, numbers, count);
            U16
        }
        Cells::U32(numbers) => {
            put_runs(&mut cells, numbers, count);
            U32
        }
        Cells::U64(numbers) => {
            put_runs(&mut cells, numbers, count);
            U64
        }
        Cells::Bits(set) => {
            put_bits(&mut cells, set, count);
            BITS
        }
    };
    out.extend_from_slice(&[column.tag, kind]);
    put_number(out, frames);
    put_part(out, &cells);
}

fn put_bits(out: &mut Vec<u8>, set: &PageBitmap, frames: usize) {
    let mut words = set.words().to_vec();
    if let Some(last) = words.get_mut(frames / 64) {
        *last &= low_bits(frames);
    }
    put_runs(out, &words, frames.div_ceil(64));
}

/// The column that comes next, or `None` if its numbers are of a kind that a later minor brought.
fn column(from: &mut Cursor<'_>, frames: u64) -> Result<Option<OwnedColumn>, LoadError> {
    let (tag, kind) = (from.byte()?, from.byte()?);
    if from.number()? != frames {
        return Err(LoadError::Damaged);
    }
    let (cells, count) = (from.part()?, frames as usize);
    let cells = match kind {
        BITS => OwnedCells::Bits(bits(cells, count)?),
        U16 => OwnedCells::U16(runs(cells, count)?),
        U32 => OwnedCells::U32(runs(cells, count)?),
        U64 => OwnedCells::U64(runs(cells, count)?),
        _ => return Ok(None),
    };
    Ok(Some(OwnedColumn { tag, cells }))
}

fn bits(from: Cursor<'_>, frames: usize) -> Result<PageBitmap, LoadError> {
    let words: Vec<u64> = runs(from, frames.div_ceil(64))?;
    if words.get(frames / 64).is_some_and(|last| last & !low_bits(frames) != 0) {
        return Err(LoadError::Damaged);
    }
    let mut set = PageBitmap::new(frames as u64);
    for (at, mut word) in words.into_iter().enumerate() {
        while word != 0 {
            let start = word.trailing_zeros();
            let end = start + (word >> start).trailing_ones();
            set.insert_range(at as u64 * 64 + u64::from(start)..at as u64 * 64 + u64::from(end));
            word &= u64::MAX.checked_shl(end).unwrap_or(0);
        }
    }
    Ok(set)
}

/// The bits of the last word that stand for frames.
fn low_bits(frames: usize) -> u64 {
    (1 << (frames % 64)) - 1
}
