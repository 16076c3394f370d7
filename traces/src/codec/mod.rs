//! One frame to and from its payload. The order of the parts is that of `FORMAT.md`, section "The payload of a frame".

mod bitmap;
mod events;
mod meta;
mod summaries;
mod written;

pub(crate) use meta::{MAX_META, decode_header, encode_header, slot_table};

use pagesieve_core::{Epoch, Nanos};

use crate::error::Damage;
use crate::model::{DirtyLog, Frame, UnknownPages};
use crate::varint::{self, Cursor};

/// Most bytes of one payload before compression. A writer refuses more, so a reader may, too.
pub(crate) const MAX_RAW: u32 = 256 << 20;

/// How much of this machine one frame may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory for one decoded frame, its payload included. A bitmap takes a bit per guest frame, an event or summary
    /// 24 bytes. The default of 1 GiB suffices for guests of 2 TiB and for 20 million events an epoch.
    pub frame_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_memory: 1 << 30 }
    }
}

/// Memory still allowed for a frame; asked before each allocation whose size the file names.
pub(crate) struct Budget {
    left: u64,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { left: limits.frame_memory, limit: limits.frame_memory }
    }

    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), Damage> {
        self.left = self.left.checked_sub(bytes).ok_or(Damage::Memory { limit: self.limit })?;
        Ok(())
    }
}

/// Appends the payload of a frame.
///
/// # Errors
/// The rule of the format that the frame breaks.
pub(crate) fn encode_frame(frame: &Frame, out: &mut Vec<u8>) -> Result<(), &'static str> {
    meta::encode(frame, out)?;
    events::encode(frame.start, &frame.events, out)?;
    written::encode(&frame.log.written, &frame.events, out);
    bitmap::encode(&frame.log.discarded, out);
    for set in &frame.log.unknown {
        bitmap::encode(&set.pages, out);
    }
    bitmap::encode(&frame.populated, out);
    bitmap::encode(&frame.huge, out);
    match &frame.summaries {
        None => varint::put(out, 0),
        Some(summaries) => {
            varint::put(out, 1);
            summaries::encode(summaries, out)?;
        }
    }
    Ok(())
}

/// The frame in a payload. `more` allows unknown bytes at the end, as a later minor version may append them.
pub(crate) fn decode_frame(epoch: Epoch, start: Nanos, payload: &[u8], more: bool, budget: &mut Budget) -> Result<Frame, Damage> {
    let mut cursor = Cursor::new(payload);
    let meta = meta::decode(&mut cursor, more, budget)?;
    let events = events::decode(start, &mut cursor, budget)?;
    let written = written::decode(&events, &mut cursor, budget)?;
    let discarded = bitmap::decode(&mut cursor, budget)?;
    let mut unknown = Vec::new();
    for reason in meta.unknown {
        unknown.push(UnknownPages { reason, pages: bitmap::decode(&mut cursor, budget)? });
    }
    let populated = bitmap::decode(&mut cursor, budget)?;
    let huge = bitmap::decode(&mut cursor, budget)?;
    let summaries = match cursor.number()? {
        0 => None,
        1 => Some(summaries::decode(&mut cursor, budget)?),
        _ => return Err(Damage::Malformed("it neither has nor lacks summaries")),
    };
    if cursor.left() > 0 && !more {
        return Err(Damage::Malformed("bytes follow its last part"));
    }
    Ok(Frame {
        epoch,
        start,
        scan_start: meta.scan_start,
        end: meta.end,
        closing: meta.closing,
        slots: meta.slots,
        events,
        log: DirtyLog { written, discarded, unknown },
        populated,
        huge,
        lost: meta.lost,
        summaries,
        notes: meta.notes,
    })
}
