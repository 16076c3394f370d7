//! Page content: what changed, byte for byte, and the summaries that a trace keeps of it.
//!
//! A copy of all tracked memory is held for comparison, so a change is found by comparing bytes and not by trusting a hash. It
//! costs as much memory as the target has populated. The trace itself gets no bytes: only a number for each distinct content.

use std::collections::HashMap;
use std::io::{self, Read};
use std::ops::Range;

use pagesieve_core::delta::xbzrle;
use pagesieve_core::{Gfn, MemSlot, PAGE_SIZE, PageBitmap};
use pagesieve_traces::{ContentId, PageSummary};

use crate::process;

const PAGE: usize = PAGE_SIZE as usize;
/// Bytes read from the target at once.
const CHUNK: usize = 4 << 20;
/// Distinct contents remembered: 24 bytes each. Beyond it, a content that comes back counts as new.
const MOST_CONTENTS: usize = 16 << 20;
const ZSTD_LEVEL: i32 = 3;
/// Pages summarised between two calls of the caller's own work.
const BATCH: usize = 256;

/// The last seen content of all tracked memory.
pub(crate) struct Content {
    /// A copy of each slot. Untouched parts take no memory.
    copies: HashMap<MemSlot, Vec<u8>>,
    /// Pages whose copy is not all zeros.
    nonzero: PageBitmap,
    /// Pages that differ from the copy, with their new bytes; kept apart until they are summarised.
    changed: Vec<Gfn>,
    bytes: Vec<u8>,
    numbers: HashMap<u128, ContentId>,
    next: u32,
    secret: [u8; 192],
    compressor: zstd::bulk::Compressor<'static>,
    scratch: Vec<u8>,
    first: bool,
}

impl Content {
    /// Draws a key for the fingerprints, so that nobody can prepare two pages that collide.
    pub(crate) fn new() -> io::Result<Self> {
        let mut secret = [0; 192];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
        Ok(Self {
            copies: HashMap::new(),
            nonzero: PageBitmap::default(),
            changed: Vec::new(),
            bytes: Vec::new(),
            numbers: HashMap::new(),
            next: 1,
            secret,
            compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
            scratch: Vec::new(),
            first: true,
        })
    }

    /// Compares all memory with the copy and keeps what differs. The target must be stopped.
    ///
    /// `populated` are the pages that hold data; all others read as zeros and are not touched.
    pub(crate) fn snapshot(&mut self, pid: u32, slots: &[MemSlot], populated: &PageBitmap) -> PageBitmap {
        self.copies.retain(|slot, _| slots.contains(slot));
        let mut differs = self.became_holes(slots, populated);
        let mut buffer = vec![0; CHUNK];
        for slot in slots {
            // Frames of a guest can come back with other memory behind them: what they held last is known, their copy is not.
            let new = !self.copies.contains_key(slot);
            let copy = self.copies.entry(*slot).or_insert_with(|| vec![0; slot.pages as usize * PAGE]);
            for chunk in populated.ranges().flat_map(|range| chunks(cut(range, slot))) {
                let buffer = &mut buffer[..(chunk.end - chunk.start) as usize * PAGE];
                read_pages(pid, slot, chunk.start, buffer);
                for (gfn, page) in chunk.map(Gfn).zip(buffer.chunks_exact(PAGE)) {
                    let same = page == page_of(copy, slot, gfn);
                    if !same {
                        differs.insert(gfn);
                    }
                    if !same || self.first || (new && self.nonzero.contains(gfn)) {
                        self.changed.push(gfn);
                        self.bytes.extend_from_slice(page);
                    }
                }
            }
        }
        self.first = false;
        differs
    }

    /// Pages that held data and no longer do: they read as zeros now.
    fn became_holes(&mut self, slots: &[MemSlot], populated: &PageBitmap) -> PageBitmap {
        let mut gone = PageBitmap::new(populated.end());
        for slot in slots {
            gone.insert_range(slot.base.0..slot.end().0);
        }
        gone.intersect_with(&self.nonzero);
        gone.subtract(populated);
        self.changed.extend(gone.iter());
        self.bytes.resize(self.changed.len() * PAGE, 0);
        gone
    }

    /// Summarises what the last snapshot found and makes it the copy. The target may run; `meanwhile` is called now and then.
    pub(crate) fn summarise(&mut self, slots: &[MemSlot], mut meanwhile: impl FnMut()) -> Vec<PageSummary> {
        let changed = std::mem::take(&mut self.changed);
        let bytes = std::mem::take(&mut self.bytes);
        let mut summaries = Vec::with_capacity(changed.len());
        for (index, (gfn, page)) in changed.into_iter().zip(bytes.chunks_exact(PAGE)).enumerate() {
            if index % BATCH == BATCH - 1 {
                meanwhile();
            }
            let Some(slot) = slots.iter().find(|slot| slot.base <= gfn && gfn < slot.end()) else { continue };
            let Some(mut copy) = self.copies.remove(slot) else { continue };
            summaries.push(self.summary(gfn, page, page_of(&copy, slot, gfn)));
            self.nonzero.grow(slot.end().0);
            if summaries.last().is_some_and(|summary: &PageSummary| summary.content == ContentId(0)) {
                self.nonzero.remove(gfn);
            } else {
                self.nonzero.insert(gfn);
            }
            let offset = (gfn.0 - slot.base.0) as usize * PAGE;
            copy[offset..offset + PAGE].copy_from_slice(page);
            self.copies.insert(*slot, copy);
        }
        summaries.sort_unstable_by_key(|summary| summary.gfn);
        summaries
    }

    fn summary(&mut self, gfn: Gfn, page: &[u8], old: &[u8]) -> PageSummary {
        if is_zero(page) {
            return PageSummary { gfn, content: ContentId(0), compressed: 0, delta: None };
        }
        let content = self.number(page);
        self.scratch.resize(zstd::zstd_safe::compress_bound(PAGE), 0);
        let compressed = self.compressor.compress_to_buffer(page, &mut self.scratch[..]).unwrap_or(PAGE).min(PAGE) as u16;
        let delta = xbzrle::encoded_len(old, page, PAGE - 1).map(|length| length as u16);
        PageSummary { gfn, content, compressed, delta }
    }

    fn number(&mut self, page: &[u8]) -> ContentId {
        let fingerprint = xxhash_rust::xxh3::xxh3_128_with_secret(page, &self.secret);
        let fresh = ContentId(self.next);
        let content = if self.numbers.len() < MOST_CONTENTS {
            *self.numbers.entry(fingerprint).or_insert(fresh)
        } else {
            self.numbers.get(&fingerprint).copied().unwrap_or(fresh)
        };
        if content == fresh {
            self.next += 1;
        }
        content
    }
}

fn page_of<'a>(copy: &'a [u8], slot: &MemSlot, gfn: Gfn) -> &'a [u8] {
    let offset = (gfn.0 - slot.base.0) as usize * PAGE;
    &copy[offset..offset + PAGE]
}

fn chunks(pages: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    const STEP: u64 = (CHUNK / PAGE) as u64;
    (pages.start..pages.end).step_by(STEP as usize).map(move |start| start..(start + STEP).min(pages.end))
}

fn cut(range: Range<u64>, slot: &MemSlot) -> Range<u64> {
    let start = range.start.clamp(slot.base.0, slot.end().0);
    start..range.end.clamp(start, slot.end().0)
}

/// Reads pages; one that cannot be read (its mapping is gone, or lies beyond the end of the file) reads as zeros.
fn read_pages(pid: u32, slot: &MemSlot, start: u64, into: &mut [u8]) {
    if process::read_memory(pid, slot.hva_of(Gfn(start)).0, into).is_ok() {
        return;
    }
    for (gfn, page) in (start..).map(Gfn).zip(into.chunks_exact_mut(PAGE)) {
        if process::read_memory(pid, slot.hva_of(gfn).0, page).is_err() {
            page.fill(0);
        }
    }
}

fn is_zero(page: &[u8]) -> bool {
    // Fixed steps without a branch inside: the compiler makes vector code of it.
    page.chunks(256).all(|chunk| chunk.iter().fold(0, |any, &byte| any | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pagesieve_core::{Backing, Hva};

    #[test]
    fn changes_are_found_byte_for_byte_and_contents_are_numbered() {
        let mut memory = crate::testing::Memory::anonymous(8);
        let slot =
            MemSlot { base: Gfn(100), pages: 8, hva: Hva(memory.range().start), backing: Backing::Anonymous, numa_node: None };
        let pid = std::process::id();
        let mut populated = PageBitmap::new(108);
        populated.insert_range(100..104);
        for page in 0..4 {
            memory.page_mut(page)[7] = page as u8 / 2;
        }
        let mut content = Content::new().unwrap();
        content.snapshot(pid, &[slot], &populated);
        let numbers =
            |summaries: &[PageSummary]| summaries.iter().map(|summary| (summary.gfn.0, summary.content.0)).collect::<Vec<_>>();
        let first = content.summarise(&[slot], || ());
        assert_eq!(numbers(&first), [(100, 0), (101, 0), (102, 1), (103, 1)], "equal bytes get equal numbers, zeros get 0");

        memory.page_mut(3)[4095] = 9;
        memory.page_mut(0)[7] = 1;
        populated.remove(Gfn(102));
        let differs = content.snapshot(pid, &[slot], &populated);
        assert_eq!(differs.iter().map(|gfn| gfn.0).collect::<Vec<_>>(), [100, 102, 103]);
        let second = content.summarise(&[slot], || ());
        assert_eq!(numbers(&second), [(100, 1), (102, 0), (103, 2)], "a page that became a hole reads as zeros");
        assert!(second[2].delta.is_some_and(|bytes| bytes < 10), "one changed byte makes a small delta");
        content.snapshot(pid, &[slot], &populated);
        assert!(content.summarise(&[slot], || ()).is_empty());
    }
}
