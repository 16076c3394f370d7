//! Why a guest could not be moved.

use std::io;
use std::time::Duration;

use super::qmp::QmpError;

/// Why a device state could not be taken or handed over.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The monitor failed.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// The guest is not stopped by us, or has no monitor.
    #[error(
        "move the guest: it is not held by its monitor, or someone has let it go on; give its QMP socket, and leave it to us once it is paused"
    )]
    NotHeld,
    /// A migration that somebody else has made.
    #[error(
        "move the guest: it stands still here because it was moved away; look where it runs, and only if it runs nowhere say `cont` to the monitor here"
    )]
    Gone,
    /// RAM that is not on a shared backend.
    #[error(
        "move the guest: its memory backend {backend} is private, so QEMU would send that RAM itself; start QEMU with share=on (memory-backend-memfd or memory-backend-file)"
    )]
    PrivateRam {
        /// Name of the backend.
        backend: String,
    },
    /// RAM whose file is not at hand.
    #[error(
        "write the RAM of the destination: the file behind its memory backend {backend} cannot be opened; run this as root, on QEMU's host"
    )]
    NoFile {
        /// Name of the backend.
        backend: String,
    },
    /// A device that QEMU does not emulate alone.
    #[error(
        "move the guest: it has {device}, which writes guest memory without being tracked; take the device out, or use it without vhost"
    )]
    Device {
        /// What was found.
        device: String,
    },
    /// Something is not as it was.
    #[error("take the device state: QEMU is {status} and should be paused; pause the guest and leave it so")]
    NotPaused {
        /// QEMU's word.
        status: String,
    },
    /// QEMU gave up.
    #[error("take the device state: QEMU's migration has {status}: {reason}")]
    Failed {
        /// QEMU's word.
        status: String,
        /// Its reason.
        reason: String,
    },
    /// Too slow.
    #[error("move the device state: it took longer than {} s; see what the guest's disks and QEMU do, or allow more time", .0.as_secs_f64())]
    Timeout(Duration),
    /// Too much.
    #[error(
        "take the device state: it is larger than {0} bytes; QEMU sends RAM as well: start it with share=on for all backends"
    )]
    TooLarge(u64),
    /// The socket failed.
    #[error("move the device state through a socket: {0}")]
    Io(#[from] io::Error),
    /// A destination that does not wait for a guest.
    #[error("hand the guest over: the destination is {status}; start it with -incoming defer and leave it alone")]
    NotIncoming {
        /// QEMU's word.
        status: String,
    },
    /// A destination that has other memory.
    #[error(
        "hand the guest over: the destination has {there} and the guest has {here}; start both with the same memory and machine"
    )]
    OtherLayout {
        /// The guest's.
        here: String,
        /// The destination's.
        there: String,
    },
    /// The destination ended or gave up.
    #[error(
        "hand the guest over: the destination did not take the device state: {reason}; see its output, and start it with the same devices"
    )]
    Refused {
        /// What is known.
        reason: String,
    },
}
