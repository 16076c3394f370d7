//! What becomes of the runs that the encoder finds: bytes, or only their number.

use alloc::vec::Vec;
use core::ops::Range;

use super::mask::{CHUNK, take_edge};

/// Bytes of a changed run that are copied with one load and one store, more than most runs have.
const COPY: usize = 16;
/// No short pair begins this far behind the first one of its chunk: at most 32 runs begin in 64 bytes, and with every other byte
/// equal they take 96 bytes.
const BEGINS: usize = 128;
/// Room for the short pairs of one chunk; the last copy may reach beyond what is needed.
const WINDOW: usize = BEGINS + 2 + COPY;
/// How much the output grows at least when it is full.
const GROWTH: usize = 256;

/// What becomes of the runs. `None` ends the walk: the limit is exceeded.
pub(super) trait Sink {
    /// A pair: `equal` bytes, then the changed run `from..to`.
    fn pair(&mut self, equal: usize, from: usize, to: usize) -> Option<()>;
    /// All pairs in the chunk at `base`. `edges` has a bit for the start and the end of each run; no length reaches 128.
    /// `behind` is the end of the run before; gives the end of the last one.
    fn short_pairs(&mut self, base: usize, edges: u64, behind: usize) -> Option<usize>;
    /// A changed run has reached `length` bytes and goes on.
    fn grows(&self, length: usize) -> Option<()>;
}

/// Writes pairs. `out` is longer than what is written so far, so that a short pair needs no check for each byte.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    new: &'a [u8],
    /// From where the delta begins to where the limit lies.
    within: Range<usize>,
    /// Where the next pair goes.
    at: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, new: &'a [u8], limit: usize) -> Self {
        let at = out.len();
        Self { new, within: at..at.saturating_add(limit), at, out }
    }

    /// Length of the delta so far.
    pub(super) fn written(&self) -> usize {
        self.at - self.within.start
    }
}

impl Sink for Writer<'_> {
    #[inline(always)]
    fn pair(&mut self, equal: usize, from: usize, to: usize) -> Option<()> {
        self.at += write_pair(self.out, self.at, &self.within, equal, &self.new[from..to])?;
        Some(())
    }

    #[inline(always)]
    fn short_pairs(&mut self, base: usize, mut edges: u64, behind: usize) -> Option<usize> {
        let padded;
        let bytes: &[u8; CHUNK + COPY] = match self.new[base..].first_chunk() {
            Some(bytes) => bytes,
            None => {
                padded = pad(&self.new[base..]);
                &padded
            }
        };
        if self.out.len() < self.at + WINDOW {
            grow(self.out, self.at, WINDOW, &self.within);
        }
        let window: &mut [u8; WINDOW] = self.out[self.at..].first_chunk_mut()?;
        let mut at = 0;
        // Relative to the chunk, so below zero for the first pair.
        let mut behind = behind.wrapping_sub(base);
        while edges != 0 {
            let from = take_edge(&mut edges);
            let to = take_edge(&mut edges);
            let (equal, changed) = (from.wrapping_sub(behind), to - from);
            behind = to;
            // The remainders change nothing: they show the compiler that no bound is exceeded.
            let place: &mut [u8; 2 + COPY] = window[at % BEGINS..].first_chunk_mut()?;
            place[0] = equal as u8;
            place[1] = changed as u8;
            place[2..].copy_from_slice(bytes[from % CHUNK..].first_chunk::<COPY>()?);
            if changed > COPY {
                window[at + 2..at + 2 + changed].copy_from_slice(&bytes[from..to]);
            }
            at += 2 + changed;
        }
        self.at += at;
        (self.at <= self.within.end).then_some(base.wrapping_add(behind))
    }

    #[inline(always)]
    fn grows(&self, length: usize) -> Option<()> {
        (length + 2 <= self.within.end - self.at).then_some(())
    }
}

/// The last bytes of a page with zeros behind them.
#[cold]
fn pad(rest: &[u8]) -> [u8; CHUNK + COPY] {
    let mut padded = [0; CHUNK + COPY];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// Writes a pair of any length at `at`; gives its length.
///
/// No method of [`Writer`], whose fields would then have to live in memory instead of registers.
#[inline(never)]
fn write_pair(out: &mut Vec<u8>, at: usize, within: &Range<usize>, equal: usize, changed: &[u8]) -> Option<usize> {
    let length = pair_len(equal, changed.len());
    if length > within.end - at {
        return None;
    }
    if out.len() < at + length {
        grow(out, at, length, within);
    }
    let bytes = put_length(out, at, equal);
    let bytes = put_length(out, bytes, changed.len());
    out[bytes..bytes + changed.len()].copy_from_slice(changed);
    Some(length)
}

/// Makes `out` at least `length` bytes longer than `at`, and some more: at most as much again as the delta has already, since
/// what is made longer is also zeroed, and not much beyond the limit.
#[cold]
#[inline(never)]
fn grow(out: &mut Vec<u8>, at: usize, length: usize, within: &Range<usize>) {
    let more = GROWTH.max(at - within.start);
    let wanted = (at + length).saturating_add(more).min(within.end.saturating_add(WINDOW)).max(at + length);
    out.resize(wanted, 0);
}

/// Writes a length in ULEB128 at `at`, and gives where it ends.
#[inline(always)]
fn put_length(out: &mut [u8], mut at: usize, mut length: usize) -> usize {
    while length >= 0x80 {
        out[at] = length as u8 | 0x80;
        at += 1;
        length >>= 7;
    }
    out[at] = length as u8;
    at + 1
}

/// Counts the bytes that [`Writer`] would write.
pub(super) struct Counter {
    total: usize,
    limit: usize,
}

impl Counter {
    pub(super) fn new(limit: usize) -> Self {
        Self { total: 0, limit }
    }

    /// Length of the delta so far.
    pub(super) fn written(&self) -> usize {
        self.total
    }
}

impl Sink for Counter {
    #[inline(always)]
    fn pair(&mut self, equal: usize, from: usize, to: usize) -> Option<()> {
        self.total += pair_len(equal, to - from);
        (self.total <= self.limit).then_some(())
    }

    #[inline(always)]
    fn short_pairs(&mut self, base: usize, mut edges: u64, mut behind: usize) -> Option<usize> {
        while edges != 0 {
            let from = take_edge(&mut edges);
            let to = take_edge(&mut edges);
            self.total += 2 + to - from;
            behind = base + to;
        }
        (self.total <= self.limit).then_some(behind)
    }

    #[inline(always)]
    fn grows(&self, length: usize) -> Option<()> {
        (length + 2 <= self.limit - self.total).then_some(())
    }
}

/// Bytes of a pair on the wire.
#[inline(always)]
fn pair_len(equal: usize, changed: usize) -> usize {
    length_len(equal) + length_len(changed) + changed
}

/// Bytes of a length in ULEB128, for lengths of 32 bits.
#[inline(always)]
fn length_len(length: usize) -> usize {
    1 + [7, 14, 21, 28].into_iter().filter(|bits| length >> bits != 0).count()
}
