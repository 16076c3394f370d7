//! Sets of frames: as runs, or as plain bits where the runs would take more room.

use std::ops::Range;

use pagesieve_core::{MemSlots, PageBitmap};

use super::Budget;
use crate::error::Damage;
use crate::varint::{self, Cursor};

const RUNS: u8 = 0;
const BITS: u8 = 1;

pub(super) fn encode(set: &PageBitmap, out: &mut Vec<u8>) {
    varint::put(out, set.end());
    let plain = set.end().div_ceil(8) as usize;
    let begin = out.len();
    out.push(RUNS);
    // The count stands before the runs, so it is found first; counting is far cheaper than encoding.
    varint::put(out, set.ranges().count() as u64);
    let mut at = 0;
    for run in set.ranges() {
        // Two runs are never adjacent, so every gap but the first is at least 1; every run is at least 1 long.
        varint::put(out, run.start - at - u64::from(at > 0));
        varint::put(out, run.end - run.start - 1);
        at = run.end;
        if out.len() - begin > plain + 1 {
            out.truncate(begin);
            out.push(BITS);
            out.extend(set.words().iter().flat_map(|word| word.to_le_bytes()).take(plain));
            return;
        }
    }
}

pub(super) fn decode(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<PageBitmap, Damage> {
    let end = cursor.number()?;
    if end > MemSlots::MAX_FRAMES {
        return Err(Damage::Malformed("a set of pages reaches beyond all memory"));
    }
    let form = cursor.byte()?;
    match form {
        RUNS => decode_runs(end, cursor, budget),
        BITS => decode_bits(end, cursor, budget),
        _ => Err(Damage::Malformed("a set of pages has an unknown form")),
    }
}

fn decode_runs(end: u64, cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<PageBitmap, Damage> {
    let count = cursor.count(2)?;
    let mut set = allocate(end, budget)?;
    let mut at = 0u64;
    for _ in 0..count {
        let gap = cursor.number()?;
        let length = cursor.number()?;
        let run = next_run(at, gap, length).filter(|run| run.end <= end);
        let run = run.ok_or(Damage::Malformed("a run of pages reaches beyond its set"))?;
        at = run.end;
        set.insert_range(run);
    }
    Ok(set)
}

fn next_run(at: u64, gap: u64, length: u64) -> Option<Range<u64>> {
    let start = at.checked_add(gap)?.checked_add(u64::from(at > 0))?;
    let end = start.checked_add(length)?.checked_add(1)?;
    Some(start..end)
}

fn decode_bits(end: u64, cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<PageBitmap, Damage> {
    let bytes = cursor.bytes(end.div_ceil(8))?;
    let mut set = allocate(end, budget)?;
    for (at, eight) in bytes.chunks(8).enumerate() {
        let mut word = [0; 8];
        word[..eight.len()].copy_from_slice(eight);
        insert_word(&mut set, at as u64 * 64, u64::from_le_bytes(word))?;
    }
    Ok(set)
}

fn insert_word(set: &mut PageBitmap, base: u64, mut word: u64) -> Result<(), Damage> {
    while word != 0 {
        let low = u64::from(word.trailing_zeros());
        let length = u64::from((word >> low).trailing_ones());
        if base + low + length > set.end() {
            return Err(Damage::Malformed("a set of pages has a bit beyond its end"));
        }
        set.insert_range(base + low..base + low + length);
        word &= u64::MAX.checked_shl((low + length) as u32).unwrap_or(0);
    }
    Ok(())
}

fn allocate(end: u64, budget: &mut Budget) -> Result<PageBitmap, Damage> {
    budget.take(end.div_ceil(64) * 8)?;
    Ok(PageBitmap::new(end))
}

#[cfg(test)]
mod tests {
    use pagesieve_core::Gfn;

    use super::*;
    use crate::codec::Limits;

    fn round_trip(set: &PageBitmap) -> Vec<u8> {
        let mut out = Vec::new();
        encode(set, &mut out);
        let mut cursor = Cursor::new(&out);
        assert_eq!(decode(&mut cursor, &mut Budget::new(Limits::default())).as_ref(), Ok(set));
        assert_eq!(cursor.left(), 0);
        out
    }

    #[test]
    fn sparse_sets_are_runs_and_scattered_sets_are_bits() {
        let mut set = PageBitmap::new(1000);
        assert_eq!(round_trip(&set).len(), 4);
        set.insert_range(0..1000);
        assert_eq!(round_trip(&set)[2], RUNS);
        for page in (0..1000).step_by(2) {
            set.remove(Gfn(page));
        }
        assert_eq!(round_trip(&set).len(), 2 + 1 + 125);
        round_trip(&PageBitmap::default());
    }

    #[test]
    fn members_beyond_the_end_and_huge_ends_are_refused() {
        let refuse =
            |bytes: &[u8]| decode(&mut Cursor::new(bytes), &mut Budget::new(Limits { frame_memory: 1 << 20 })).unwrap_err();
        assert!(matches!(refuse(&[9, BITS, 0xff, 0x02]), Damage::Malformed(_)), "bit 9 of a set that ends at 9");
        assert!(matches!(refuse(&[9, RUNS, 1, 5, 4]), Damage::Malformed(_)), "pages 5..10");
        assert!(matches!(refuse(&[9, RUNS, 200, 1, 5, 4]), Damage::Malformed(_)), "200 runs in 2 bytes");
        assert!(matches!(refuse(&[9, 2]), Damage::Malformed(_)), "form 2");
        let mut huge = Vec::new();
        varint::put(&mut huge, 1 << 40);
        huge.extend([RUNS, 0]);
        assert_eq!(refuse(&huge), Damage::Memory { limit: 1 << 20 });
    }
}
