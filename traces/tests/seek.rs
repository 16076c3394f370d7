//! Seeks by time, with and without a stored index.

mod common;

use std::io::Cursor;

use common::{file, frame, header};
use pagesieve_core::{Epoch, Nanos};
use pagesieve_traces::{End, Reader};

fn ten() -> Vec<u8> {
    let mut frames: Vec<_> = (0..10).map(frame).collect();
    frames[6].slots = Some(vec![common::slot(0, 256), common::slot(1000, 281)]);
    file(&header(), &frames)
}

/// Start of frame N is N * 1000.
const WANTED: [(u64, u32); 6] = [(0, 0), (999, 0), (1000, 1), (5500, 5), (9000, 9), (u64::MAX, 9)];

fn seek_all(file: Vec<u8>, stored: bool) {
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    assert_eq!(reader.index().unwrap().stored, stored);
    for (time, epoch) in WANTED.into_iter().rev() {
        assert_eq!(reader.seek_to(Nanos(time)).unwrap(), Some(Epoch(epoch)));
        let slots = reader.slots().pages();
        assert_eq!(
            slots,
            if epoch <= 1 {
                512
            } else if epoch <= 6 {
                536
            } else {
                537
            },
            "slots before epoch {epoch}"
        );
        let rest: Vec<_> = reader.frames().map(|frame| frame.unwrap().epoch.0).collect();
        assert_eq!(rest, (epoch..10).collect::<Vec<_>>());
        assert_eq!(reader.end() == Some(&End::Complete), stored);
    }
}

#[test]
fn a_finished_file_has_an_index() {
    seek_all(ten(), true);
}

#[test]
fn a_cut_file_is_searched_frame_by_frame() {
    let mut file = ten();
    file.truncate(file.len() - 1);
    seek_all(file.clone(), false);
    let last = 10 * chunk_length(&file);
    file.truncate(last.min(file.len()) / 2);
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    let found = reader.index().unwrap();
    let frames = reader.frames().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(found.entries.len(), frames.len(), "a frame that was cut is not in the index");
    assert!((1..10).contains(&frames.len()));
}

fn chunk_length(file: &[u8]) -> usize {
    common::chunk_length(file, common::first_frame_at(file))
}

#[test]
fn a_damaged_index_does_not_matter_to_a_seek() {
    let mut file = ten();
    let index_byte = file.len() - 20;
    file[index_byte] ^= 1;
    let mut reader = Reader::new(Cursor::new(file)).unwrap();
    assert!(!reader.index().unwrap().stored);
    assert_eq!(reader.seek_to(Nanos(3000)).unwrap(), Some(Epoch(3)));
    assert_eq!(reader.next_frame().unwrap(), Some(frame(3)));
}

#[test]
fn an_empty_trace_has_nowhere_to_go() {
    let mut reader = Reader::new(Cursor::new(file(&header(), &[]))).unwrap();
    assert_eq!(reader.seek_to(Nanos(5)).unwrap(), None);
    assert_eq!(reader.next_frame().unwrap(), None);
}
