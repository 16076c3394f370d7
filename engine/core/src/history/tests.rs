use alloc::string::ToString;
use alloc::vec;

use proptest::prelude::*;

use super::file::{MARK, decode, encode};
use super::*;
use crate::{Backing, Blocks, Gfn, Hva, MemSlot};

mod hostile;

const SPEC: &str = include_str!("FORMAT.md");

fn slots(ranges: &[(u64, u64)]) -> MemSlots {
    let mut slots = MemSlots::new();
    for &(base, pages) in ranges {
        let hva = Hva((base + 1) << 12);
        slots.insert(MemSlot { base: Gfn(base), pages, hva, backing: Backing::Anonymous, numa_node: None }).unwrap();
    }
    slots
}

fn identity(slots: MemSlots, saved_at: u64) -> Identity {
    Identity { boot_id: [0xab; 16], slots, target: "p".into(), saved_at: Nanos(saved_at) }
}

fn borrowed(columns: &[OwnedColumn]) -> Vec<Column<'_>> {
    columns.iter().map(|column| Column { tag: column.tag, cells: borrowed_cells(&column.cells) }).collect()
}

fn borrowed_cells(cells: &OwnedCells) -> Cells<'_> {
    match cells {
        OwnedCells::U16(numbers) => Cells::U16(numbers),
        OwnedCells::U32(numbers) => Cells::U32(numbers),
        OwnedCells::U64(numbers) => Cells::U64(numbers),
        OwnedCells::Bits(set) => Cells::Bits(set),
    }
}

/// The bytes of the example in the specification.
fn example() -> Vec<u8> {
    let block = SPEC.split("```").nth(3).expect("the second block is the example");
    let byte = |word: &str| (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok()).flatten();
    block.lines().flat_map(|line| line.split_whitespace().map_while(byte)).collect()
}

#[test]
fn the_specification_tells_the_truth() {
    let whose = identity(slots(&[(0, 3)]), 5);
    let bytes = encode(&whose, &[Column { tag: 7, cells: Cells::U16(&[0, 0, 258]) }]);
    assert_eq!(bytes, example());
    let columns = vec![OwnedColumn { tag: 7, cells: OwnedCells::U16(vec![0, 0, 258]) }];
    assert_eq!(decode(&example(), &whose), Ok(Loaded { saved_at: Nanos(5), columns }));
}

#[test]
fn pages_that_were_never_used_cost_nothing() {
    let frames = 1 << 20;
    let whose = identity(slots(&[(0, frames)]), 5);
    let mut last = vec![0_u32; frames as usize];
    let mut written = PageBitmap::new(frames);
    for page in [3, 4, 700_000] {
        last[page] = 0x0102_0304;
        written.insert(Gfn(page as u64));
    }
    let columns = [Column { tag: 1, cells: Cells::U32(&last) }, Column { tag: 2, cells: Cells::Bits(&written) }];
    assert!(encode(&whose, &columns).len() < 150);
    assert_eq!(encode(&whose, &columns[..0]).len() + 6, encode(&whose, &[Column { tag: 1, cells: Cells::U32(&[]) }]).len());
}

#[test]
fn short_gaps_stay_in_a_run() {
    let whose = identity(slots(&[(0, 9)]), 5);
    let length = |cells: &[u16]| encode(&whose, &[Column { tag: 1, cells: Cells::U16(cells) }]).len();
    let empty = length(&[0; 9]);
    assert_eq!(length(&[1, 0, 0, 0, 0, 1]), empty + 2 + 12, "8 bytes of zeros");
    assert_eq!(length(&[1, 0, 0, 0, 0, 0, 1]), empty + 2 * (2 + 2), "10 bytes of zeros");
    assert_eq!(length(&[1, 0, 0, 0, 1, 0, 0, 0, 1]), empty + 2 + 18, "12 bytes of zeros in two gaps");
}

/// Tables may be longer than the slots, whose last one went away, or shorter, as long as the end was never touched.
#[test]
fn a_column_is_cut_or_filled_to_the_slots() {
    let whose = identity(slots(&[(0, 3), (60, 10)]), 5);
    let mut long_set = PageBitmap::new(900);
    long_set.insert_range(65..200);
    let columns = [
        Column { tag: 1, cells: Cells::U64(&[7; 100]) },
        Column { tag: 2, cells: Cells::U16(&[9]) },
        Column { tag: 3, cells: Cells::Bits(&long_set) },
        Column { tag: 3, cells: Cells::Bits(&PageBitmap::new(1)) },
    ];
    let loaded = decode(&encode(&whose, &columns), &whose).unwrap().columns;
    let mut short_numbers = vec![0; 70];
    short_numbers[0] = 9;
    let mut set = PageBitmap::new(70);
    set.insert_range(65..70);
    let expected = [OwnedCells::U64(vec![7; 70]), OwnedCells::U16(short_numbers), OwnedCells::Bits(set)];
    assert_eq!(loaded[..3].iter().map(|column| column.cells.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(loaded[3], OwnedColumn { tag: 3, cells: OwnedCells::Bits(PageBitmap::new(70)) }, "tags are not looked at");
}

#[test]
fn the_history_of_anything_else_is_refused() {
    let whose = identity(slots(&[(0, 3), (8, 2)]), 5);
    let bytes = encode(&whose, &[]);
    let refused = |change: fn(&mut Identity)| {
        let mut now = whose.clone();
        change(&mut now);
        decode(&bytes, &now).unwrap_err()
    };
    assert_eq!(refused(|now| now.boot_id[15] = 0), LoadError::OtherBoot);
    assert_eq!(refused(|now| now.target.push('q')), LoadError::OtherTarget);
    assert_eq!(refused(|now| now.slots = slots(&[(0, 3)])), LoadError::OtherSlots);
    assert_eq!(refused(|now| now.slots = slots(&[(0, 3), (8, 3)])), LoadError::OtherSlots);
    assert_eq!(refused(|now| now.saved_at = Nanos(4)), LoadError::SavedLater);
    let first = refused(|now| *now = Identity { boot_id: [0; 16], ..identity(MemSlots::new(), 0) });
    assert_eq!(first, LoadError::OtherBoot, "after a reboot nothing else is worth a word");
    let moved = |change: fn(&mut MemSlot)| {
        let mut slot = *whose.slots.iter().next().unwrap();
        change(&mut slot);
        let mut now = identity(slots(&[(8, 2)]), 5);
        now.slots.insert(slot).unwrap();
        decode(&bytes, &now).unwrap_err()
    };
    assert_eq!(moved(|slot| slot.hva = Hva(0x7000_0000)), LoadError::OtherSlots);
    assert_eq!(moved(|slot| slot.backing = Backing::Shared), LoadError::OtherSlots);
    assert_eq!(moved(|slot| slot.numa_node = Some(0)), LoadError::OtherSlots);
    let later = Identity { saved_at: Nanos(u64::MAX), ..whose.clone() };
    assert_eq!(decode(&bytes, &later).unwrap().saved_at, Nanos(5), "the time is that of saving");
}

#[test]
fn a_guest_too_large_for_page_tables_is_refused_before_any_is_made() {
    let whose = identity(slots(&[(Blocks::MAX_FRAMES, 1)]), 5);
    let bytes = encode(&whose, &[Column { tag: 1, cells: Cells::U64(&[]) }]);
    assert_eq!(decode(&bytes, &whose), Err(LoadError::TooLarge(Blocks::MAX_FRAMES + 1)));
}

#[test]
fn an_error_says_what_to_do() {
    assert_eq!(
        LoadError::OtherBoot.to_string(),
        "saved before the machine was rebooted: page ages mean nothing now; start without --history, and save a new one"
    );
    assert!(
        LoadError::Version { found: 2 }.to_string().starts_with("written by a newer version in format 2, and this one reads 1")
    );
    assert!(LoadError::Version { found: 0 }.to_string().starts_with("written by an older version"));
}

fn cells(frames: u64) -> impl Strategy<Value = OwnedCells> {
    let numbers = move || {
        let number = prop_oneof![4 => Just(0_u64), 1 => any::<u64>(), 1 => Just(1)];
        prop::collection::vec(number, frames as usize)
    };
    prop_oneof![
        numbers().prop_map(|cells| OwnedCells::U16(cells.into_iter().map(|cell| cell as u16).collect())),
        numbers().prop_map(|cells| OwnedCells::U32(cells.into_iter().map(|cell| cell as u32).collect())),
        numbers().prop_map(OwnedCells::U64),
        prop::collection::vec((0..frames, 0_u64..80), 0..6).prop_map(move |ranges| {
            let mut set = PageBitmap::new(frames);
            ranges.into_iter().for_each(|(start, pages)| set.insert_range(start..start + pages));
            OwnedCells::Bits(set)
        }),
    ]
}

prop_compose! {
    fn histories()(holes in prop::collection::vec((0_u64..90, 1_u64..90), 1..5))(
        columns in prop::collection::vec(
            (any::<u8>(), cells(holes.iter().map(|(hole, pages)| hole + pages).sum())), 0..5),
        holes in Just(holes),
        target in ".{0,20}",
        boot_id in any::<[u8; 16]>(),
        saved_at in any::<u64>(),
    ) -> (Identity, Vec<OwnedColumn>) {
        let mut end = 0;
        let range = |(hole, pages)| { let base = end + hole; end = base + pages; (base, pages) };
        let slots = slots(&holes.into_iter().map(range).collect::<Vec<_>>());
        let columns = columns.into_iter().map(|(tag, cells)| OwnedColumn { tag, cells }).collect();
        (Identity { boot_id, slots, target, saved_at: Nanos(saved_at) }, columns)
    }
}

proptest! {
    #[test]
    fn what_was_saved_is_loaded((whose, columns) in histories()) {
        let bytes = encode(&whose, &borrowed(&columns));
        prop_assert_eq!(decode(&bytes, &whose), Ok(Loaded { saved_at: whose.saved_at, columns: columns.clone() }));
        // Runs never cost more than the plain numbers: a few bytes a column.
        let plain: usize = columns.iter().map(|column| match &column.cells {
            OwnedCells::U16(cells) => cells.len() * 2,
            OwnedCells::U32(cells) => cells.len() * 4,
            OwnedCells::U64(cells) => cells.len() * 8,
            OwnedCells::Bits(set) => set.words().len() * 8,
        } + 16).sum();
        prop_assert!(bytes.len() <= encode(&whose, &[]).len() + plain);
    }
}
