//! The parts that are small and rare: the header, and what a frame says beside its sets and columns. They go through serde and
//! bincode; `FORMAT.md` writes the resulting bytes down, so that a reader needs neither.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use pagesieve_core::{MemSlot, MemSlots, Nanos};
use serde::{Deserialize, Serialize};

use super::Budget;
use crate::error::Damage;
use crate::model::{Closing, Frame, Header, Lost, Note, UnknownReason};
use crate::varint::{self, Cursor};

/// Most bytes of a header, or of the notes and slots of one frame.
pub(crate) const MAX_META: usize = 4 << 20;
/// Most memory slots. KVM has at most 32764; the table is checked pair by pair.
const MAX_SLOTS: usize = 16 << 10;

/// bincode counts each number at its full width against the limit, up to 8 times the bytes that are there.
const CLAIMS: usize = 8 * MAX_META;

fn bincode_config() -> Configuration<LittleEndian, Varint, Limit<CLAIMS>> {
    config::standard().with_little_endian().with_variable_int_encoding().with_limit::<CLAIMS>()
}

#[derive(Serialize)]
struct MetaRef<'a> {
    scan_start: Nanos,
    end: Nanos,
    closing: Closing,
    slots: &'a Option<Vec<MemSlot>>,
    lost: &'a Lost,
    unknown: Vec<UnknownReason>,
    notes: &'a [Note],
}

/// What [`MetaRef`] wrote.
#[derive(Deserialize)]
pub(super) struct Meta {
    pub(super) scan_start: Nanos,
    pub(super) end: Nanos,
    pub(super) closing: Closing,
    pub(super) slots: Option<Vec<MemSlot>>,
    pub(super) lost: Lost,
    pub(super) unknown: Vec<UnknownReason>,
    pub(super) notes: Vec<Note>,
}

/// The bytes of a header.
pub(crate) fn encode_header(header: &Header) -> Result<Vec<u8>, &'static str> {
    slot_table(&header.slots).map_err(|_| SLOTS)?;
    encode_limited(header)
}

/// The header in these bytes. `more` allows unknown bytes at the end, as a later minor version may append them.
pub(crate) fn decode_header(bytes: &[u8], more: bool) -> Result<Header, Damage> {
    let header: Header = decode_limited(bytes, more)?;
    slot_table(&header.slots)?;
    Ok(header)
}

/// The slots as a checked table.
pub(crate) fn slot_table(slots: &[MemSlot]) -> Result<MemSlots, Damage> {
    if slots.len() > MAX_SLOTS {
        return Err(Damage::Malformed("there are too many memory slots"));
    }
    MemSlots::from_slots(slots.iter().copied()).map_err(Damage::Slots)
}

const SLOTS: &str = "the memory slots overlap, are empty or are too many";

pub(super) fn encode(frame: &Frame, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if let Some(slots) = &frame.slots {
        slot_table(slots).map_err(|_| SLOTS)?;
    }
    let unknown: Vec<_> = frame.log.unknown.iter().map(|set| set.reason).collect();
    if has_twice(&unknown) {
        return Err("its dirty log names a reason twice");
    }
    let meta = encode_limited(&MetaRef {
        scan_start: frame.scan_start,
        end: frame.end,
        closing: frame.closing,
        slots: &frame.slots,
        lost: &frame.lost,
        unknown,
        notes: &frame.notes,
    })?;
    varint::put(out, meta.len() as u64);
    out.extend(meta);
    Ok(())
}

pub(super) fn decode(cursor: &mut Cursor<'_>, more: bool, budget: &mut Budget) -> Result<Meta, Damage> {
    let length = cursor.number()?;
    let bytes = cursor.bytes(length)?;
    // A note takes at least 2 bytes here and 40 in memory; nothing else grows more.
    budget.take(length.saturating_mul(24))?;
    let meta: Meta = decode_limited(bytes, more)?;
    if let Some(slots) = &meta.slots {
        slot_table(slots)?;
    }
    if has_twice(&meta.unknown) {
        return Err(Damage::Malformed("its dirty log names a reason twice"));
    }
    Ok(meta)
}

fn has_twice(reasons: &[UnknownReason]) -> bool {
    reasons.iter().enumerate().any(|(at, reason)| reasons[..at].contains(reason))
}

fn encode_limited(value: &impl Serialize) -> Result<Vec<u8>, &'static str> {
    let bytes = bincode::serde::encode_to_vec(value, bincode_config()).map_err(|_| "it cannot be encoded")?;
    if bytes.len() > MAX_META { Err("its texts, notes and slots take more than 4 MiB") } else { Ok(bytes) }
}

fn decode_limited<T: serde::de::DeserializeOwned>(bytes: &[u8], more: bool) -> Result<T, Damage> {
    if bytes.len() > MAX_META {
        return Err(Damage::Malformed("its texts, notes and slots take more than 4 MiB"));
    }
    let (value, used) = bincode::serde::decode_from_slice(bytes, bincode_config())
        .map_err(|_| Damage::Malformed("its texts, notes and slots do not follow the format"))?;
    if used < bytes.len() && !more {
        return Err(Damage::Malformed("bytes follow its texts, notes and slots"));
    }
    Ok(value)
}
