//! What both ends of a migration compute of a guest's memory.

use std::ops::Range;

use pagesieve_core::block::bytes_of;

use crate::wire::MAX_BLOCK_PAGES;

/// BLAKE3 of these ranges of frames, one after the other.
pub(crate) fn digest<E>(
    slots: impl IntoIterator<Item = Range<u64>>,
    mut read: impl FnMut(Range<u64>, &mut [u8]) -> Result<(), E>,
) -> Result<[u8; 32], E> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    for slot in slots {
        for first in slot.clone().step_by(MAX_BLOCK_PAGES as usize) {
            let pages = first..slot.end.min(first + u64::from(MAX_BLOCK_PAGES));
            bytes.resize(bytes_of(&pages) as usize, 0);
            read(pages, &mut bytes)?;
            hasher.update(&bytes);
        }
    }
    Ok(*hasher.finalize().as_bytes())
}
