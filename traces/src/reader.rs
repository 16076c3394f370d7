//! Reads traces, frame by frame. A file that was cut is readable up to its last whole frame.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use pagesieve_core::{Epoch, MemSlots, Nanos};

use crate::chunk::{EPOCH, HEAD, Head, INDEX, Unpacker, read_full};
use crate::codec::{self, Budget, Limits};
use crate::error::{Damage, ReadError};
use crate::index::{Index, TRAILER, decode_trailer};
use crate::model::{Frame, Header};
use crate::preamble;
use crate::version::FormatVersion;

/// How a trace ended, known once all its frames were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The recorder finished the file.
    Complete,
    /// The file ends without its index, or in the middle of a frame. Everything that was returned is whole.
    Cut {
        /// Whole frames read.
        frames: u64,
        /// One past the last whole frame: what follows was dropped.
        at_byte: u64,
    },
    /// A frame is damaged, and the reader was told to stop there ([`OnDamage::Stop`]). Everything before it is whole.
    Damaged {
        /// Whole frames read.
        frames: u64,
        /// Where the damaged part begins.
        at_byte: u64,
        /// What is wrong with it.
        damage: Damage,
    },
}

/// What to do at a damaged frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Return an error.
    #[default]
    Fail,
    /// Take the frames before it for the whole trace, and say so in [`Reader::end`].
    Stop,
}

/// Choices of a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// What to do at a damaged frame.
    pub on_damage: OnDamage,
    /// How much of this machine a frame may use.
    pub limits: Limits,
}

/// Reads a trace one frame at a time; memory is that of the largest frame.
///
/// It checks structure: checksums, lengths, order of epochs. What the frames say is checked by [`crate::validate`].
#[derive(Debug)]
pub struct Reader<R: Read = File> {
    pub(crate) input: R,
    pub(crate) options: ReadOptions,
    version: FormatVersion,
    header: Header,
    pub(crate) slots: MemSlots,
    /// Where the next chunk begins.
    pub(crate) at: u64,
    pub(crate) first_frame_at: u64,
    pub(crate) frames: u64,
    pub(crate) last: Option<Epoch>,
    pub(crate) end: Option<End>,
    /// Why no more can be read. The input's position is unknown then; a seek mends it.
    pub(crate) failed: Option<Damage>,
    unpacker: Unpacker,
    stored: Vec<u8>,
    payload: Vec<u8>,
}

impl Reader<File> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// The file cannot be opened, is no trace, has another major version, or its header is cut or damaged.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Self::open_with(path, ReadOptions::default())
    }

    /// Opens a file as [`Reader::open`] does, with choices.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn open_with(path: &Path, options: ReadOptions) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|error| ReadError::Open { path: path.to_owned(), error })?;
        Self::with_options(file, options)
    }
}

/// A chunk's head, or how the file ends here.
pub(crate) enum Next {
    Chunk(Head),
    End(End),
}

impl<R: Read> Reader<R> {
    /// Reads the header from anything. The reader asks for large pieces: the input needs no buffer of its own.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn new(input: R) -> Result<Self, ReadError> {
        Self::with_options(input, ReadOptions::default())
    }

    /// Reads the header as [`Reader::new`] does, with choices.
    ///
    /// # Errors
    /// As for [`Reader::open`].
    pub fn with_options(mut input: R, options: ReadOptions) -> Result<Self, ReadError> {
        let (version, header, at) = preamble::read(&mut input)?;
        let slots = codec::slot_table(&header.slots).map_err(|damage| ReadError::Header { damage })?;
        Ok(Self {
            input,
            options,
            version,
            header,
            slots,
            at,
            first_frame_at: at,
            frames: 0,
            last: None,
            end: None,
            failed: None,
            unpacker: Unpacker::new(),
            stored: Vec::new(),
            payload: Vec::new(),
        })
    }

    /// Version of the file's format.
    #[must_use]
    pub fn version(&self) -> FormatVersion {
        self.version
    }

    /// Facts that hold for the whole trace.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The memory slots of the frame returned last; before the first frame those of the header, after a seek those that hold
    /// there.
    #[must_use]
    pub fn slots(&self) -> &MemSlots {
        &self.slots
    }

    /// Bytes consumed: one past the frame returned last.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }

    /// How the trace ended; `None` while there may be more frames.
    #[must_use]
    pub fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// The next frame, or `None` after the last whole one; then [`Reader::end`] says how the file ended.
    ///
    /// # Errors
    /// A damaged frame, or the system failed to deliver bytes. A damaged frame stays an error however often it is asked for.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ReadError> {
        if self.end.is_some() {
            return Ok(None);
        }
        if let Some(damage) = self.failed.clone() {
            return Err(self.frame_error(damage));
        }
        let result = self.read_frame();
        match &result {
            Err(ReadError::Frame { damage, .. } | ReadError::Footer { damage, .. }) => {
                if self.options.on_damage == OnDamage::Stop {
                    self.end = Some(End::Damaged { frames: self.frames, at_byte: self.at, damage: damage.clone() });
                    return Ok(None);
                }
                self.failed = Some(damage.clone());
            }
            Err(_) => self.failed = Some(Damage::Malformed("an earlier attempt to read it failed")),
            Ok(_) => {}
        }
        result
    }

    /// The frames as an iterator, which ends after the first error.
    pub fn frames(&mut self) -> impl Iterator<Item = Result<Frame, ReadError>> + '_ {
        let mut failed = false;
        std::iter::from_fn(move || {
            let next = if failed { None } else { self.next_frame().transpose() };
            failed = matches!(next, Some(Err(_)));
            next
        })
    }

    fn read_frame(&mut self) -> Result<Option<Frame>, ReadError> {
        loop {
            let head = match self.read_head()? {
                Next::Chunk(head) => head,
                Next::End(end) => {
                    self.end = Some(end);
                    return Ok(None);
                }
            };
            match head.kind {
                EPOCH => {
                    if !self.read_stored(&head)? {
                        return Ok(None);
                    }
                    return self.decode(&head).map(Some).map_err(|damage| self.frame_error(damage));
                }
                INDEX => return self.read_footer(&head).map(|()| None),
                _ if head.may_be_skipped() => {
                    if !self.read_stored(&head)? {
                        return Ok(None);
                    }
                    self.at += head.length();
                }
                kind => return Err(self.frame_error(Damage::Kind(kind))),
            }
        }
    }

    pub(crate) fn read_head(&mut self) -> Result<Next, ReadError> {
        let mut bytes = [0; HEAD];
        let got = read_full(&mut self.input, &mut bytes).map_err(|error| self.io_error(error))?;
        if got < HEAD {
            return Ok(Next::End(self.cut()));
        }
        Head::parse(&bytes).map(Next::Chunk).map_err(|damage| self.frame_error(damage))
    }

    /// Fills `self.stored`. Returns false, with the end noted, if the file ends before. Memory grows with what really comes.
    pub(crate) fn read_stored(&mut self, head: &Head) -> Result<bool, ReadError> {
        self.stored.clear();
        let wanted = u64::from(head.stored);
        let got = self.input.by_ref().take(wanted).read_to_end(&mut self.stored);
        if (got.map_err(|error| self.io_error(error))? as u64) < wanted {
            self.end = Some(self.cut());
            return Ok(false);
        }
        Ok(true)
    }

    /// The frame in `self.stored`; on success the reader stands behind it.
    fn decode(&mut self, head: &Head) -> Result<Frame, Damage> {
        let found = Epoch(head.epoch);
        if let Some(before) = self.last.filter(|before| before.0.checked_add(1) != Some(head.epoch)) {
            return Err(Damage::Sequence { before, found });
        }
        let mut budget = Budget::new(self.options.limits);
        self.unpacker.unpack(head, &self.stored, &mut self.payload, &mut budget)?;
        let more = self.version.has_unknown_fields();
        let frame = codec::decode_frame(found, Nanos(head.start), &self.payload, more, &mut budget)?;
        if let Some(slots) = &frame.slots {
            self.slots = codec::slot_table(slots)?;
        }
        self.at += head.length();
        self.frames += 1;
        self.last = Some(found);
        Ok(frame)
    }

    fn read_footer(&mut self, head: &Head) -> Result<(), ReadError> {
        if !self.read_stored(head)? {
            return Ok(());
        }
        self.decode_index(head).map_err(|damage| self.footer_error(damage))?;
        // One byte more than the trailer has, to see what does not belong there.
        let mut bytes = [0; TRAILER + 1];
        let got = read_full(&mut self.input, &mut bytes).map_err(|error| self.io_error(error))?;
        if got < TRAILER {
            self.end = Some(self.cut());
            return Ok(());
        }
        if got > TRAILER {
            return Err(self.footer_error(Damage::Malformed("bytes follow the end of the trace")));
        }
        let mut trailer = [0; TRAILER];
        trailer.copy_from_slice(&bytes[..TRAILER]);
        if decode_trailer(&trailer) != Some(self.at) {
            return Err(self.footer_error(Damage::Checksum));
        }
        self.at += head.length() + TRAILER as u64;
        self.end = Some(End::Complete);
        Ok(())
    }

    /// The index in `self.stored`.
    pub(crate) fn decode_index(&mut self, head: &Head) -> Result<Index, Damage> {
        let mut budget = Budget::new(self.options.limits);
        self.unpacker.unpack(head, &self.stored, &mut self.payload, &mut budget)?;
        Index::decode(&self.payload, self.version.has_unknown_fields(), &mut budget)
    }

    fn cut(&self) -> End {
        End::Cut { frames: self.frames, at_byte: self.at }
    }

    pub(crate) fn io_error(&self, error: std::io::Error) -> ReadError {
        ReadError::Io { at: self.at, error }
    }

    pub(crate) fn frame_error(&self, damage: Damage) -> ReadError {
        ReadError::Frame { frame: self.frames + 1, at: self.at, damage }
    }

    fn footer_error(&self, damage: Damage) -> ReadError {
        ReadError::Footer { frames: self.frames, at: self.at, damage }
    }
}
