//! What several tools need of whole traces.

use pagesieve_core::{Blocks, MemSlot, PageBitmap};
use pagesieve_traces::{End, Happening, Note};

/// The version that is written into the headers of traces that are made here.
pub(crate) const TOOL: &str = env!("CARGO_PKG_VERSION");

/// Why an input gave fewer frames than were recorded, in words; `None` if it is complete.
#[must_use]
pub fn is_cut_off(end: Option<&End>) -> Option<String> {
    match end {
        None | Some(End::Complete) => None,
        Some(End::Cut { frames, .. }) => Some(format!("it was cut, and is read up to its last whole frame, number {frames}")),
        Some(End::Damaged { frames, at_byte, damage }) => {
            Some(format!("it is damaged at byte {at_byte} ({damage}), and is read up to frame {frames}"))
        }
    }
}

/// Every page of the slots, or how far they reach if that is more than the tables of a replay hold.
pub(crate) fn all_pages(slots: &[MemSlot]) -> Result<PageBitmap, u64> {
    let end = slots.iter().map(|slot| slot.end().0).max().unwrap_or(0);
    if end > Blocks::MAX_FRAMES {
        return Err(end);
    }
    let mut all = PageBitmap::new(end);
    slots.iter().for_each(|slot| all.insert_range(slot.base.0..slot.end().0));
    Ok(all)
}

/// Puts a message among notes, in the order of their times.
pub(crate) fn add_message(notes: &mut Vec<Note>, time: pagesieve_core::Nanos, text: String) {
    let at = notes.partition_point(|note| note.time < time);
    notes.insert(at, Note { time, what: Happening::Message(text) });
}

/// Seconds for people, such as `12.5 s`.
pub(crate) fn seconds(nanos: u64) -> String {
    format!("{} s", nanos as f64 / 1e9)
}
