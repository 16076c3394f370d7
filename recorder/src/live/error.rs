//! Why a target could not be observed, paused or moved. Each message completes "failed to ..." and says what to do.

use std::io;
use std::path::PathBuf;

use crate::error::RecordError;
use crate::qemu::{QmpError, StateError};

/// Why something failed.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// As for a recording.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The trace cannot be written.
    #[error(transparent)]
    Write(#[from] pagesieve_traces::WriteError),
    /// The monitor failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The device state failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing to migrate.
    #[error("find memory of process {pid}: it has no writable anonymous or shared-memory mapping that can be tracked")]
    NoMemory {
        /// The process.
        pid: u32,
    },
    /// A file that cannot be observed.
    #[error("watch {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The target has nothing to do with the file.
    #[error("find {} in process {pid}: it has no shared, writable mapping of it; name the process that maps it", path.display())]
    NotMapped {
        /// The process.
        pid: u32,
        /// The file.
        path: PathBuf,
    },
    /// The target has ended.
    #[error("observe process {pid}: it has ended")]
    Ended {
        /// The process.
        pid: u32,
    },
    /// Nothing could be read.
    #[error("read the dirty log: a thread of process {pid} does not stop; see /proc/{pid}/task/*/wchan")]
    DoesNotStop {
        /// The process.
        pid: u32,
    },
    /// A process that does not stand still.
    #[error("stop the threads of process {pid}: {error}; see /proc/{pid}/task/*/wchan")]
    Hold {
        /// The process.
        pid: u32,
        /// Why not.
        error: io::Error,
    },
    /// Only a monitor can pause a guest.
    #[error("pause the guest: it has no monitor, or it was lost; give its QMP socket (--qmp)")]
    NoMonitor,
    /// Slots that make no sense.
    #[error("place the target's memory: {0}")]
    Slots(#[from] pagesieve_core::SlotError),
    /// Memory that cannot be read.
    #[error("read guest memory: {0}")]
    Memory(#[from] io::Error),
}
