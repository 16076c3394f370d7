//! The process that is observed: one that runs already, or one that we start.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pagesieve_traces::{Happening, Machine};
use rustix::event::{PollFd, PollFlags, poll};

use crate::arming::HANDOVER_VARIABLE;
use crate::error::RecordError;
use crate::qemu::Guest;
use crate::{maps, process};

/// What to observe.
#[derive(Clone, Debug)]
pub enum TargetSpec {
    /// A process that runs already. It is left running when the recording ends. If it is a QEMU, its guest is recorded.
    Pid(u32),
    /// The guest behind the QMP socket of a QEMU that runs already.
    Guest {
        /// The socket.
        qmp: PathBuf,
        /// Its process, where the socket does not tell (libvirt listens on behalf of QEMU).
        pid: Option<u32>,
    },
    /// A command and its arguments. It is started for the recording and ended with it (SIGTERM).
    Command(Vec<OsString>),
}

/// Where the output of a command that we start goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CommandOutput {
    /// To ours.
    #[default]
    Inherit,
    /// To our standard error: ours is for a result.
    ToStderr,
    /// What it prints as its result goes nowhere.
    Discard,
    /// Nothing of it goes anywhere, and it has no input: the terminal is ours.
    Detach,
}

/// A process under observation.
pub(crate) struct Target {
    pub(crate) pid: u32,
    pub(crate) command: String,
    pidfd: OwnedFd,
    child: Option<Child>,
    /// Our end of the socket on which a command may hand over a userfaultfd.
    pub(crate) socket: Option<UnixStream>,
    /// The virtual machine in it, if it is to be recorded as one.
    pub(crate) guest: Option<Guest>,
    /// Why a QEMU is recorded like any other process.
    pub(crate) no_guest: Option<String>,
}

impl Target {
    /// Starts or finds the process. With `whole` it is recorded as a process even if a guest runs in it.
    pub(crate) fn start(spec: &TargetSpec, whole: bool, output: CommandOutput) -> Result<Self, RecordError> {
        match spec {
            TargetSpec::Pid(pid) => {
                let mut target = Self::attach(*pid)?;
                match Guest::of_process(*pid).filter(|_| !whole) {
                    Some(Ok(guest)) => target.guest = Some(guest),
                    Some(Err(reason)) => target.no_guest = Some(reason),
                    None => {}
                }
                Ok(target)
            }
            TargetSpec::Guest { qmp, pid } => Self::attach_guest(qmp, *pid),
            TargetSpec::Command(words) => Self::spawn(words, output),
        }
    }

    fn attach_guest(socket: &Path, pid: Option<u32>) -> Result<Self, RecordError> {
        let (guest, peer) = Guest::by_monitor(socket)?;
        let pid = pid.or(peer).ok_or(RecordError::NoPeer)?;
        let mut target = Self::attach(pid)?;
        let mappings = maps::read(pid).unwrap_or_default();
        if !guest.lives_in(&mappings) {
            return Err(RecordError::OtherGuest { pid });
        }
        match guest.untrackable(&mappings) {
            0 => {}
            bytes => return Err(RecordError::GuestMemory { mib: bytes.div_ceil(1 << 20) }),
        }
        target.guest = Some(guest);
        Ok(target)
    }

    fn attach(pid: u32) -> Result<Self, RecordError> {
        let pidfd = process::open(pid).map_err(|_| RecordError::NoProcess { pid })?;
        if !process::is_alive(pid) {
            return Err(RecordError::NoProcess { pid });
        }
        if pid == std::process::id() {
            return Err(RecordError::Ourselves);
        }
        fs::File::open(format!("/proc/{pid}/pagemap"))
            .and_then(|_| fs::read(format!("/proc/{pid}/maps")))
            .map_err(|error| RecordError::NoAccess { pid, error })?;
        Ok(Self { pid, command: process::command_line(pid), pidfd, child: None, socket: None, guest: None, no_guest: None })
    }

    fn spawn(words: &[OsString], output: CommandOutput) -> Result<Self, RecordError> {
        let (program, arguments) = words.split_first().ok_or(RecordError::NoCommand)?;
        let failed = |error| RecordError::Spawn { command: program.to_string_lossy().into_owned(), error };
        let stdout = match output {
            CommandOutput::Inherit => Stdio::inherit(),
            CommandOutput::ToStderr => io::stderr().as_fd().try_clone_to_owned().map_err(failed)?.into(),
            CommandOutput::Discard | CommandOutput::Detach => Stdio::null(),
        };
        let (stdin, stderr) = match output {
            CommandOutput::Detach => (Stdio::null(), Stdio::null()),
            _ => (Stdio::inherit(), Stdio::inherit()),
        };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        // The command inherits its end; ours closes on exec, as all descriptors of the standard library do.
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).map_err(|error| failed(error.into()))?;
        let child = Command::new(program)
            .args(arguments)
            .env(HANDOVER_VARIABLE, theirs.as_raw_fd().to_string())
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(failed)?;
        let pid = child.id();
        let pidfd = process::open(pid).map_err(failed)?;
        let command = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        Ok(Self { pid, command, pidfd, child: Some(child), socket: Some(ours), guest: None, no_guest: None })
    }

    /// Waits until the process ends, at most `timeout`. Returns true if it has ended.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let timeout = rustix::time::Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // A signal (Ctrl-C) ends the wait early, which is what the caller wants.
        poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// True once the process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// How it ended: known in full only of a command that we started.
    pub(crate) fn ending(&mut self) -> Happening {
        let status = self.child.as_mut().and_then(|child| child.wait().ok());
        Happening::Ended { status: status.and_then(|status| status.code()), signal: status.and_then(|status| status.signal()) }
    }
}

impl Drop for Target {
    /// Ends a command that we started, and never a process that ran before.
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::TERM);
        let patience = rustix::time::Timespec { tv_sec: 5, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&patience)).unwrap_or(0) == 0 {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
}

/// Facts about this machine for the header of a trace.
#[must_use]
pub fn machine() -> Machine {
    let uname = rustix::system::uname();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    Machine {
        cpu: model.trim_start_matches([' ', '\t', ':']).to_owned(),
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u32),
        memory: kib.unwrap_or(0u64) * 1024,
        kernel: uname.release().to_string_lossy().into_owned(),
        arch: uname.machine().to_string_lossy().into_owned(),
    }
}

/// Why a descriptor-level operation on a process failed, for messages.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH) | Some(libc::ENOENT))
}

/// The error for something of a process that could not be opened.
pub(crate) fn no_access(pid: u32, error: io::Error) -> RecordError {
    if is_gone(&error) { RecordError::EndedEarly { pid } } else { RecordError::NoAccess { pid, error } }
}
