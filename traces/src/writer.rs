//! Writes traces, frame by frame, so that what was written stays readable whatever happens next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pagesieve_core::{Epoch, Nanos};

use crate::chunk::{CHANGES_SLOTS, EPOCH, Head, INDEX, Packer};
use crate::codec;
use crate::error::{NAMELESS, WriteError};
use crate::index::{Index, IndexEntry, encode_trailer};
use crate::model::{Frame, Header};
use crate::preamble;

/// Choices at the creation of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Replace a file that exists.
    pub force: bool,
}

/// Writes a trace. Every frame goes to the output at once and whole, so a writer that is dropped or killed leaves a readable
/// file; only [`Writer::finish`] adds the index for seeks by time.
pub struct Writer<W: Write = File> {
    output: W,
    /// For messages only.
    path: PathBuf,
    /// Takes back what lies beyond a length; `None` if the output cannot.
    truncate: Option<fn(&mut W, u64) -> io::Result<()>>,
    written: u64,
    broken: bool,
    packer: Packer,
    payload: Vec<u8>,
    index: Index,
}

impl Writer<File> {
    /// Creates a file with mode 0600 and writes the header.
    ///
    /// # Errors
    /// [`WriteError::Exists`] if the file exists; otherwise what the system said.
    pub fn create(path: &Path, header: &Header) -> Result<Self, WriteError> {
        Self::create_with(path, header, CreateOptions::default())
    }

    /// Creates a file as [`Writer::create`] does, with choices.
    ///
    /// # Errors
    /// As for [`Writer::create`].
    pub fn create_with(path: &Path, header: &Header, options: CreateOptions) -> Result<Self, WriteError> {
        let (file, is_new) = create_file(path, options)?;
        let writer = Self::start(file, path.to_owned(), Some(truncate_file), header);
        if writer.is_err() && is_new {
            // An empty file would only be in the way of the next attempt.
            let _ = fs::remove_file(path);
        }
        writer
    }
}

impl<W: Write> Writer<W> {
    /// Writes to anything, such as memory. What a failed write leaves behind cannot be taken back there.
    ///
    /// # Errors
    /// The header cannot be encoded, or the output refuses it.
    pub fn new(output: W, header: &Header) -> Result<Self, WriteError> {
        Self::start(output, PathBuf::from(NAMELESS), None, header)
    }

    fn start(
        output: W,
        path: PathBuf,
        truncate: Option<fn(&mut W, u64) -> io::Result<()>>,
        header: &Header,
    ) -> Result<Self, WriteError> {
        let first = preamble::encode(header).map_err(WriteError::Header)?;
        let packer = Packer::new().map_err(|error| WriteError::Create { path: path.clone(), error })?;
        let index = Index::default();
        let mut writer = Self { output, path, truncate, written: 0, broken: false, packer, payload: Vec::new(), index };
        let result = writer.output.write_all(&first);
        writer.account(result, first.len())?;
        Ok(writer)
    }

    /// Appends a frame and returns the length of the file. Its epoch must follow that of the frame before, its events must be
    /// in the order of their time, and its summaries in the order of their pages.
    ///
    /// # Errors
    /// [`WriteError::Frame`] if the frame breaks a rule of the format; nothing is written then and other frames may follow.
    /// After [`WriteError::DiskFull`] and [`WriteError::Io`] all frames before are whole and readable; the same frame can be
    /// tried again if the output is a file.
    pub fn write_frame(&mut self, frame: &Frame) -> Result<u64, WriteError> {
        let refuse = |why| WriteError::Frame { epoch: frame.epoch, why };
        self.check_order(frame).map_err(refuse)?;
        let head = Head {
            kind: EPOCH,
            flags: if frame.slots.is_some() { CHANGES_SLOTS } else { 0 },
            epoch: frame.epoch.0,
            start: frame.start.0,
            ..Head::default()
        };
        self.payload.clear();
        codec::encode_frame(frame, &mut self.payload).map_err(refuse)?;
        let at = self.written;
        if !self.write_chunk(head)? {
            return Err(refuse("it takes more than 256 MiB before compression; use shorter epochs"));
        }
        self.index.entries.push(IndexEntry::of(&head, at));
        Ok(self.written)
    }

    fn check_order(&self, frame: &Frame) -> Result<(), &'static str> {
        let Some(before) = self.index.entries.last() else { return Ok(()) };
        if before.epoch.0.checked_add(1).map(Epoch) != Some(frame.epoch) {
            return Err("its number does not follow that of the frame before");
        }
        if frame.start < before.start {
            return Err("it begins before the frame before");
        }
        Ok(())
    }

    /// Writes `self.payload`. Returns false, with nothing written, if it is too large.
    fn write_chunk(&mut self, head: Head) -> Result<bool, WriteError> {
        if self.broken {
            return Err(WriteError::Broken { path: self.path.clone() });
        }
        let packed = self.packer.pack(head, &self.payload);
        let (result, length) = match packed {
            Ok(None) => return Ok(false),
            Ok(Some(chunk)) => (self.output.write_all(chunk), chunk.len()),
            Err(error) => (Err(error), 0),
        };
        self.account(result, length)?;
        Ok(true)
    }

    /// Counts what was written, or takes back what a failed write left behind.
    fn account(&mut self, result: io::Result<()>, length: usize) -> Result<(), WriteError> {
        let Err(error) = result else {
            self.written += length as u64;
            return Ok(());
        };
        self.broken = self.truncate.is_none_or(|truncate| truncate(&mut self.output, self.written).is_err());
        let (path, frames) = (self.path.clone(), self.index.entries.len() as u64);
        Err(match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => WriteError::DiskFull { path, frames },
            _ => WriteError::Io { path, frames, error },
        })
    }

    /// Bytes in the file so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// Frames in the file so far.
    #[must_use]
    pub fn frames_written(&self) -> u64 {
        self.index.entries.len() as u64
    }

    /// Writes the index and hands everything to the output. Returns the length of the file.
    ///
    /// # Errors
    /// As for [`Writer::write_frame`]; the file is readable without its index.
    pub fn finish(mut self) -> Result<u64, WriteError> {
        let at = self.written;
        self.payload.clear();
        self.index.encode(&mut self.payload);
        if !self.write_chunk(Head { kind: INDEX, ..Head::default() })? {
            // Some 40 million frames: years of recording. The file is whole without an index.
            return Ok(self.written);
        }
        let trailer = encode_trailer(at);
        let result = self.output.write_all(&trailer).and_then(|()| self.output.flush());
        self.account(result, trailer.len())?;
        Ok(self.written)
    }
}

/// The file, and whether it was made just now.
fn create_file(path: &Path, options: CreateOptions) -> Result<(File, bool), WriteError> {
    let failed = |error| WriteError::Create { path: path.to_owned(), error };
    let mut how = OpenOptions::new();
    how.write(true).mode(0o600);
    if options.force && fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        // A device, a pipe or a link: replacing it with a file is not what the user meant.
        return how.open(path).map(|file| (file, false)).map_err(failed);
    }
    if options.force {
        // Removed rather than truncated: the new file gets its own mode, and whoever reads the old one keeps it.
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    how.create_new(true).open(path).map(|file| (file, true)).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => WriteError::Exists { path: path.to_owned() },
        _ => failed(error),
    })
}

fn truncate_file(file: &mut File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length)).map(drop)
}

impl<W: Write> Writer<W> {
    /// When the last frame began; `None` before the first.
    #[must_use]
    pub fn last_start(&self) -> Option<Nanos> {
        self.index.entries.last().map(|entry| entry.start)
    }
}
