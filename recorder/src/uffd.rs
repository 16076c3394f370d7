//! A userfaultfd of the observed process, held by us: it write-protects the process's memory asynchronously, which means that
//! the kernel resolves the fault by itself and only remembers the write.
//!
//! When our descriptor closes, however that happens, the kernel unregisters every range and the process goes on untouched.

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Only faults of user mode: what a kernel allows to those without privilege. Asynchronous write protection still sees writes
/// made in kernel mode.
pub(crate) const USER_MODE_ONLY: u64 = 1;
pub(crate) const OPEN_FLAGS: u64 = (libc::O_CLOEXEC | libc::O_NONBLOCK) as u64;

const API: u64 = 0xaa;
const IOCTL_API: libc::c_ulong = 0xc018_aa3f;
const IOCTL_REGISTER: libc::c_ulong = 0xc020_aa00;
const REGISTER_MODE_WP: u64 = 1 << 1;

/// Hugetlbfs and shmem too, pages not yet populated too (a write-protect that skips them would miss their first write), and
/// faults resolved by the kernel.
const FEATURES: u64 = 1 << 12 | 1 << 13 | 1 << 15;

#[repr(C)]
struct ApiArg {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct RegisterArg {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// A userfaultfd, enabled for asynchronous write protection.
#[derive(Debug)]
pub(crate) struct Uffd(OwnedFd);

impl Uffd {
    /// Enables a descriptor that was just opened, by us or by the process that owns it.
    pub(crate) fn enable(fd: OwnedFd) -> io::Result<Self> {
        let mut arg = ApiArg { api: API, features: FEATURES, ioctls: 0 };
        // SAFETY: UFFDIO_API reads and writes one `uffdio_api`, whose layout `ApiArg` has.
        if unsafe { libc::ioctl(fd.as_raw_fd(), IOCTL_API, &raw mut arg) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(fd))
    }

    /// Registers a page-aligned range of one or more mappings, all of the owner's address space. Registering twice is fine.
    pub(crate) fn register(&self, range: Range<u64>) -> io::Result<()> {
        let mut arg = RegisterArg { start: range.start, len: range.end - range.start, mode: REGISTER_MODE_WP, ioctls: 0 };
        // SAFETY: UFFDIO_REGISTER reads and writes one `uffdio_register`, whose layout `RegisterArg` has; it changes no memory.
        if unsafe { libc::ioctl(self.0.as_raw_fd(), IOCTL_REGISTER, &raw mut arg) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Which faults a userfaultfd may handle. Asynchronous write protection works with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All.
    Full,
    /// Those of user mode only.
    UserOnly,
}

/// Opens a userfaultfd of our own address space, not yet enabled: full if that is allowed, for user mode only if not.
pub(crate) fn open_own() -> io::Result<(OwnedFd, Mode)> {
    let full = open(OPEN_FLAGS).map(|fd| (fd, Mode::Full));
    full.or_else(|_| Ok((open(OPEN_FLAGS | USER_MODE_ONLY)?, Mode::UserOnly)))
}

fn open(flags: u64) -> io::Result<OwnedFd> {
    // SAFETY: userfaultfd takes flags only.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
