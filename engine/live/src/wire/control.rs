//! What a session is about, and what the destination holds.

use pagesieve_core::Fingerprint;

use super::error::Malformed;
use super::fields::{Fields, put_bits, put_bytes16, put_u32};
use super::{MAX_BLOCK_PAGES, Name};

/// Most slots of a guest.
pub const MAX_SLOTS: usize = 4096;
/// Most blocks in one list of fingerprints.
pub const MAX_CHUNK_BLOCKS: usize = 1 << 15;
/// Most bytes of device state in one frame.
pub const MAX_CHUNK: usize = 1 << 20;

/// Pages of a guest that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The first gfn.
    pub first: u64,
    /// How many pages, at least 1.
    pub pages: u64,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// 0: a file of so many bytes. Its last page is filled up with zeros on the wire.
    File {
        /// Its length.
        bytes: u64,
    },
    /// 1: the memory of a guest: 1 to [`MAX_SLOTS`] slots in rising order that do not overlap.
    Guest(Vec<Slot>),
}

/// The first frame of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Where it goes at the destination.
    pub name: Name,
    /// What it is.
    pub what: What,
    /// Bytes of a block: whole pages, at most [`MAX_BLOCK_PAGES`]. It is the unit of the lists that the destination sends;
    /// blocks that are sent may be smaller.
    pub block_size: u32,
}

impl Open {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_bytes16(out, self.name.as_str().as_bytes());
        match &self.what {
            What::File { bytes } => {
                out.push(0);
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            What::Guest(slots) => {
                out.push(1);
                put_u32(out, slots.len());
                for slot in slots {
                    out.extend_from_slice(&slot.first.to_le_bytes());
                    out.extend_from_slice(&slot.pages.to_le_bytes());
                }
            }
        }
        out.extend_from_slice(&self.block_size.to_le_bytes());
    }

    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let length = fields.u16()?;
        let name = Name::from_bytes(fields.take(length.into())?)?;
        let what = match fields.u8()? {
            0 => What::File { bytes: read_length(fields)? },
            1 => What::Guest(read_slots(fields)?),
            value => return Err(Malformed::Choice { field: "what is sent", value: value.into() }),
        };
        let block_size = fields.u32()?;
        if block_size == 0 || !block_size.is_multiple_of(4096) || block_size > MAX_BLOCK_PAGES * 4096 {
            return Err(Malformed::Choice { field: "the block size", value: block_size.into() });
        }
        Ok(Self { name, what, block_size })
    }
}

/// A length of a file: at most 2^63 - 4096, so that offsets fit what the kernel takes.
pub(super) fn read_length(fields: &mut Fields<'_>) -> Result<u64, Malformed> {
    let value = fields.u64()?;
    if value > (1 << 63) - 4096 { Err(Malformed::Choice { field: "the length", value }) } else { Ok(value) }
}

fn read_slots(fields: &mut Fields<'_>) -> Result<Vec<Slot>, Malformed> {
    let count = fields.count("the list of slots", 1, MAX_SLOTS)?;
    let mut slots = Vec::new();
    let mut free = 0;
    for _ in 0..count {
        let slot = Slot { first: fields.u64()?, pages: fields.u64()? };
        let end = slot.first.checked_add(slot.pages).ok_or(Malformed::Pages)?;
        if slot.pages == 0 || slot.first < free || end > 1 << 51 {
            return Err(Malformed::Pages);
        }
        free = end;
        slots.push(slot);
    }
    Ok(slots)
}

/// What a destination holds when a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// 0: nothing, or nothing that it would tell. All pages are zero for deltas.
    Empty,
    /// 1: something; `Fingerprints` for all blocks follow.
    Fingerprints,
}

pub(super) fn put_opened(out: &mut Vec<u8>, held: Held, blocks: u64) {
    out.push(match held {
        Held::Empty => 0,
        Held::Fingerprints => 1,
    });
    out.extend_from_slice(&blocks.to_le_bytes());
}

pub(super) fn read_opened(fields: &mut Fields<'_>) -> Result<(Held, u64), Malformed> {
    let held = match fields.u8()? {
        0 => Held::Empty,
        1 => Held::Fingerprints,
        value => return Err(Malformed::Choice { field: "what the destination holds", value: value.into() }),
    };
    Ok((held, fields.u64()?))
}

pub(super) fn put_fingerprints(out: &mut Vec<u8>, first: u64, blocks: &[Option<Fingerprint>]) {
    out.extend_from_slice(&first.to_le_bytes());
    put_u32(out, blocks.len());
    put_bits(out, blocks.iter().map(Option::is_none));
    blocks.iter().flatten().for_each(|fingerprint| out.extend_from_slice(&fingerprint.0.to_le_bytes()));
}

pub(super) fn read_fingerprints(fields: &mut Fields<'_>) -> Result<(u64, Vec<Option<Fingerprint>>), Malformed> {
    let (first, count) = read_chunk(fields)?;
    let zeros = fields.bits(count)?;
    let blocks =
        zeros.into_iter().map(|zero| if zero { Ok(None) } else { fields.u128().map(|number| Some(Fingerprint(number))) });
    Ok((first, blocks.collect::<Result<_, _>>()?))
}

/// First block and number of blocks of a part of a list.
fn read_chunk(fields: &mut Fields<'_>) -> Result<(u64, usize), Malformed> {
    let first = fields.u64()?;
    let count = fields.count("the list of blocks", 1, MAX_CHUNK_BLOCKS)?;
    if first.checked_add(count as u64).is_none_or(|end| end > 1 << 51) { Err(Malformed::Pages) } else { Ok((first, count)) }
}
