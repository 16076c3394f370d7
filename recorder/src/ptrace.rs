//! Stopping every thread of the target, and making one of them issue a single system call.
//!
//! Threads are seized and interrupted, never signalled: their parent does not see a stop, and a thread that sits in a system
//! call restarts it when it is let go. (A few calls report `EINTR` instead, as they do after SIGSTOP: `epoll_wait`,
//! `io_getevents`.) If we die, the kernel lets all threads go by itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// How long a thread may take to stop. A thread in uninterruptible sleep stops when its I/O is done.
const PATIENCE: Duration = Duration::from_secs(2);

/// All threads of a process, seen stopped. Dropping it lets them go on.
pub(crate) struct Stopped {
    threads: BTreeMap<i32, Thread>,
}

#[derive(Default)]
struct Thread {
    stopped: bool,
    /// The stop was one of job control or of ours, and no instruction was executed for it.
    event: bool,
    /// A signal that was on its way when the thread stopped; it is delivered when the thread goes on.
    signal: i32,
}

impl Stopped {
    /// Stops every thread of a process.
    ///
    /// # Errors
    /// `EPERM` if it may not be traced (or is traced already), `ESRCH` if it is gone, `TimedOut` if a thread did not stop;
    /// in each case all threads go on.
    pub(crate) fn all(pid: u32) -> io::Result<Self> {
        let mut stopped = Self { threads: BTreeMap::new() };
        // A thread that still runs can start another, so look until there is no new one.
        while stopped.seize_new(pid)? {
            stopped.wait()?;
        }
        if stopped.threads.is_empty() { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(stopped) }
    }

    fn seize_new(&mut self, pid: u32) -> io::Result<bool> {
        let mut found = false;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        for task in tasks.flatten() {
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if self.threads.contains_key(&tid) {
                continue;
            }
            match request(libc::PTRACE_SEIZE, tid, 0, 0).and_then(|()| request(libc::PTRACE_INTERRUPT, tid, 0, 0)) {
                Ok(()) => {}
                // It ended in the meantime, or is a zombie: it writes nothing any more.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) || is_dead(pid, tid) => continue,
                Err(error) => return Err(error),
            }
            self.threads.insert(tid, Thread::default());
            found = true;
        }
        Ok(found)
    }

    fn wait(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut nap = Duration::from_micros(20);
        loop {
            self.threads.retain(|&tid, thread| thread.stopped || thread.poll(tid));
            if self.threads.values().all(|thread| thread.stopped) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a thread of the target did not stop"));
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(1));
        }
    }

    /// Makes one stopped thread issue a system call and returns its result.
    ///
    /// # Errors
    /// The call's own error, or that of steering the thread.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn inject(&mut self, syscall_at: u64, number: libc::c_long, args: [u64; 3]) -> io::Result<u64> {
        let (&tid, thread) = self.threads.iter_mut().next().ok_or(io::ErrorKind::NotFound)?;
        let saved = registers(tid)?;
        let mut call = saved;
        call.rip = syscall_at;
        call.rax = number as u64;
        // No system call is being left: otherwise the kernel would "restart" ours.
        call.orig_rax = u64::MAX;
        (call.rdi, call.rsi, call.rdx) = (args[0], args[1], args[2]);
        set_registers(tid, &call)?;
        let stepped = thread.step(tid).and_then(|()| registers(tid));
        set_registers(tid, &restarted(saved))?;
        let result = stepped?.rax as i64;
        if result < 0 { Err(io::Error::from_raw_os_error(-result as i32)) } else { Ok(result as u64) }
    }

    /// Lets the seccomp filter of the first thread pass our system call (needs `CAP_SYS_ADMIN`).
    pub(crate) fn suspend_seccomp(&self) -> io::Result<()> {
        const PTRACE_O_SUSPEND_SECCOMP: usize = 1 << 21;
        let tid = *self.threads.keys().next().ok_or(io::ErrorKind::NotFound)?;
        request(libc::PTRACE_SETOPTIONS, tid, 0, PTRACE_O_SUSPEND_SECCOMP)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for (&tid, thread) in &mut self.threads {
            // A thread that has not stopped yet cannot be detached: wait for it, or the process would stay half traced.
            // A thread that dies meanwhile ends the wait.
            let mut waits = 0;
            while !thread.stopped && thread.poll(tid) && waits < 5000 {
                std::thread::sleep(Duration::from_millis(1));
                waits += 1;
            }
            let _ = request(libc::PTRACE_DETACH, tid, 0, thread.signal as usize);
        }
    }
}

impl Thread {
    /// Looks whether the thread has stopped. Returns false if it ended.
    fn poll(&mut self, tid: i32) -> bool {
        let mut status = 0;
        // SAFETY: waitpid writes one status; the thread is our tracee, so nothing else is reaped.
        match unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            0 => true,
            got if got == tid && libc::WIFSTOPPED(status) => {
                self.stopped = true;
                self.event = status >> 16 != 0;
                let signal = libc::WSTOPSIG(status);
                if !self.event && signal != libc::SIGTRAP {
                    self.signal = signal;
                }
                true
            }
            got if got == tid => false,
            _ => io::Error::last_os_error().kind() == io::ErrorKind::Interrupted,
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn step(&mut self, tid: i32) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            request(libc::PTRACE_SINGLESTEP, tid, 0, 0)?;
            self.stopped = false;
            let pending = std::mem::take(&mut self.signal);
            while !self.stopped {
                if !self.poll(tid) {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
                if Instant::now() > deadline {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                std::hint::spin_loop();
            }
            // A signal that came first is kept for later, and the step tried again. A process that is stopped by job control
            // stops once more before it executes anything.
            let came_first = self.signal != 0 || self.event;
            if pending != 0 {
                self.signal = pending;
            }
            if !came_first {
                return Ok(());
            }
        }
    }
}

/// The registers to go on with: a thread that was interrupted inside a system call issues it again, as the kernel would have
/// had it done without our own call in between.
#[cfg(target_arch = "x86_64")]
fn restarted(mut saved: libc::user_regs_struct) -> libc::user_regs_struct {
    const ERESTARTSYS: i64 = -512;
    const ERESTARTNOINTR: i64 = -513;
    const ERESTARTNOHAND: i64 = -514;
    const ERESTART_RESTARTBLOCK: i64 = -516;
    const SYSCALL_LENGTH: u64 = 2;
    if saved.orig_rax as i64 >= 0 {
        let again = match saved.rax as i64 {
            ERESTARTSYS | ERESTARTNOINTR | ERESTARTNOHAND => Some(saved.orig_rax),
            ERESTART_RESTARTBLOCK => Some(libc::SYS_restart_syscall as u64),
            _ => None,
        };
        if let Some(number) = again {
            saved.rax = number;
            saved.rip -= SYSCALL_LENGTH;
            saved.orig_rax = u64::MAX;
        }
    }
    saved
}

#[cfg(target_arch = "x86_64")]
fn registers(tid: i32) -> io::Result<libc::user_regs_struct> {
    let mut regs = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
    request(libc::PTRACE_GETREGS, tid, 0, regs.as_mut_ptr() as usize)?;
    // SAFETY: zeroed is a valid value, and the kernel has filled it.
    Ok(unsafe { regs.assume_init() })
}

#[cfg(target_arch = "x86_64")]
fn set_registers(tid: i32, regs: &libc::user_regs_struct) -> io::Result<()> {
    request(libc::PTRACE_SETREGS, tid, 0, std::ptr::from_ref(regs) as usize)
}

fn request(what: libc::c_uint, tid: i32, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: of the requests used here only GETREGS writes memory of ours, to a buffer that its caller owns.
    let done = unsafe { libc::ptrace(what, tid, addr as *mut libc::c_void, data as *mut libc::c_void) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn is_dead(pid: u32, tid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
