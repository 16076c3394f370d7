//! Two hosts and the link between them: two network namespaces, each with one interface, and a wire that is slow, far, and loses
//! packets. TCP is the kernel's own, with all its timers.
//!
//! A QEMU without a machine in each namespace hands the interface's packets to the test, which passes them on when their time has come.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Background, scratch, text, wait_until};

/// What the link is like, in each direction.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Bits per second.
    pub rate: u64,
    /// From one end to the other, besides the time that the rate takes.
    pub delay: Duration,
    /// Of 10,000 packets so many are lost.
    pub loss: u64,
    /// Nothing arrives any more, and nobody is told.
    pub dead: bool,
}

/// Packets wait at most so long for their turn; those behind them are dropped, as a router does.
const QUEUE: Duration = Duration::from_millis(100);

/// The two hosts, numbered 0 and 1.
pub struct Link {
    hosts: [Host; 2],
    shape: Arc<Mutex<Shape>>,
    _folder: TempDir,
}

struct Host {
    /// Keeps the namespace.
    holder: Background,
    /// Has the interface open.
    _switch: Background,
}

impl Link {
    /// Makes both hosts, if that is allowed here.
    pub fn start(shape: Shape) -> Result<Self, String> {
        for tool in ["ip", "nsenter", "unshare"] {
            Command::new(tool).arg("--version").output().map_err(|_| format!("there is no {tool}"))?;
        }
        if !Path::new("/dev/net/tun").exists() {
            return Err("there is no /dev/net/tun".to_owned());
        }
        let folder = scratch();
        let ours = [0, 1].map(|number| UnixDatagram::bind(folder.path().join(format!("ours{number}"))).expect("a socket"));
        let hosts = [Host::start(0, folder.path())?, Host::start(1, folder.path())?];
        let shape = Arc::new(Mutex::new(shape));
        for (from, socket) in ours.iter().enumerate() {
            let socket = socket.try_clone().expect("a second handle");
            let (shape, to) = (Arc::clone(&shape), folder.path().join(format!("theirs{}", 1 - from)));
            // Ends when the folder has gone.
            thread::spawn(move || carry(&socket, &to, &shape, from as u64 + 1));
        }
        Ok(Self { hosts, shape, _folder: folder })
    }

    /// Changes it.
    pub fn reshape(&self, change: impl FnOnce(&mut Shape)) {
        change(&mut self.shape.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Bytes that a host has sent.
    pub fn sent(&self, host: usize) -> u64 {
        let table = self.on(host, "cat").arg("/proc/net/dev").output().expect("a table").stdout;
        let table = String::from_utf8_lossy(&table);
        let line = table.lines().find_map(|line| line.trim().strip_prefix(&format!("link{host}:"))).expect("its interface");
        line.split_whitespace().nth(8).and_then(|bytes| bytes.parse().ok()).expect("the ninth is what was sent")
    }

    /// The address of a host.
    pub fn address(host: usize) -> String {
        format!("10.137.0.{}", host + 1)
    }

    /// A command that runs on a host.
    pub fn on(&self, host: usize, program: &str) -> Command {
        on(&self.hosts[host].holder, program)
    }
}

impl Host {
    fn start(number: usize, folder: &Path) -> Result<Self, String> {
        let mut holder = Command::new("unshare");
        let mut holder = Background::spawn(holder.args(["--net", "sleep", "infinity"]).stderr(Stdio::null()));
        let own = std::fs::read_link("/proc/self/ns/net").map_err(|error| error.to_string())?;
        let space = format!("/proc/{}/ns/net", holder.pid());
        wait_until("the namespace", || !holder.is_running() || std::fs::read_link(&space).is_ok_and(|other| other != own));
        if !holder.is_running() {
            return Err("network namespaces are not allowed".to_owned());
        }
        let socket = |whose: &str, number: usize| text(&folder.join(format!("{whose}{number}"))).to_owned();
        let mut switch = on(&holder, "qemu-system-x86_64");
        switch.args(["-machine", "none", "-nodefaults", "-display", "none", "-netdev"]);
        switch.arg(format!("tap,id=tap,ifname=link{number},script=no,downscript=no")).arg("-netdev").arg(format!(
            "dgram,id=out,local.type=unix,local.path={},remote.type=unix,remote.path={}",
            socket("theirs", number),
            socket("ours", number)
        ));
        switch.args(["-netdev", "hubport,id=a,hubid=0,netdev=tap", "-netdev", "hubport,id=b,hubid=0,netdev=out"]);
        let mut switch = Background::spawn(switch.stderr(Stdio::null()));
        let interface = format!("link{number}");
        wait_until("the interface", || !switch.is_running() || ip(&holder, &["link", "show", &interface]));
        let address = format!("{}/24", Link::address(number));
        let made = switch.is_running()
            && ip(&holder, &["link", "set", "lo", "up"])
            && ip(&holder, &["address", "add", &address, "dev", &interface])
            && ip(&holder, &["link", "set", &interface, "up"]);
        if made { Ok(Self { holder, _switch: switch }) } else { Err("the interface cannot be made".to_owned()) }
    }
}

fn on(holder: &Background, program: &str) -> Command {
    let mut command = Command::new("nsenter");
    // It becomes the program, so that the child is that.
    command.arg(format!("--net=/proc/{}/ns/net", holder.pid())).arg(program);
    command
}

fn ip(holder: &Background, arguments: &[&str]) -> bool {
    on(holder, "ip").args(arguments).output().is_ok_and(|done| done.status.success())
}

/// Carries packets in one direction.
fn carry(from: &UnixDatagram, to: &PathBuf, shape: &Mutex<Shape>, mut random: u64) {
    let mut on_way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut free = Instant::now();
    let mut packet = vec![0; 1 << 16];
    while to.exists() || on_way.is_empty() {
        let next = on_way.front().map_or(Duration::from_millis(100), |(due, _)| due.saturating_duration_since(Instant::now()));
        let _ = from.set_read_timeout(Some(next.max(Duration::from_micros(100))));
        match from.recv(&mut packet) {
            Ok(length) => {
                let (now, shape) = (Instant::now(), *shape.lock().unwrap_or_else(PoisonError::into_inner));
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let lost = (random >> 33) % 10_000 < shape.loss;
                let begin = free.max(now);
                if !shape.dead && !lost && begin - now < QUEUE {
                    free = begin + Duration::from_nanos(length as u64 * 8 * 1_000_000_000 / shape.rate);
                    on_way.push_back((free + shape.delay, packet[..length].to_vec()));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        while on_way.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            if let Some((_, packet)) = on_way.pop_front() {
                // A host that is gone takes none.
                let _ = from.send_to(&packet, to);
            }
        }
    }
}
