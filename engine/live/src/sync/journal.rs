//! What was there before a change in place, so that a sync that is cut off can be taken back.
//!
//! The file, numbers in little endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PSUNDO1\n` |
//! | 8 | length of the destination before the sync |
//! | 4 | CRC-32 of the length |
//! | ... | records |
//!
//! A record is an offset (8 bytes), a length (4), a CRC-32 of both and of the bytes (4), and the bytes that were there. It is safe on
//! disk before the destination is written. A record of length `0xffff_ffff` has no bytes: everything was written, the destination is
//! only to be cut to the length that stands in place of the offset. What follows a damaged record was cut off with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::SyncError;
use super::extent::NO_LINK;

const MAGIC: &[u8; 8] = b"PSUNDO1\n";
const HEAD: usize = 20;
const RECORD: usize = 16;
/// In place of a length: the sync is complete but for the cut.
const COMMIT: u32 = u32::MAX;
/// Longest record: a block is at most this long.
const LONGEST: u32 = 1 << 30;

/// The journal of one destination.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the next record goes. What a failed attempt has left there is overwritten, since nothing behind a damaged record counts.
    end: u64,
}

/// What a journal says is to be done.
enum Undo {
    /// Put these back, the last one first, and cut the destination to this length.
    Back { len: u64, records: Vec<(u64, Vec<u8>)> },
    /// Cut the destination to this length.
    Forward { len: u64 },
}

impl Journal {
    /// Opens the journal at `path`, which belongs to this destination.
    pub(super) fn open(path: &Path, destination: &Path) -> Result<Self, SyncError> {
        let failed = |error| SyncError::Destination { what: "open the journal", path: path.to_owned(), error };
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINK)
            .open(path)
            .map_err(failed)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SyncError::Busy { path: destination.to_owned() });
        }
        Ok(Self { path: path.to_owned(), file, end: 0 })
    }

    /// Takes back what a sync that was cut off has changed. Returns whether there was anything.
    pub(super) fn roll_back(&mut self, destination: &File, device: bool) -> Result<bool, SyncError> {
        let failed = |error| SyncError::Destination { what: "apply the journal", path: self.path.clone(), error };
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let Some(undo) = read(&bytes) else {
            // The head is written first and alone: without a whole one nothing was changed yet.
            let begun = bytes.len() < HEAD && MAGIC.starts_with(&bytes[..bytes.len().min(MAGIC.len())]);
            return if begun { Ok(false) } else { Err(SyncError::Journal { path: self.path.clone() }) };
        };
        let len = match undo {
            Undo::Forward { len } => len,
            Undo::Back { len, records } => {
                // Of two records of one place the first is the older one.
                for (offset, bytes) in records.iter().rev() {
                    destination.write_all_at(bytes, *offset).map_err(failed)?;
                }
                len
            }
        };
        if !device {
            destination.set_len(len).map_err(failed)?;
        }
        destination.sync_all().map_err(failed)?;
        Ok(true)
    }

    /// Begins a sync of a destination of this length.
    pub(super) fn begin(&mut self, len: u64) -> Result<(), SyncError> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&len.to_le_bytes());
        head.extend_from_slice(&crc32fast::hash(&len.to_le_bytes()).to_le_bytes());
        self.end = HEAD as u64;
        let written = self.file.set_len(0).and_then(|()| self.file.write_all_at(&head, 0)).and_then(|()| self.file.sync_all());
        written.map_err(|error| SyncError::Destination { what: "write the journal", path: self.path.clone(), error })
    }

    /// Saves what the destination holds in these ranges, as far as it reaches.
    pub(super) fn save(&mut self, destination: &File, len: u64, ranges: impl Iterator<Item = Range<u64>>) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut end = self.end;
        for range in ranges {
            let range = range.start..range.end.min(len);
            if range.is_empty() {
                continue;
            }
            bytes.resize((range.end - range.start) as usize, 0);
            destination.read_exact_at(&mut bytes, range.start)?;
            self.file.write_all_at(&record(range.start, bytes.len() as u32, &bytes), end)?;
            self.file.write_all_at(&bytes, end + RECORD as u64)?;
            end += (RECORD + bytes.len()) as u64;
        }
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Everything was written; the destination is only to be cut to this length.
    pub(super) fn commit(&mut self, len: u64) -> io::Result<()> {
        self.file.write_all_at(&record(len, COMMIT, &[]), self.end)?;
        self.file.sync_data()
    }

    pub(super) fn remove(&mut self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

fn record(offset: u64, length: u32, bytes: &[u8]) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&offset.to_le_bytes());
    record[8..12].copy_from_slice(&length.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&record[..12]);
    crc.update(bytes);
    record[12..].copy_from_slice(&crc.finalize().to_le_bytes());
    record
}

/// `None` if the head is not whole.
fn read(bytes: &[u8]) -> Option<Undo> {
    let (head, mut rest) = bytes.split_at_checked(HEAD)?;
    let len = u64::from_le_bytes(*head[8..].first_chunk()?);
    let crc = u32::from_le_bytes(*head[16..].first_chunk()?);
    if !head.starts_with(MAGIC) || crc != crc32fast::hash(&len.to_le_bytes()) {
        return None;
    }
    let mut records = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(RECORD) {
        let offset = u64::from_le_bytes(*head.first_chunk()?);
        let length = u32::from_le_bytes(*head[8..].first_chunk()?);
        if length == COMMIT && head == record(offset, COMMIT, &[]) {
            return Some(Undo::Forward { len: offset });
        }
        let Some((bytes, after)) = after.split_at_checked(length.min(LONGEST) as usize) else { break };
        if head != record(offset, length, bytes) {
            break;
        }
        records.push((offset, bytes.to_vec()));
        rest = after;
    }
    Some(Undo::Back { len, records })
}
