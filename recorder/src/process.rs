//! Small system calls on another process.

use std::fs;
use std::io;
use std::os::fd::{OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

fn pid_of(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// A descriptor that names the process even if its number is used again.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    Ok(pidfd_open(pid_of(pid)?, PidfdFlags::empty())?)
}

/// Copies a descriptor out of another process.
pub(crate) fn take_descriptor(pid: u32, number: RawFd) -> io::Result<OwnedFd> {
    Ok(pidfd_getfd(open(pid)?, number, PidfdGetfdFlags::empty())?)
}

/// Reads memory of another process. All of `into` is filled, or it is an error.
pub(crate) fn read_memory(pid: u32, at: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        let rest = &mut into[done..];
        let local = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        let remote = libc::iovec { iov_base: (at + done as u64) as *mut libc::c_void, iov_len: rest.len() };
        // SAFETY: the kernel writes at most `iov_len` bytes to `rest`, which we hold mutably; the remote side is only read.
        let got = unsafe { libc::process_vm_readv(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
        match got {
            0 => return Err(io::Error::from_raw_os_error(libc::EFAULT)),
            got if got < 0 => return Err(io::Error::last_os_error()),
            got => done += got as usize,
        }
    }
    Ok(())
}

/// The program and its arguments; empty for a process without any.
pub(crate) fn arguments(pid: u32) -> Vec<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = raw.split(|&byte| byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The command line, arguments joined by spaces; the name in brackets for a process without one.
pub(crate) fn command_line(pid: u32) -> String {
    let words = arguments(pid);
    if words.is_empty() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        return format!("[{}]", name.trim());
    }
    words.join(" ")
}

/// True if the process exists and has not ended (a zombie has).
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock of all event times.
pub(crate) fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
