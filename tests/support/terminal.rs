//! A pseudo terminal with a command on it.
#![allow(dead_code, unreachable_pub, reason = "every user uses another part")]

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, Winsize};

/// What a display does first, and what gives the terminal back.
pub const ALTERNATE: &str = "\x1b[?1049h";
pub const BACK: &str = "\x1b[?1049l";
pub const SHOW_CURSOR: &str = "\x1b[?25h";

/// A terminal, and the command that has it as its controlling one.
pub struct Terminal {
    ours: OwnedFd,
    /// Kept open, so that what is set can still be asked for when the command has ended.
    theirs: OwnedFd,
    child: Child,
    output: Vec<u8>,
}

impl Terminal {
    /// Starts a command on a terminal of this size. It is its own session, as setsid(1) of util-linux makes it; the process is the
    /// command's own.
    pub fn start(command: &[&str], environment: &[(&str, &str)], (rows, columns): (u16, u16)) -> Self {
        let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
        rustix::pty::grantpt(&ours).and_then(|()| rustix::pty::unlockpt(&ours)).expect("it can be used");
        let name = rustix::pty::ptsname(&ours, Vec::new()).expect("it has a name");
        let theirs = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it can be opened");
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&theirs, size).expect("it has a size");
        rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK).expect("it can be read without waiting");
        let end = || Stdio::from(theirs.try_clone().expect("one more descriptor"));
        let mut setsid = Command::new("setsid");
        setsid.arg("--ctty").args(command).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = setsid.envs(environment.iter().copied()).stdin(end()).stdout(end()).stderr(end()).spawn();
        Self { ours, child: child.expect("setsid starts"), theirs, output: Vec::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the command has written this.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !self.output().contains(what) {
            assert!(Instant::now() < limit, "no {what:?} in {:?}", self.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until this is on the screen.
    #[track_caller]
    pub fn wait_to_see(&mut self, what: &str) {
        let limit = Instant::now() + Duration::from_secs(60);
        while !self.screen().contains(what) {
            assert!(Instant::now() < limit, "no {what:?} on the screen:\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is on the screen now.
    pub fn screen(&mut self) -> String {
        self.output();
        let size = rustix::termios::tcgetwinsize(&self.theirs).expect("it has a size");
        let side = |length: u16| length.try_into().expect("it is not empty");
        let mut emulator = vt100::Parser::new(side(size.ws_row), side(size.ws_col), 0);
        emulator.process(&self.output);
        emulator.screen().contents()
    }

    pub fn press(&self, keys: &str) {
        assert_eq!(rustix::io::write(&self.ours, keys.as_bytes()), Ok(keys.len()));
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).expect("a process has a pid");
        rustix::process::kill_process(pid, signal).expect("it is there, if only to be waited for");
    }

    /// What was written so far.
    pub fn output(&mut self) -> String {
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = rustix::io::read(&self.ours, &mut piece) {
            self.output.extend_from_slice(&piece[..read]);
        }
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// Waits until the command ends, and returns how, with all that it has written.
    #[track_caller]
    pub fn end(&mut self) -> (ExitStatus, String) {
        let limit = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.output();
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return (status, output + &self.rest());
            }
            assert!(Instant::now() < limit, "it does not end: {output:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn rest(&mut self) -> String {
        self.output.clear();
        self.output()
    }

    /// True if the terminal shows what is typed and sends whole lines, as a shell finds it.
    pub fn is_cooked(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.theirs).expect("it is a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// The terminal was taken over, and is now as it was before.
    #[track_caller]
    pub fn assert_given_back(&self, output: &str) {
        assert!(output.contains(ALTERNATE), "it was never taken: {output:?}");
        assert_eq!(output.matches(ALTERNATE).count(), output.matches(BACK).count(), "{output:?}");
        assert!(output.rfind(BACK) > output.rfind(ALTERNATE), "{output:?}");
        assert!(output.rfind(SHOW_CURSOR) > output.rfind("\x1b[?25l"), "the cursor stays hidden: {output:?}");
        assert!(self.is_cooked());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// True if there is a setsid that can give a session a terminal; otherwise the test is skipped by name.
pub fn has_setsid(test: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| Path::new(&dir).join("setsid").exists());
    if !found {
        pagesieve_ebpf::testing::skipped(test, "there is no setsid; install util-linux");
    }
    found
}
