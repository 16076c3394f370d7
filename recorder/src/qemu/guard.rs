//! Lets a guest go on if we die while it is stopped.
//!
//! A stop over QMP outlives the one who asked for it. So a small process of its own waits on a pipe that only we hold open. When the
//! pipe breaks and the last word on it was that the guest is stopped, it connects to the monitor and says `cont`.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is written into the pipe.
const STOPPED: u8 = b's';
const RUNNING: u8 = b'r';

/// Both commands at once: QEMU answers in order.
const RESUME: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n";

/// How often the guard tries to connect, a tenth of a second apart: QEMU must first notice that we have gone.
const ATTEMPTS: u32 = 100;

/// The process at work. Dropping it ends the process.
pub(crate) struct Guard {
    pipe: Option<io::PipeWriter>,
    child: libc::pid_t,
}

impl Guard {
    /// Starts the process for this socket.
    pub(crate) fn start(socket: &Path) -> io::Result<Self> {
        let address = address(&std::path::absolute(socket)?)?;
        let (reader, writer) = io::pipe()?;
        // SAFETY: the child calls nothing but `watch`, which makes system calls only: no allocation and no lock, which another
        // thread could have held while it was forked.
        let child = unsafe { libc::fork() };
        match child {
            -1 => Err(io::Error::last_os_error()),
            0 => watch(reader.as_raw_fd(), &address),
            child => Ok(Self { pipe: Some(writer), child }),
        }
    }

    /// The guest is about to be stopped.
    pub(crate) fn stopping(&mut self) -> io::Result<()> {
        self.tell(STOPPED)
    }

    /// The guest goes on.
    pub(crate) fn resumed(&mut self) -> io::Result<()> {
        self.tell(RUNNING)
    }

    fn tell(&mut self, word: u8) -> io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| pipe.write_all(&[word]))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The broken pipe ends it.
        self.pipe = None;
        let mut status = 0;
        // SAFETY: waitpid writes one status; the child is ours and nobody else waits for it.
        unsafe { libc::waitpid(self.child, &raw mut status, 0) };
    }
}

fn address(socket: &Path) -> io::Result<libc::sockaddr_un> {
    let path = socket.as_os_str().as_bytes();
    // SAFETY: a `sockaddr_un` of zeros is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if path.len() >= address.sun_path.len() {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, &from) in address.sun_path.iter_mut().zip(path) {
        *to = from as libc::c_char;
    }
    Ok(address)
}

/// The guard's whole life. It may call nothing that allocates.
fn watch(pipe: RawFd, address: &libc::sockaddr_un) -> ! {
    /// The pipe's place among the descriptors, above those that every process has.
    const PIPE: RawFd = 3;
    // SAFETY: system calls on numbers and on memory of our own; all descriptors but the pipe are closed, ours being copies.
    unsafe {
        // Of its own session, so that Ctrl-C at our terminal does not end it; and deaf, as whoever ends a whole service (systemd)
        // signals the guard as well, while we may have the guest stopped.
        libc::setsid();
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        libc::dup2(pipe, PIPE);
        for number in 0..PIPE {
            libc::close(number);
        }
        libc::syscall(libc::SYS_close_range, PIPE + 1, libc::c_uint::MAX, 0);
        let mut last = RUNNING;
        while libc::read(PIPE, (&raw mut last).cast(), 1) == 1 {}
        if last == STOPPED {
            let _ = (0..ATTEMPTS).any(|_| resume(address) || libc::usleep(100_000) != 0);
        }
        libc::_exit(0)
    }
}

/// Says `cont`, if the monitor greets. True if QEMU has answered.
///
/// # Safety
/// None is needed beyond that of its system calls; it allocates nothing.
unsafe fn resume(address: &libc::sockaddr_un) -> bool {
    let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    let patience = libc::timeval { tv_sec: 1, tv_usec: 0 };
    let mut answer = [0_u8; 4096];
    // SAFETY: every pointer is to a local of the length that is given with it.
    unsafe {
        let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        let time = (&raw const patience).cast();
        libc::setsockopt(socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, time, size_of::<libc::timeval>() as libc::socklen_t);
        let greeted = libc::connect(socket, std::ptr::from_ref(address).cast(), length) == 0
            && libc::read(socket, answer.as_mut_ptr().cast(), answer.len()) > 0;
        let done = greeted
            && libc::write(socket, RESUME.as_ptr().cast(), RESUME.len()) == RESUME.len() as isize
            && libc::read(socket, answer.as_mut_ptr().cast(), answer.len()) > 0
            // The second answer may come with the first; if not, it is waited for. Closing too early would cut the command off.
            && { libc::usleep(200_000); true };
        libc::close(socket);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;

    /// What the guard says to a monitor after these words; nothing if it does not come.
    fn said(words: &[u8]) -> Vec<String> {
        said_after(words, |_| ())
    }

    /// As `said`, if something else happens after the words.
    fn said_after(words: &[u8], also: impl FnOnce(&Guard)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        let listener = UnixListener::bind(&path).unwrap();
        let mut guard = Guard::start(&path).unwrap();
        words.iter().for_each(|&word| guard.tell(word).unwrap());
        also(&guard);
        let ended = std::thread::spawn(move || drop(guard));
        listener.set_nonblocking(true).unwrap();
        let mut lines = Vec::new();
        while !ended.is_finished() {
            let Ok((mut monitor, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            monitor.set_nonblocking(false).unwrap();
            monitor.write_all(b"{\"QMP\":{}}\n").unwrap();
            let mut commands = BufReader::new(monitor.try_clone().unwrap()).lines();
            lines.extend(commands.by_ref().take(2).map(Result::unwrap));
            monitor.write_all(b"{\"return\":{}}\n{\"return\":{}}\n").unwrap();
        }
        ended.join().unwrap();
        lines
    }

    #[test]
    fn a_stopped_guest_is_let_go_when_we_are_gone() {
        let lines = said(&[RUNNING, STOPPED]);
        assert_eq!(lines, ["{\"execute\":\"qmp_capabilities\"}", "{\"execute\":\"cont\"}"]);
    }

    #[test]
    fn a_signal_does_not_end_it() {
        let signalled = said_after(&[STOPPED], |guard| {
            // It takes a moment to become deaf.
            let status = format!("/proc/{}/status", guard.child);
            while !std::fs::read_to_string(&status).unwrap().contains("SigBlk:\tfffffffe") {
                std::thread::sleep(Duration::from_millis(1));
            }
            // SAFETY: a signal to our own child.
            unsafe { libc::kill(guard.child, libc::SIGTERM) };
        });
        assert_eq!(signalled.len(), 2);
    }

    #[test]
    fn a_guest_that_runs_is_left_alone() {
        assert_eq!(said(&[STOPPED, RUNNING]), [""; 0]);
        assert_eq!(said(&[]), [""; 0]);
    }
}
