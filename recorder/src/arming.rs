//! Ways to get a userfaultfd that belongs to the target's address space.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::maps;
use crate::ptrace::Stopped;
use crate::uffd::{OPEN_FLAGS, USER_MODE_ONLY, Uffd};

/// Environment variable that tells a command started by `record` the descriptor of a socket on which it may hand over a
/// userfaultfd of its own. A command that does not know it is armed by `ptrace` instead.
pub const HANDOVER_VARIABLE: &str = "PAGESIEVE_UFFD_SOCKET";

/// How long a command may take to say that it will hand over a descriptor. One that knows nothing of it loses this time.
const HELLO_PATIENCE: Duration = Duration::from_millis(50);
/// How long it may then take to get ready, such as to fill its memory.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// How the target's memory was armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The target gave us its descriptor.
    Handover,
    /// One `userfaultfd` call was injected by ptrace.
    Ptrace,
    /// The same, limited to faults of user mode.
    PtraceUserMode,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Handover => "handover",
            Way::Ptrace => "ptrace",
            Way::PtraceUserMode => "ptrace, user-mode faults only",
        })
    }
}

/// Waits for the target to hand over its descriptor: first a message that names the sender, then, when the target is ready to
/// be observed, a second one with the descriptor.
///
/// # Errors
/// `WouldBlock` if it does not, `UnexpectedEof` if it has closed the socket, `InvalidData` if another process (such as a
/// child of the target) answered.
fn receive(socket: &UnixStream, pid: u32) -> io::Result<Uffd> {
    receive_message(socket, pid, HELLO_PATIENCE)?;
    let fd = receive_message(socket, pid, READY_PATIENCE)?;
    Uffd::enable(fd.ok_or(io::ErrorKind::UnexpectedEof)?)
}

/// Waits until a command that we started is ready to be observed, or has shown that it knows nothing of this.
pub(crate) fn wait_until_ready(socket: &UnixStream, pid: u32) {
    if receive_message(socket, pid, HELLO_PATIENCE).is_ok() {
        // Whatever comes is a sign of readiness; a descriptor that is not enabled changes nothing when it is closed.
        let _ = receive_message(socket, pid, READY_PATIENCE);
    }
}

fn receive_message(socket: &UnixStream, pid: u32, patience: Duration) -> io::Result<Option<OwnedFd>> {
    socket.set_read_timeout(Some(patience))?;
    let mut sender = [0; 4];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [io::IoSliceMut::new(&mut sender)];
    let got = rustix::net::recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if got.bytes != sender.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if u32::from_le_bytes(sender) != pid {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    }))
}

/// The target's side of the handover.
pub struct Handover(OwnedFd);

impl Handover {
    /// Tells `record`, if this process was started by it, that a descriptor will follow.
    ///
    /// # Errors
    /// That of the socket. The program can go on: it will be armed another way.
    pub fn announce() -> io::Result<Option<Self>> {
        let Some(number) = std::env::var(HANDOVER_VARIABLE).ok().and_then(|text| text.parse::<RawFd>().ok()) else {
            return Ok(None);
        };
        // SAFETY: the variable names a descriptor that was made for this purpose and passed to us; nothing else in this
        // process knows it. Were it anything but a socket, the send fails.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        rustix::net::send(&socket, &std::process::id().to_le_bytes(), SendFlags::NOSIGNAL)?;
        Ok(Some(Self(socket)))
    }

    /// Hands over a userfaultfd of this process: it may be observed from here on.
    ///
    /// # Errors
    /// That of opening or sending the descriptor.
    pub fn ready(self) -> io::Result<()> {
        let (uffd, _) = crate::uffd::open_own()?;
        let fds = [uffd.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let sender = std::process::id().to_le_bytes();
        rustix::net::sendmsg(&self.0, &[io::IoSlice::new(&sender)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// Gets a userfaultfd of the target: from its own hand if it has the socket and uses it, by injection otherwise.
pub(crate) fn acquire(pid: u32, socket: Option<&UnixStream>) -> Result<(Uffd, Way), InjectError> {
    match socket.map(|socket| receive(socket, pid)) {
        Some(Ok(uffd)) => {
            tracing::info!(pid, "memory is armed by a userfaultfd that the target has handed over");
            return Ok((uffd, Way::Handover));
        }
        Some(Err(error)) => tracing::info!(pid, %error, "the target hands over no userfaultfd; one is injected"),
        None => tracing::debug!(pid, "a userfaultfd is injected"),
    }
    let (uffd, way) = inject(pid, None)?;
    tracing::info!(pid, %way, "memory is armed by a userfaultfd that was injected");
    Ok((uffd, way))
}

/// Why no userfaultfd could be injected.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// The process may not be traced.
    #[error("trace process {pid}: {error}; run as root, or as the user that owns it and with kernel.yama.ptrace_scope=0")]
    Trace {
        /// The process.
        pid: u32,
        /// The cause.
        error: io::Error,
    },
    /// A seccomp filter is in force and could kill the process.
    #[error("inject a system call into process {pid}: its seccomp filter cannot be suspended ({error}); run as root")]
    Seccomp {
        /// The process.
        pid: u32,
        /// The cause.
        error: io::Error,
    },
    /// The kernel refuses userfaultfd.
    #[error("open a userfaultfd in process {pid}: {error}; `pagesieve doctor` tells what this kernel lacks")]
    Refused {
        /// The process.
        pid: u32,
        /// The cause.
        error: io::Error,
    },
    /// The descriptor could not be taken over or enabled.
    #[error("take over the userfaultfd of process {pid}: {error}; it needs Linux 6.7 or newer")]
    TakeOver {
        /// The process.
        pid: u32,
        /// The cause.
        error: io::Error,
    },
}

/// Makes the target, which may be stopped already, open a userfaultfd, takes it over, and closes the target's own descriptor: after that only ours keeps the
/// memory armed.
#[cfg(target_arch = "x86_64")]
pub(crate) fn inject(pid: u32, stopped: Option<&mut Stopped>) -> Result<(Uffd, Way), InjectError> {
    let mut own = None;
    let stopped = match stopped {
        Some(stopped) => stopped,
        None => own.insert(Stopped::all(pid).map_err(|error| InjectError::Trace { pid, error })?),
    };
    if has_seccomp(pid) {
        stopped.suspend_seccomp().map_err(|error| InjectError::Seccomp { pid, error })?;
    }
    let at = syscall_instruction(pid).map_err(|error| InjectError::Trace { pid, error })?;
    let mut open = |flags| stopped.inject(at, libc::SYS_userfaultfd, [flags, 0, 0]);
    let (number, way) = match open(OPEN_FLAGS) {
        Ok(number) => (number, Way::Ptrace),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            let number = open(OPEN_FLAGS | USER_MODE_ONLY).map_err(|error| InjectError::Refused { pid, error })?;
            (number, Way::PtraceUserMode)
        }
        Err(error) => return Err(InjectError::Refused { pid, error }),
    };
    let taken = crate::process::take_descriptor(pid, number as RawFd);
    let closed = stopped.inject(at, libc::SYS_close, [number, 0, 0]);
    drop(own);
    taken
        .and_then(|fd| closed.map(|_| fd))
        .and_then(Uffd::enable)
        .map(|uffd| (uffd, way))
        .map_err(|error| InjectError::TakeOver { pid, error })
}

/// Injection steers registers and is written for x86-64 only.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn inject(pid: u32, _stopped: Option<&mut Stopped>) -> Result<(Uffd, Way), InjectError> {
    Err(InjectError::Refused { pid, error: io::ErrorKind::Unsupported.into() })
}

fn has_seccomp(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() != "0"))
}

/// Finds a `syscall` instruction in the target's vdso, which every process maps.
fn syscall_instruction(pid: u32) -> io::Result<u64> {
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let vdso = maps::read(pid)?.into_iter().find(|mapping| mapping.name == "[vdso]").ok_or(io::ErrorKind::NotFound)?;
    let mut code = vec![0; vdso.len() as usize];
    crate::process::read_memory(pid, vdso.start, &mut code)?;
    let at = code.windows(2).position(|pair| pair == SYSCALL).ok_or(io::ErrorKind::NotFound)?;
    Ok(vdso.start + at as u64)
}
