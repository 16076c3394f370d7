//! Files that were cut, changed or made up.

use super::*;

/// With the length and the checksum that belong to the body.
fn sealed(mut head: Vec<u8>, body: &[u8]) -> Vec<u8> {
    head.truncate(12);
    head.extend_from_slice(&(body.len() as u64).to_le_bytes());
    head.extend_from_slice(body);
    let sum = crc32fast::hash(&head);
    head.extend_from_slice(&sum.to_le_bytes());
    head
}

fn body(bytes: &[u8]) -> Vec<u8> {
    bytes[20..bytes.len() - 4].to_vec()
}

fn whose() -> Identity {
    identity(slots(&[(0, 3)]), 5)
}

/// A file of [`whose`] in which other columns stand; `columns` begins with their count.
fn with_columns(columns: &[u8]) -> Result<Vec<OwnedColumn>, LoadError> {
    let mut body = body(&encode(&whose(), &[]));
    body.pop();
    body.extend_from_slice(columns);
    decode(&sealed(example(), &body), &whose()).map(|loaded| loaded.columns)
}

#[test]
fn every_flipped_bit_is_an_error() {
    let good = example();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..8 => LoadError::NotAHistory,
            8..10 => LoadError::Version { found: u16::from_le_bytes([bad[8], bad[9]]) },
            _ => LoadError::Damaged,
        };
        assert_eq!(decode(&bad, &whose()), Err(expected), "bit {bit}");
    }
}

#[test]
fn every_cut_and_every_addition_is_an_error() {
    let good = example();
    for length in 0..good.len() {
        let expected = if length < MARK.len() { LoadError::NotAHistory } else { LoadError::Damaged };
        assert_eq!(decode(&good[..length], &whose()), Err(expected), "{length} bytes");
    }
    let mut longer = good;
    longer.push(0);
    assert_eq!(decode(&longer, &whose()), Err(LoadError::Damaged));
    let mut longer = body(&example());
    longer.push(0);
    let mut bytes = sealed(example(), &longer);
    assert_eq!(decode(&bytes, &whose()), Err(LoadError::Damaged), "in the body, behind the columns");
    bytes[12] -= 1;
    let sum = bytes.len() - 4;
    let forged = crc32fast::hash(&bytes[..sum]).to_le_bytes();
    bytes[sum..].copy_from_slice(&forged);
    assert_eq!(decode(&bytes, &whose()), Err(LoadError::Damaged), "between the body and the checksum");
}

#[test]
fn columns_that_lie_are_refused() {
    assert_eq!(with_columns(&[1, 7, 1, 3, 4, 2, 1, 9, 0]).unwrap()[0].cells, OwnedCells::U16(vec![0, 0, 9]), "this one does not");
    let wrong: [(&str, &[u8]); 12] = [
        ("no count", &[]),
        ("fewer columns than counted", &[2, 7, 1, 3, 0]),
        ("more columns than counted", &[0, 7, 1, 3, 0]),
        ("too many columns", &[17]),
        ("a count of frames that is not the slots'", &[1, 7, 1, 4, 0]),
        ("2^63 frames", &[1, 7, 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1, 0]),
        ("more zeros than frames", &[1, 7, 1, 3, 2, 4, 0]),
        ("more numbers than frames", &[1, 7, 1, 3, 6, 2, 2, 1, 0, 1, 0]),
        ("more numbers than bytes", &[1, 7, 1, 3, 4, 1, 2, 1, 0]),
        ("a run without its count", &[1, 7, 1, 3, 1, 2]),
        ("a part that goes beyond the end", &[1, 7, 1, 3, 9, 2]),
        ("a page that does not exist", &[1, 7, 0, 3, 10, 0, 1, 8, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (what, columns) in wrong {
        assert_eq!(with_columns(columns), Err(LoadError::Damaged), "{what}");
    }
}

#[test]
fn there_are_at_most_sixteen_columns() {
    let columns = |count: u8| with_columns(&[&[count][..], &[7, 1, 3, 0].repeat(count.into())].concat()).map(|all| all.len());
    assert_eq!((columns(16), columns(17)), (Ok(16), Err(LoadError::Damaged)));
    let bytes = encode(&whose(), &[Column { tag: 1, cells: Cells::U16(&[]) }; 20]);
    assert_eq!(decode(&bytes, &whose()).unwrap().columns.len(), 16, "what is saved can be loaded");
}

#[test]
fn numbers_end_at_64_bits() {
    let zeros = |bytes: &[u8]| {
        let mut column = vec![1, 7, 1, 3, bytes.len() as u8 + 1];
        column.extend_from_slice(bytes);
        column.push(0);
        with_columns(&column)
    };
    assert!(zeros(&[0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]).is_ok(), "3, in a longer form");
    assert!(zeros(&[0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2]).is_err(), "3 + 2^64");
    assert!(zeros(&[0x83, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]).is_err());
}

#[test]
fn a_later_minor_is_read() {
    let mut head = example();
    head[10] = 9;
    let mut body = body(&example());
    body[0] += 2;
    body.splice(27..27, [1, 2]);
    assert_eq!(body[29], 1, "the count of columns, behind two more bytes of identity");
    body[29] = 2;
    body.splice(30..30, [8, 200, 3, 2, 0xff, 0xff]);
    let loaded = decode(&sealed(head, &body), &whose()).unwrap();
    assert_eq!(loaded.columns, [OwnedColumn { tag: 7, cells: OwnedCells::U16(vec![0, 0, 258]) }], "kind 200 is passed over");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn flips_in_larger_files_are_errors(
        (whose, columns) in histories(), at in any::<prop::sample::Index>(), flip in 1..=255_u8,
    ) {
        let mut bytes = encode(&whose, &borrowed(&columns));
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(decode(&bytes, &whose).is_err());
        prop_assert!(decode(&bytes[..at], &whose).is_err());
    }

    #[test]
    fn random_bytes_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(&bytes, &whose()), Err(LoadError::NotAHistory));
        let mut marked = example()[..20].to_vec();
        marked.extend_from_slice(&bytes);
        prop_assert_eq!(decode(&marked, &whose()), Err(LoadError::Damaged));
    }

    /// Nothing but the checks of the fields themselves stands against a forger who knows the checksum.
    #[test]
    fn a_forged_body_harms_nobody(
        (whose, columns) in histories(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let bytes = encode(&whose, &borrowed(&columns));
        let mut body = body(&bytes);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let frames = whose.slots.frame_end();
        for column in decode(&sealed(bytes, &body), &whose).map_or(vec![], |loaded| loaded.columns) {
            let length = match column.cells {
                OwnedCells::U16(cells) => cells.len() as u64,
                OwnedCells::U32(cells) => cells.len() as u64,
                OwnedCells::U64(cells) => cells.len() as u64,
                OwnedCells::Bits(set) => set.end(),
            };
            prop_assert_eq!(length, frames);
        }
    }

    #[test]
    fn made_up_columns_harm_nobody(columns in prop::collection::vec(prop_oneof![0..12_u8, any::<u8>()], 0..40)) {
        for column in with_columns(&columns).unwrap_or_default() {
            prop_assert!(!matches!(column.cells, OwnedCells::Bits(set) if set.iter().any(|gfn| gfn.0 >= 3)));
        }
    }
}
