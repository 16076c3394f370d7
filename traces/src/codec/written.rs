//! The written pages: as a set, or as what differs from the pages of the write events, which is mostly nothing.

use pagesieve_core::{Access, AccessKind, PageBitmap};

use super::{Budget, bitmap};
use crate::error::Damage;
use crate::varint::Cursor;

const SET: u8 = 0;
const DIFFERENCE: u8 = 1;

pub(super) fn encode(written: &PageBitmap, events: &[Access], out: &mut Vec<u8>) {
    let difference = differing(written, &of_events(events, written.end()));
    // One event of a huge page stands for 512 written pages: there the set itself is shorter.
    if difference.ranges().count() < written.ranges().count() {
        out.push(DIFFERENCE);
        bitmap::encode(&difference, out);
    } else {
        out.push(SET);
        bitmap::encode(written, out);
    }
}

pub(super) fn decode(events: &[Access], cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<PageBitmap, Damage> {
    match cursor.byte()? {
        SET => bitmap::decode(cursor, budget),
        DIFFERENCE => {
            let difference = bitmap::decode(cursor, budget)?;
            // The two sets that this takes are as large as the one that was paid for.
            budget.take(difference.end().div_ceil(64) * 16)?;
            Ok(differing(&difference, &of_events(events, difference.end())))
        }
        _ => Err(Damage::Malformed("its written pages are coded in an unknown way")),
    }
}

/// Pages below `end` with a write event.
fn of_events(events: &[Access], end: u64) -> PageBitmap {
    let mut pages = PageBitmap::new(end);
    for event in events.iter().filter(|event| event.kind == AccessKind::Write && event.gfn.0 < end) {
        pages.insert(event.gfn);
    }
    pages
}

/// The pages that are in one of the sets only.
fn differing(one: &PageBitmap, other: &PageBitmap) -> PageBitmap {
    let (mut left, mut right) = (one.clone(), other.clone());
    left.subtract(other);
    right.subtract(one);
    left.union_with(&right);
    left
}

#[cfg(test)]
mod tests {
    use pagesieve_core::{Gfn, Nanos, Origin};

    use super::*;
    use crate::codec::Limits;

    fn event(gfn: u64, kind: AccessKind) -> Access {
        Access { time: Nanos(0), gfn: Gfn(gfn), kind, origin: Origin::User, cpu: 0, tid: 1 }
    }

    fn round_trip(written: &PageBitmap, events: &[Access]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(written, events, &mut out);
        let mut cursor = Cursor::new(&out);
        assert_eq!(decode(events, &mut cursor, &mut Budget::new(Limits::default())).as_ref(), Ok(written));
        assert_eq!(cursor.left(), 0);
        out
    }

    #[test]
    fn pages_that_the_events_name_take_no_room() {
        let mut written = PageBitmap::new(1000);
        let pages = [3, 70, 500, 999];
        pages.iter().for_each(|&page| _ = written.insert(Gfn(page)));
        let mut events: Vec<_> = pages.iter().map(|&page| event(page, AccessKind::Write)).collect();
        events.extend([event(8, AccessKind::Read), event(1000, AccessKind::Write)]);
        assert_eq!(round_trip(&written, &events).len(), 5, "its end, its form and no run");
        written.insert(Gfn(4));
        written.remove(Gfn(500));
        assert_eq!(round_trip(&written, &events)[0], DIFFERENCE);
        assert_eq!(round_trip(&written, &[])[0], SET);
    }

    #[test]
    fn a_huge_page_stays_a_run() {
        let mut written = PageBitmap::new(4096);
        written.insert_range(512..1024);
        assert_eq!(round_trip(&written, &[event(700, AccessKind::Write)])[0], SET);
    }

    #[test]
    fn other_forms_are_refused() {
        assert!(decode(&[], &mut Cursor::new(&[2, 0, 0, 0]), &mut Budget::new(Limits::default())).is_err());
    }
}
