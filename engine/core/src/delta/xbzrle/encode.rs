//! From two versions to a delta.
//!
//! Steps of several sizes. Leaps of 1024 bytes and then stretches of 256 are compared as slices, which ends up in the platform's
//! `memcmp`: an unchanged page costs no more than that. A stretch that differs is cut into chunks of 64 bytes, each turned into a
//! mask with a bit for every byte that differs. In the mask only the edges of runs are visited, so the cost is by runs and not
//! by bytes.

use alloc::vec::Vec;

use super::mask::{CHUNK, differing, differing_tail, take_edge};
use super::write::{Counter, Sink, Writer};

/// Bytes compared at once while nothing differs: long enough that the calls of `memcmp` cost little.
const LEAP: usize = 1024;
/// Bytes compared at once within a leap that differs, so that a lone change does not cost masks for all of it.
const STRETCH: usize = 256;
/// Lengths below this take one byte.
const ONE_BYTE: usize = 0x80;

/// Appends the delta that turns `old` into `new` to `out`, and returns its length in bytes.
///
/// `None` if the delta would be longer than `limit` bytes (it does not pay), if the two lengths differ, or if they exceed
/// 32 bits; `out` then holds what it held before. The capacity of `out` may grow beyond what the delta needs.
pub fn encode(old: &[u8], new: &[u8], out: &mut Vec<u8>, limit: usize) -> Option<usize> {
    let start = out.len();
    let mut writer = Writer::new(out, new, limit);
    let done = walk(old, new, &mut writer);
    let length = writer.written();
    out.truncate(start + done.map_or(0, |()| length));
    done.map(|()| length)
}

/// The length in bytes that [`encode`] would give, without writing anything; `None` on the same terms.
#[must_use]
pub fn encoded_len(old: &[u8], new: &[u8], limit: usize) -> Option<usize> {
    let mut counter = Counter::new(limit);
    walk(old, new, &mut counter)?;
    Some(counter.written())
}

/// Gives each pair of runs to the sink. `None` if the sink stops it or the lengths do not fit.
fn walk(old: &[u8], new: &[u8], sink: &mut impl Sink) -> Option<()> {
    if old.len() != new.len() || u32::try_from(new.len()).is_err() {
        return None;
    }
    let mut runs = Runs { sink, behind: 0, open: None };
    let mut at = 0;
    // Changes come in groups: after a stretch that differs the next one is not worth a comparison of its own.
    let mut busy = false;
    for (old, new) in old.chunks(LEAP).zip(new.chunks(LEAP)) {
        if !busy && old == new {
            runs.close(at)?;
            at += new.len();
            continue;
        }
        for (old, new) in old.chunks(STRETCH).zip(new.chunks(STRETCH)) {
            if !busy && old == new {
                runs.close(at)?;
            } else {
                busy = runs.stretch(at, old, new)?;
            }
            at += new.len();
        }
    }
    runs.close(at)
}

/// The runs of a page, put together across chunks.
struct Runs<'a, S> {
    sink: &'a mut S,
    /// End of the last changed run that was given to the sink.
    behind: usize,
    /// Start of a changed run whose end was not seen yet.
    open: Option<usize>,
}

impl<S: Sink> Runs<'_, S> {
    /// Takes the bytes of two slices that lie at `at` in the page. True if they differ.
    #[inline(always)]
    fn stretch(&mut self, at: usize, old: &[u8], new: &[u8]) -> Option<bool> {
        let (old_chunks, old_tail) = old.as_chunks::<CHUNK>();
        let (new_chunks, new_tail) = new.as_chunks::<CHUNK>();
        let mut any = 0;
        for (index, (old, new)) in old_chunks.iter().zip(new_chunks).enumerate() {
            let mask = differing(old, new);
            any |= mask;
            self.chunk(at + index * CHUNK, mask)?;
        }
        if !new_tail.is_empty() {
            // What is behind the end counts as equal: a run that is open at the end ends there.
            self.chunk(at + new_chunks.len() * CHUNK, differing_tail(old_tail, new_tail))?;
        }
        Some(any != 0)
    }

    /// Takes the mask of the chunk at `base`.
    #[inline(always)]
    fn chunk(&mut self, base: usize, mask: u64) -> Option<()> {
        // A bit wherever a run begins or ends, the state before the chunk included.
        let mut edges = mask ^ (mask << 1 | u64::from(self.open.is_some()));
        if let Some(from) = self.open {
            if edges == 0 {
                return self.sink.grows(base + CHUNK - from);
            }
            self.close(base + take_edge(&mut edges))?;
        }
        if edges == 0 {
            return Some(());
        }
        if mask >> (CHUNK - 1) != 0 {
            let last = edges.ilog2();
            edges ^= 1 << last;
            self.open = Some(base + last as usize);
        }
        let from = base + edges.trailing_zeros() as usize;
        if edges != 0 && from - self.behind >= ONE_BYTE {
            take_edge(&mut edges);
            self.pair(from, base + take_edge(&mut edges))?;
        }
        if edges != 0 {
            self.behind = self.sink.short_pairs(base, edges, self.behind)?;
        }
        Some(())
    }

    /// Ends the open run, if there is one.
    #[inline(always)]
    fn close(&mut self, to: usize) -> Option<()> {
        match self.open.take() {
            Some(from) => self.pair(from, to),
            None => Some(()),
        }
    }

    #[inline(always)]
    fn pair(&mut self, from: usize, to: usize) -> Option<()> {
        let equal = from - self.behind;
        self.behind = to;
        self.sink.pair(equal, from, to)
    }
}
