//! Why a recording could not start or go on. Each message completes "failed to ..." and says what to do.

use std::io;

use crate::arming::InjectError;
use crate::qemu::QmpError;

/// Why a recording failed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The pid names no process.
    #[error("record process {pid}: there is no such process; see `ps` for those that run")]
    NoProcess {
        /// The pid given.
        pid: u32,
    },
    /// The process belongs to someone else.
    #[error("read the memory map of process {pid}: {error}; run as root or as the user that owns it")]
    NoAccess {
        /// The pid given.
        pid: u32,
        /// The cause.
        error: io::Error,
    },
    /// The monitor could not be used.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The system does not say who listens.
    #[error("find the process behind the QMP socket: the system does not tell; give it with --pid")]
    NoPeer,
    /// The guest of a monitor lies in another process.
    #[error("find the guest's memory in process {pid}: it is not there; give QEMU's own process with --pid as well")]
    OtherGuest {
        /// The process looked at.
        pid: u32,
    },
    /// Guest memory of a kind that cannot be tracked soundly.
    #[error(
        "track all of the guest's memory: {mib} MiB are a private mapping of a file, or of a file on disk; give QEMU a memory backend with share=on on memfd or tmpfs, or memory-backend-ram"
    )]
    GuestMemory {
        /// How much.
        mib: u64,
    },
    /// A process cannot arm itself while it is stopped.
    #[error("record process {}: that is this command itself; give the pid of another process", std::process::id())]
    Ourselves,
    /// There is nothing to run.
    #[error("start the command: none was given; write it after `--`")]
    NoCommand,
    /// The command could not be started.
    #[error("start `{command}`: {error}; check its name and path")]
    Spawn {
        /// The program.
        command: String,
        /// The cause.
        error: io::Error,
    },
    /// The kernel lacks what the dirty log needs.
    #[error(
        "track writes: this kernel has neither PAGEMAP_SCAN (Linux 6.7 or newer) nor soft-dirty bits (CONFIG_MEM_SOFT_DIRTY); see `pagesieve doctor`"
    )]
    NoWriteTracking,
    /// No userfaultfd of the target.
    #[error(transparent)]
    Arming(#[from] InjectError),
    /// The kernel program could not be attached although it was asked for.
    #[error("attach the kernel program: {0}; see `pagesieve doctor`, or leave out --source ebpf")]
    Attach(String),
    /// Nothing of the target is worth tracking.
    #[error("find memory to record in process {pid}: {hint}")]
    NoMemory {
        /// The process.
        pid: u32,
        /// What to do.
        hint: &'static str,
    },
    /// The target ended before there was anything to write.
    #[error("record process {pid}: it ended before its first epoch was closed; use a shorter --epoch")]
    EndedEarly {
        /// The process.
        pid: u32,
    },
    /// The trace could not be written.
    #[error(transparent)]
    Write(#[from] pagesieve_traces::WriteError),
    /// A facility of this machine failed.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The cause.
        error: io::Error,
    },
}
