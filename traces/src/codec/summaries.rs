//! Page summaries, a column per property.

use pagesieve_core::{Gfn, MemSlots};

use super::Budget;
use crate::error::Damage;
use crate::model::{ContentId, PageSummary};
use crate::varint::{self, Cursor};

/// Least bytes of a summary: one in each column.
const LEAST: usize = 4;

pub(super) fn encode(summaries: &[PageSummary], out: &mut Vec<u8>) -> Result<(), &'static str> {
    if !summaries.is_sorted_by(|a, b| a.gfn < b.gfn) {
        return Err("its page summaries are not in the order of their pages, one each");
    }
    if summaries.last().is_some_and(|last| last.gfn.0 >= MemSlots::MAX_FRAMES) {
        return Err("a page summary names a page beyond all memory");
    }
    varint::put(out, summaries.len() as u64);
    let mut next = 0;
    for summary in summaries {
        varint::put(out, summary.gfn.0 - next);
        next = summary.gfn.0 + 1;
    }
    // New contents are numbered in the order of their pages, so that the difference is mostly 1.
    let mut before = 0u64;
    for summary in summaries {
        let content = u64::from(summary.content.0);
        varint::put(out, varint::zigzag(content.wrapping_sub(before)));
        before = content;
    }
    for summary in summaries {
        varint::put(out, u64::from(summary.compressed));
    }
    for summary in summaries {
        varint::put(out, summary.delta.map_or(0, |delta| u64::from(delta) + 1));
    }
    Ok(())
}

pub(super) fn decode(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Vec<PageSummary>, Damage> {
    let count = cursor.count(LEAST)?;
    budget.take(count as u64 * size_of::<PageSummary>() as u64)?;
    let mut summaries = Vec::with_capacity(count);
    let mut next = 0u64;
    for _ in 0..count {
        let gfn = next.checked_add(cursor.number()?).filter(|&gfn| gfn < MemSlots::MAX_FRAMES);
        let gfn = gfn.ok_or(Damage::Malformed("a page summary names a page beyond all memory"))?;
        summaries.push(PageSummary { gfn: Gfn(gfn), content: ContentId::default(), compressed: 0, delta: None });
        next = gfn + 1;
    }
    let mut content = 0u64;
    for summary in &mut summaries {
        content = content.wrapping_add(varint::unzigzag(cursor.number()?));
        let number = u32::try_from(content).map_err(|_| Damage::Malformed("a content number is too large"))?;
        summary.content = ContentId(number);
    }
    for summary in &mut summaries {
        summary.compressed = size(cursor.number()?)?;
    }
    for summary in &mut summaries {
        summary.delta = cursor.number()?.checked_sub(1).map(size).transpose()?;
    }
    Ok(summaries)
}

fn size(number: u64) -> Result<u16, Damage> {
    u16::try_from(number).map_err(|_| Damage::Malformed("a page size is too large"))
}
