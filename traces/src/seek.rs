//! Seeks by time: through the stored index, or from head to head in a file that was cut.

use std::io::{Read, Seek, SeekFrom};

use pagesieve_core::{Epoch, Nanos};

use crate::chunk::{EPOCH, HEAD, INDEX};
use crate::codec;
use crate::error::ReadError;
use crate::index::{Index, IndexEntry, TRAILER, decode_trailer};
use crate::reader::{Next, Reader};

impl<R: Read + Seek> Reader<R> {
    /// Where every frame is. From the stored index if the file was finished; otherwise from the heads of the frames, whose
    /// payloads are stepped over, up to the last whole one. The reader then stands before the first frame.
    ///
    /// # Errors
    /// A damaged head, or the system failed to deliver bytes.
    pub fn index(&mut self) -> Result<Index, ReadError> {
        let length = self.input.seek(SeekFrom::End(0)).map_err(|error| self.io_error(error))?;
        let index = match self.stored_index(length)? {
            Some(index) => index,
            None => self.scan(length)?,
        };
        self.go_to(self.first_frame_at, 0, None)?;
        self.slots = codec::slot_table(&self.header().slots).map_err(|damage| ReadError::Header { damage })?;
        Ok(index)
    }

    /// Goes to the frame that a time falls into (the last that begins no later, or the first of all), so that
    /// [`Reader::next_frame`] returns it, and returns its epoch; `None` if there is no frame. [`Reader::slots`] then gives the
    /// slots that hold before that frame.
    ///
    /// # Errors
    /// As for [`Reader::index`] and [`Reader::next_frame`].
    pub fn seek_to(&mut self, time: Nanos) -> Result<Option<Epoch>, ReadError> {
        let index = self.index()?;
        let Some(position) = index.position(time) else { return Ok(None) };
        self.seek_in(&index, position).map(Some)
    }

    /// Goes to a frame by its position in the index, as [`Reader::seek_to`] does, without reading the index again.
    ///
    /// # Errors
    /// As for [`Reader::next_frame`].
    ///
    /// # Panics
    /// If there is no such position.
    pub fn seek_in(&mut self, index: &Index, position: usize) -> Result<Epoch, ReadError> {
        // The slots come from the last frame before that changed them.
        self.slots = codec::slot_table(&self.header().slots).map_err(|damage| ReadError::Header { damage })?;
        if let Some(change) = index.entries[..position].iter().rposition(|entry| entry.changes_slots) {
            self.go_to_entry(index, change)?;
            self.next_frame()?;
        }
        self.go_to_entry(index, position)?;
        Ok(index.entries[position].epoch)
    }

    fn go_to_entry(&mut self, index: &Index, position: usize) -> Result<(), ReadError> {
        let entry = &index.entries[position];
        let before = entry.epoch.0.checked_sub(1).map(Epoch);
        self.go_to(entry.offset, position as u64, before)
    }

    /// `before` is the epoch of the frame before, if the frame there must be the next one.
    fn go_to(&mut self, at: u64, frames: u64, before: Option<Epoch>) -> Result<(), ReadError> {
        self.at = at;
        self.frames = frames;
        self.last = before;
        self.end = None;
        self.failed = None;
        self.input.seek(SeekFrom::Start(at)).map(drop).map_err(|error| self.io_error(error))
    }

    /// The index that the trailer names; `None` if there is none or it cannot be trusted, as every frame can be found without.
    fn stored_index(&mut self, length: u64) -> Result<Option<Index>, ReadError> {
        let Some(trailer_at) = length.checked_sub(TRAILER as u64) else { return Ok(None) };
        self.go_to(trailer_at, 0, None)?;
        let mut bytes = [0; TRAILER];
        self.input.read_exact(&mut bytes).map_err(|error| self.io_error(error))?;
        let at = decode_trailer(&bytes).filter(|&at| at >= self.first_frame_at && at < trailer_at);
        let Some(at) = at else { return Ok(None) };
        self.go_to(at, 0, None)?;
        let Ok(Next::Chunk(head)) = self.read_head() else { return Ok(None) };
        if head.kind != INDEX || !self.read_stored(&head)? {
            return Ok(None);
        }
        let frames = self.first_frame_at..at;
        let in_file = |entry: &IndexEntry| frames.contains(&entry.offset);
        Ok(self.decode_index(&head).ok().filter(|index| index.entries.iter().all(in_file)))
    }

    fn scan(&mut self, length: u64) -> Result<Index, ReadError> {
        let mut index = Index::default();
        let mut at = self.first_frame_at;
        while at + HEAD as u64 <= length {
            self.go_to(at, index.entries.len() as u64, None)?;
            let Next::Chunk(head) = self.read_head()? else { break };
            if head.kind == INDEX || at + head.length() > length {
                break;
            }
            if head.kind == EPOCH {
                index.entries.push(IndexEntry::of(&head, at));
            }
            at += head.length();
        }
        Ok(index)
    }
}
