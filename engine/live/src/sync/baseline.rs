//! Fingerprints of what the destination holds.

use std::fs::File;
use std::io;
use std::ops::Range;

use pagesieve_core::block::{Blocks, bytes_of};
use pagesieve_core::{BlockSummary, Fingerprint, PAGE_SIZE, PageBitmap, delta};

use super::extent;

/// Summaries of all blocks, of which the file holds the first `len` bytes; what lies beyond counts as zero. Several threads share the
/// work.
pub(super) fn summaries(file: &File, len: u64, blocks: &Blocks, workers: usize) -> io::Result<Vec<BlockSummary>> {
    let populated = extent::populated(file, len);
    let count = blocks.count() as usize;
    let share = count.div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        let part = |first: usize| {
            let populated = populated.as_ref();
            scope.spawn(move || some(file, len, blocks, first..count.min(first + share), populated))
        };
        let parts: Vec<_> = (0..count).step_by(share).map(part).collect();
        let mut all = Vec::with_capacity(count);
        for part in parts {
            // A thread that panicked has found a fault of ours; go on panicking.
            all.extend(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}

fn some(
    file: &File,
    len: u64,
    blocks: &Blocks,
    which: Range<usize>,
    populated: Option<&PageBitmap>,
) -> io::Result<Vec<BlockSummary>> {
    let mut bytes = Vec::new();
    // The fingerprint of zeros, by length: there are two at most.
    let mut zeros: Option<(usize, Fingerprint)> = None;
    which
        .map(|index| {
            let pages = blocks.pages(blocks.id(index as u32));
            let raw_len = bytes_of(&pages);
            bytes.resize(raw_len as usize, 0);
            let hole = populated.is_some_and(|populated| !populated.meets_range(pages.clone()));
            if !hole {
                extent::read_padded(file, pages.start * PAGE_SIZE, len, &mut bytes)?;
            }
            let zero = hole || delta::is_zero(&bytes);
            let fingerprint = match zeros {
                Some((length, known)) if zero && length == bytes.len() => known,
                _ if zero => {
                    bytes.fill(0);
                    let made = delta::fingerprint(&bytes);
                    zeros = Some((bytes.len(), made));
                    made
                }
                _ => delta::fingerprint(&bytes),
            };
            Ok(BlockSummary { zero, fingerprint: Some(fingerprint), raw_len, wire_len: raw_len })
        })
        .collect()
}
