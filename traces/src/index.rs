//! The index behind the last frame, for seeks by time, and the trailer that leads to it.

use pagesieve_core::{Epoch, Nanos};

use crate::chunk::{CHANGES_SLOTS, Head};
use crate::codec::Budget;
use crate::error::Damage;
use crate::varint::{self, Cursor};

/// Bytes of the trailer: where the index begins, checksum, mark.
pub(crate) const TRAILER: usize = 16;
const END_MARK: [u8; 4] = *b"PSte";

/// Where a frame is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Byte at which its chunk begins.
    pub offset: u64,
    /// Its epoch.
    pub epoch: Epoch,
    /// When its interval began.
    pub start: Nanos,
    /// True if it carries a new table of memory slots.
    pub changes_slots: bool,
}

/// All frames of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The frames in the order of the file, which is that of time.
    pub entries: Vec<IndexEntry>,
    /// True if the file was finished and the index read from it; false if the file was cut and the frames were found one by one.
    pub stored: bool,
}

impl Index {
    /// Position in [`Index::entries`] of the frame that a time falls into: the last one that begins no later, or the first
    /// one if the time lies before all. `None` if there is no frame.
    #[must_use]
    pub fn position(&self, time: Nanos) -> Option<usize> {
        let after = self.entries.partition_point(|entry| entry.start <= time);
        (!self.entries.is_empty()).then(|| after.saturating_sub(1))
    }

    /// The entries as the payload of an index chunk.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        varint::put(out, self.entries.len() as u64);
        let mut before = IndexEntry { offset: 0, epoch: Epoch(0), start: Nanos(0), changes_slots: false };
        for entry in &self.entries {
            varint::put(out, entry.offset - before.offset);
            varint::put(out, u64::from(entry.epoch.0 - before.epoch.0));
            varint::put(out, entry.start.0 - before.start.0);
            out.push(u8::from(entry.changes_slots));
            before = *entry;
        }
    }

    pub(crate) fn decode(payload: &[u8], more: bool, budget: &mut Budget) -> Result<Self, Damage> {
        const LEAST: usize = 4;
        let mut cursor = Cursor::new(payload);
        let count = cursor.count(LEAST)?;
        budget.take(count as u64 * size_of::<IndexEntry>() as u64)?;
        let mut entries = Vec::with_capacity(count);
        let (mut offset, mut epoch, mut start) = (0u64, 0u64, 0u64);
        let wrong = Damage::Malformed("a number in the index is too large");
        for _ in 0..count {
            offset = offset.checked_add(cursor.number()?).ok_or(wrong.clone())?;
            epoch = epoch.checked_add(cursor.number()?).ok_or(wrong.clone())?;
            start = start.checked_add(cursor.number()?).ok_or(wrong.clone())?;
            entries.push(IndexEntry {
                offset,
                epoch: Epoch(u32::try_from(epoch).map_err(|_| wrong.clone())?),
                start: Nanos(start),
                changes_slots: cursor.byte()? & CHANGES_SLOTS != 0,
            });
        }
        if cursor.left() > 0 && !more {
            return Err(Damage::Malformed("bytes follow the last entry of the index"));
        }
        Ok(Self { entries, stored: true })
    }
}

impl IndexEntry {
    pub(crate) fn of(head: &Head, offset: u64) -> Self {
        Self { offset, epoch: Epoch(head.epoch), start: Nanos(head.start), changes_slots: head.flags & CHANGES_SLOTS != 0 }
    }
}

/// The last bytes of a finished file.
pub(crate) fn encode_trailer(index_at: u64) -> [u8; TRAILER] {
    let mut bytes = [0; TRAILER];
    bytes[..8].copy_from_slice(&index_at.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..8]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes[12..].copy_from_slice(&END_MARK);
    bytes
}

/// Where the index begins; `None` if these are not the last bytes of a finished file.
pub(crate) fn decode_trailer(bytes: &[u8; TRAILER]) -> Option<u64> {
    let mut at = [0; 8];
    at.copy_from_slice(&bytes[..8]);
    let at = u64::from_le_bytes(at);
    (encode_trailer(at) == *bytes).then_some(at)
}
