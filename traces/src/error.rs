//! What can go wrong with a trace file. Every message completes "failed to ...".

use std::io;
use std::path::{Path, PathBuf};

use pagesieve_core::{Epoch, SlotError};

use crate::version::{FORMAT, FormatVersion};

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be opened.
    #[error("open {}: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The system failed to deliver bytes.
    #[error("read the trace at byte {at}: {error}")]
    Io {
        /// Where in the file.
        at: u64,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// There is no byte in it.
    #[error("read the trace: the file is empty; the recording ended before it began")]
    Empty,
    /// It begins with other bytes.
    #[error("read the trace: this is not a pagesieve trace (the first bytes are not its mark)")]
    NotATrace,
    /// Written by a later pagesieve with another major version.
    #[error("read the trace: its format {found} is too new for this pagesieve, which reads {}.x: update pagesieve", FORMAT.major.0)]
    TooNew {
        /// Version of the file.
        found: FormatVersion,
    },
    /// Written by an earlier pagesieve with another major version.
    #[error(
        "read the trace: its format {found} is too old for this pagesieve, which reads {}.x: read it with the pagesieve that wrote it, or record again",
        FORMAT.major.0
    )]
    TooOld {
        /// Version of the file.
        found: FormatVersion,
    },
    /// The file ends inside its header, so that nothing in it can be read.
    #[error("read the trace: the file ends at byte {at}, inside its header; record again")]
    HeaderCut {
        /// Length of the file.
        at: u64,
    },
    /// The header's bytes are not what was written.
    #[error("read the trace: its header is damaged: {damage}; get the file again from where it came")]
    Header {
        /// What is wrong.
        damage: Damage,
    },
    /// A frame's bytes are not what was written.
    #[error("read frame {frame} at byte {at}: {damage}; the {} frames before it are whole; get the file again from where it came, or record again", frame - 1)]
    Frame {
        /// Number of the frame in the file, from 1.
        frame: u64,
        /// Where the frame begins in the file.
        at: u64,
        /// What is wrong.
        damage: Damage,
    },
    /// The index behind the last frame is not what was written. All frames are whole.
    #[error(
        "read the index at byte {at}: {damage}; the {frames} frames before it are whole; get the file again from where it came"
    )]
    Footer {
        /// Frames before the index.
        frames: u64,
        /// Where the index begins in the file.
        at: u64,
        /// What is wrong.
        damage: Damage,
    },
}

/// What is wrong with a part of a trace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The bytes changed after they were written.
    #[error("its checksum does not match")]
    Checksum,
    /// No part of a trace begins here.
    #[error("no frame begins here")]
    Marker,
    /// A part that this reader must not step over.
    #[error("part of unknown kind {0}: update pagesieve")]
    Kind(u8),
    /// zstd refuses the bytes.
    #[error("it does not decompress: {0}")]
    Compression(String),
    /// The bytes pass the checksum but do not follow the format.
    #[error("{0}")]
    Malformed(&'static str),
    /// A number in it is larger than the bytes that are there allow, or the part needs more memory than the reader may use.
    #[error("it asks for more than {limit} bytes of memory; if you trust the file, raise the reader's limit")]
    Memory {
        /// The reader's limit.
        limit: u64,
    },
    /// Frames are missing or out of order.
    #[error("epoch {found} follows epoch {before}")]
    Sequence {
        /// Epoch of the frame before.
        before: Epoch,
        /// Epoch of this frame.
        found: Epoch,
    },
    /// The memory slots contradict each other.
    #[error("{0}")]
    Slots(SlotError),
}

/// Why a trace cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file exists.
    #[error("create {}: the file exists; choose another name or pass --force to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be created.
    #[error("create {}: {error}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// No space is left. All frames before stay readable.
    #[error("write to {}: the disk is full{}; free some space or record to another disk", path.display(), kept(path, *frames))]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// Frames that are whole in the file.
        frames: u64,
    },
    /// The system failed to take bytes. All frames before stay readable.
    #[error("write to {}: {error}{}", path.display(), kept(path, *frames))]
    Io {
        /// The file.
        path: PathBuf,
        /// Frames that are whole in the file.
        frames: u64,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// An earlier error left bytes behind that could not be taken back.
    #[error("write to {}: an earlier write failed in the middle of a frame", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// The header cannot be stored.
    #[error("write the header: {0}")]
    Header(&'static str),
    /// The frame breaks a rule of the format.
    #[error("write epoch {epoch}: {why}")]
    Frame {
        /// The epoch.
        epoch: Epoch,
        /// The rule.
        why: &'static str,
    },
}

/// The name of an output that is no file of a name.
pub(crate) const NAMELESS: &str = "the output";

/// What is left of a trace that could not be written to its end. Of a nameless output nobody here knows whether it is kept.
fn kept(path: &Path, frames: u64) -> String {
    if path == Path::new(NAMELESS) { String::new() } else { format!("; {frames} whole frames are in it") }
}
