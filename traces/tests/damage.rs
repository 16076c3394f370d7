//! Files that were cut, damaged or made to do harm: an error or a shorter trace, never a panic, other data or much memory.

mod common;

use common::{chunk, chunk_length, file, first_frame_at, frames, header, payload, read, with_payload};
use pagesieve_traces::{Damage, End, Header, Limits, OnDamage, ReadError, ReadOptions, Reader};

fn read_to_end(file: &[u8], options: ReadOptions) -> Result<(Header, usize, End), ReadError> {
    let mut reader = Reader::with_options(file, options)?;
    let header = reader.header().clone();
    let frames = reader.frames().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(frames[..], self::frames()[..frames.len()], "whole frames are what was written");
    Ok((header, frames.len(), reader.end().unwrap().clone()))
}

/// One past the header and one past each frame.
fn borders(file: &[u8]) -> Vec<usize> {
    let mut borders = vec![first_frame_at(file)];
    for _ in 0..3 {
        let at = *borders.last().unwrap();
        borders.push(at + chunk_length(file, at));
    }
    borders
}

#[test]
fn a_file_cut_at_any_byte_is_readable_up_to_its_last_whole_frame() {
    let file = file(&header(), &frames());
    let borders = borders(&file);
    for length in 0..file.len() {
        let result = read_to_end(&file[..length], ReadOptions::default());
        match borders.iter().rposition(|&border| border <= length) {
            None if length == 0 => assert!(matches!(result, Err(ReadError::Empty))),
            None if length < 8 => assert!(matches!(result, Err(ReadError::HeaderCut { .. })), "{length}"),
            None => assert!(matches!(result, Err(ReadError::HeaderCut { at }) if at == length as u64), "{length}"),
            Some(whole) => {
                let (found, frames, end) = result.unwrap();
                assert_eq!(found, header());
                assert_eq!((frames, end), (whole, End::Cut { frames: whole as u64, at_byte: borders[whole] as u64 }));
            }
        }
    }
    assert_eq!(read_to_end(&file, ReadOptions::default()).unwrap().2, End::Complete);
}

#[test]
fn a_flip_of_any_bit_is_an_error_that_says_where() {
    let whole = file(&header(), &frames());
    let borders = borders(&whole);
    let mut file = whole.clone();
    for at in 0..file.len() {
        for bit in 0..8 {
            file[at] ^= 1 << bit;
            let error = read_to_end(&file, ReadOptions::default()).unwrap_err();
            match borders.iter().rposition(|&border| border <= at) {
                None => assert!(!matches!(error, ReadError::Frame { .. } | ReadError::Io { .. }), "{at}: {error}"),
                Some(3) => assert!(
                    matches!(error, ReadError::Footer { frames: 3, at, .. } | ReadError::Frame { frame: 4, at, .. } if at == borders[3] as u64),
                    "{at}: {error}"
                ),
                Some(before) => assert!(
                    matches!(error, ReadError::Frame { frame, at, .. } if frame == before as u64 + 1 && at == borders[before] as u64),
                    "{at}: {error}"
                ),
            }
            file[at] ^= 1 << bit;
        }
    }
    assert_eq!(file, whole);
}

#[test]
fn a_reader_told_to_stop_keeps_what_came_before_the_damage() {
    let mut file = file(&header(), &frames());
    let second = borders(&file)[1];
    file[second + 40] ^= 1;
    let options = ReadOptions { on_damage: OnDamage::Stop, ..ReadOptions::default() };
    let (_, frames, end) = read_to_end(&file, options).unwrap();
    assert_eq!((frames, end), (1, End::Damaged { frames: 1, at_byte: second as u64, damage: Damage::Checksum }));
    let mut reader = Reader::new(&file[..]).unwrap();
    reader.next_frame().unwrap().unwrap();
    for _ in 0..2 {
        assert!(matches!(reader.next_frame(), Err(ReadError::Frame { frame: 2, .. })), "the error stays");
    }
}

#[test]
fn a_missing_frame_is_noticed() {
    let file = file(&header(), &frames());
    let borders = borders(&file);
    let mut gap = file[..borders[1]].to_vec();
    gap.extend(&file[borders[2]..]);
    assert!(matches!(read(&gap), Err(ReadError::Frame { frame: 2, damage: Damage::Sequence { .. }, .. })));
}

#[test]
fn bytes_behind_the_end_are_noticed() {
    let mut file = file(&header(), &frames());
    file.push(0);
    assert!(matches!(read(&file), Err(ReadError::Footer { .. })));
}

/// The file with another version, its checksum made right.
fn with_version(mut file: Vec<u8>, major: u16, minor: u16) -> Vec<u8> {
    let end = first_frame_at(&file) - 4;
    file[8..10].copy_from_slice(&major.to_le_bytes());
    file[10..12].copy_from_slice(&minor.to_le_bytes());
    let crc = crc32fast::hash(&file[..end]);
    file[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn other_major_versions_are_refused_with_advice() {
    let file = file(&header(), &frames());
    let new = read(&with_version(file.clone(), 3, 0)).unwrap_err();
    assert!(
        matches!(new, ReadError::TooNew { .. })
            && new.to_string().contains("3.0")
            && new.to_string().contains("update pagesieve")
    );
    let old = read(&with_version(file, 1, 9)).unwrap_err();
    assert!(matches!(old, ReadError::TooOld { .. }) && old.to_string().contains("record again"));
}

#[test]
fn a_later_minor_version_is_read_and_its_additions_are_stepped_over() {
    let old = file(&header(), &frames());
    let borders = borders(&old);
    // A header with a field more.
    let mut new = old[..borders[0] - 4].to_vec();
    new.extend([1, 2, 3]);
    let length = (borders[0] - 20 + 3) as u32;
    new[12..16].copy_from_slice(&length.to_le_bytes());
    new.extend([0; 4]);
    // A part that may be stepped over, and a frame with a column more.
    new.extend(chunk(0x80, 0, 5, b"never looked at"));
    let mut longer = payload(&old, borders[0]);
    longer.extend([9; 30]);
    new.extend(chunk(1, 0, longer.len() as u32, &zstd::bulk::compress(&longer, 3).unwrap()));

    let minor = with_version(new.clone(), 2, 7);
    let mut reader = Reader::new(&minor[..]).unwrap();
    assert_eq!(reader.header(), &header());
    assert_eq!(reader.next_frame().unwrap(), Some(frames().remove(0)));
    assert_eq!(reader.next_frame().unwrap(), None);
    // In today's minor version the same bytes have no business there.
    assert!(matches!(read(&with_version(new, 2, 0)), Err(ReadError::Header { .. })));
}

#[test]
fn a_part_that_must_be_known_is_not_stepped_over() {
    let mut file = file(&header(), &[]);
    file.truncate(first_frame_at(&file));
    file.extend(chunk(0x7f, 0, 0, b""));
    assert!(matches!(read(&file), Err(ReadError::Frame { damage: Damage::Kind(0x7f), .. })));
}

#[test]
fn other_files_are_no_traces() {
    for other in [&b"\x7fELF\x02\x01\x01"[..], b"{}", b"\x93PSTR\n\x1a\x01\x00\x00\x00", &[0; 4096]] {
        let error = read(other).unwrap_err();
        assert!(matches!(error, ReadError::NotATrace), "{error}");
    }
}

fn damage_of(file: &[u8]) -> Damage {
    match read(file) {
        Err(ReadError::Frame { damage, .. } | ReadError::Header { damage }) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn claimed_lengths_are_not_trusted() {
    let mut start = file(&header(), &[]);
    start.truncate(first_frame_at(&start));
    let with = |part: Vec<u8>| [start.clone(), part].concat();
    let bomb = zstd::bulk::compress(&vec![0; 300 << 20], 3).unwrap();

    assert!(matches!(damage_of(&with(chunk(1, 1, u32::MAX, &bomb))), Damage::Malformed(_)), "claims 4 GiB");
    assert!(matches!(damage_of(&with(chunk(1, 1, 300 << 20, &bomb))), Damage::Malformed(_)), "claims more than is allowed");
    assert!(matches!(damage_of(&with(chunk(1, 1, 10, &bomb))), Damage::Malformed(_)), "claims less than comes out");
    assert!(matches!(damage_of(&with(chunk(1, 1, 10, b"no zstd"))), Damage::Compression(_)));
    // A head that claims 4 GiB of stored bytes in a file without them: the file was cut.
    let mut claim = chunk(1, 1, 10, b"");
    claim[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32fast::hash(&claim[..32]);
    claim[32..36].copy_from_slice(&crc.to_le_bytes());
    let cut = with(claim);
    let mut reader = Reader::new(&cut[..]).unwrap();
    assert_eq!(reader.next_frame().unwrap(), None);
    assert!(matches!(reader.end(), Some(End::Cut { frames: 0, .. })));

    let mut header_length = file(&header(), &[]);
    header_length[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read(&header_length), Err(ReadError::Header { damage: Damage::Malformed(_) })));
}

/// Times 0, no slots, nothing lost, no reasons, no notes: the least that can stand before the events.
const META: [u8; 10] = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// No events.
const NO_EVENTS: [u8; 1] = [0];
/// Four empty sets, of which the first says how it is coded.
const NO_SETS: [u8; 13] = [0; 13];

#[test]
fn the_least_payload_is_a_frame() {
    let frames = read(&with_payload(&[&META[..], &NO_EVENTS, &NO_SETS, &[0]].concat())).unwrap();
    assert_eq!(frames.len(), 1);
    assert!(frames[0].events.is_empty() && frames[0].summaries.is_none());
}

#[test]
fn claimed_counts_are_not_trusted() {
    let many = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let malformed = |payload: &[&[u8]]| match damage_of(&with_payload(&payload.concat())) {
        Damage::Malformed(why) => why,
        other => panic!("{other:?}"),
    };
    let count = "a count is larger than the bytes that follow it";
    assert_eq!(malformed(&[&META, &NO_EVENTS, &[0, 64, 0], &many]), count, "runs");
    assert_eq!(malformed(&[&META, &many]), count, "events");
    assert_eq!(malformed(&[&META, &[1, 0, 0, 0, 0], &many]), count, "actors");
    assert_eq!(malformed(&[&META, &NO_EVENTS, &NO_SETS, &[1], &many]), count, "summaries");
    assert_eq!(malformed(&[&META, &[1, 0, 0, 0, 0, 1, 3, 0, 0, 0]]), "an access of unknown kind");
    assert_eq!(malformed(&[&META, &[1, 0, 0, 0, 0, 1, 0, 0, 0, 1]]), "an event names an actor that is not there");
    assert_eq!(malformed(&[&META, &[1, 0, 31, 0, 0, 1, 0, 0, 0, 0]]), "its clock has an impossible step");
    let ages = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(malformed(&[&META, &[1, 0, 30], &ages, &[0, 1, 0, 0, 0, 0]]), "an event lies beyond the end of time");
    assert_eq!(malformed(&[&many]), "it ends too early");
    assert_eq!(malformed(&[&META, &NO_EVENTS, &NO_SETS, &[0, 0]]), "bytes follow its last part");
    // 2^30 - 1 texts of notes, and a reason named twice.
    let notes = [13, 0, 0, 0, 0, 0, 0, 0, 0, 252, 0xff, 0xff, 0xff];
    assert_eq!(malformed(&[&notes, &[0x3f]]), "its texts, notes and slots do not follow the format");
    assert_eq!(malformed(&[&[10], &META[1..], &[0], &NO_SETS]), "bytes follow its texts, notes and slots");
    assert_eq!(malformed(&[&[8], &META[1..], &NO_SETS]), "its texts, notes and slots do not follow the format");
    assert_eq!(malformed(&[&[11, 0, 0, 0, 0, 0, 0, 0, 2, 1, 1, 0], &NO_SETS]), "its dirty log names a reason twice");
}

#[test]
fn a_set_over_all_memory_needs_leave() {
    // A bitmap of 2^38 pages takes 32 GiB.
    let huge = [0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x08, 0, 0];
    let file = with_payload(&[&META[..], &huge].concat());
    assert_eq!(damage_of(&file), Damage::Memory { limit: 1 << 30 });
    // Within the limit the same trick works; a smaller limit refuses it.
    let large = [0, 0, 0x80, 0x80, 0x80, 0x08, 0, 0];
    let file = with_payload(&[&META[..], &large, &NO_SETS[4..], &[0]].concat());
    assert_eq!(read(&file).unwrap().len(), 1);
    let options = ReadOptions { limits: Limits { frame_memory: 1 << 20 }, ..ReadOptions::default() };
    let error = Reader::with_options(&file[..], options).unwrap().next_frame().unwrap_err();
    assert!(matches!(error, ReadError::Frame { damage: Damage::Memory { limit: 0x10_0000 }, .. }), "{error}");
}

#[test]
fn contradictory_slots_are_refused_on_both_sides() {
    let mut header = header();
    header.slots.push(header.slots[0]);
    assert!(pagesieve_traces::Writer::new(Vec::new(), &header).is_err());
}
