//! A file or device that is written in place, with a [journal](super::journal) of what was there before.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use pagesieve_core::{BlockId, BlockSummary, Blocks};

use super::extent::NO_LINK;
use super::journal::Journal;
use super::replace::{beside, zero_range};
use super::{SyncConfig, SyncError, baseline};
use crate::destination::Answer;

/// Bytes that are changed between two synchronisations of the journal.
const BATCH: usize = 8 << 20;

/// The destination, its journal, and blocks that wait for it.
#[derive(Debug)]
pub(super) struct InPlace {
    file: File,
    device: bool,
    old_len: u64,
    len: u64,
    journal: Journal,
    rolled_back: bool,
    waiting: Vec<Change>,
    waiting_bytes: usize,
}

/// A change that is not made before its undo is safe.
#[derive(Debug)]
struct Change {
    block: BlockId,
    range: Range<u64>,
    /// `None` for zeros.
    bytes: Option<Vec<u8>>,
}

impl InPlace {
    pub(super) fn open(path: &Path, device: bool, len: u64, config: &SyncConfig) -> Result<Self, SyncError> {
        let failed = |error| SyncError::Destination { what: "open the destination", path: path.to_owned(), error };
        let journal = match &config.journal {
            Some(journal) => journal.clone(),
            None if device => return Err(SyncError::NoJournal { path: path.to_owned() }),
            None => beside(path, "pagesieve-journal"),
        };
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(!device).truncate(false).custom_flags(NO_LINK).open(path).map_err(failed)?;
        let mut journal = Journal::open(&journal, path)?;
        let rolled_back = journal.roll_back(&file, device)?;
        let old_len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        if device && old_len < len {
            return Err(SyncError::Small { path: path.to_owned(), has: old_len, wants: len });
        }
        journal.begin(old_len)?;
        if old_len < len {
            file.set_len(len).map_err(failed)?;
        }
        Ok(Self { file, device, old_len, len, journal, rolled_back, waiting: Vec::new(), waiting_bytes: 0 })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn rolled_back(&self) -> bool {
        self.rolled_back
    }

    pub(super) fn baseline(&self, blocks: &Blocks, workers: usize) -> io::Result<Vec<BlockSummary>> {
        baseline::summaries(&self.file, self.old_len.min(self.len), blocks, workers)
    }

    pub(super) fn put(&mut self, block: BlockId, range: Range<u64>, bytes: &[u8], answers: &mut VecDeque<Answer<io::Error>>) {
        self.wait(Change { block, range, bytes: Some(bytes.to_vec()) }, answers);
    }

    pub(super) fn zero(&mut self, block: BlockId, range: Range<u64>, answers: &mut VecDeque<Answer<io::Error>>) {
        self.wait(Change { block, range, bytes: None }, answers);
    }

    /// Changes a range at once, after what is overwritten is safe. Without bytes it becomes zero.
    pub(super) fn change_now(&mut self, range: Range<u64>, bytes: Option<&[u8]>) -> io::Result<()> {
        self.journal.save(&self.file, self.old_len, std::iter::once(range.clone()))?;
        self.change(range, bytes)
    }

    fn wait(&mut self, change: Change, answers: &mut VecDeque<Answer<io::Error>>) {
        self.waiting_bytes += (change.range.end - change.range.start) as usize;
        self.waiting.push(change);
        if self.waiting_bytes >= BATCH {
            self.flush(answers);
        }
    }

    /// Makes the changes that wait, after what they overwrite is safe.
    pub(super) fn flush(&mut self, answers: &mut VecDeque<Answer<io::Error>>) {
        let changes = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let ranges = changes.iter().map(|change| change.range.clone());
        let saved = self.journal.save(&self.file, self.old_len, ranges);
        for change in changes {
            let result = match &saved {
                Ok(()) => self.change(change.range, change.bytes.as_deref()),
                Err(error) => Err(io::Error::new(error.kind(), format!("write the journal: {error}"))),
            };
            let result = result.map(|()| change.bytes.map_or(0, |bytes| bytes.len() as u64));
            answers.push_back(Answer { block: change.block, result });
        }
    }

    fn change(&self, range: Range<u64>, bytes: Option<&[u8]>) -> io::Result<()> {
        match bytes {
            Some(bytes) => self.file.write_all_at(bytes, range.start),
            None => zero_range(&self.file, range),
        }
    }

    /// From here on the new content counts.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if !self.device && self.len < self.old_len {
            self.journal.commit(self.len)?;
            self.file.set_len(self.len)?;
            self.file.sync_all()?;
        }
        self.journal.remove()
    }
}
