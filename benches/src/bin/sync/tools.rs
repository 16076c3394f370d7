//! The tools that bring the old image up to date.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::image::Image;

/// A way to go about it.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// What it reads of both sides, as its documentation says.
    pub(crate) reads: &'static str,
    kind: Kind,
    options: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rsync,
    RsyncDaemon,
    Ours,
    OursServe,
}

pub(crate) const TOOLS: [Tool; 7] = [
    Tool { name: "rsync, default (local: whole file)", reads: "source", kind: Kind::Rsync, options: &[] },
    Tool {
        name: "rsync --inplace --no-whole-file",
        reads: "both",
        kind: Kind::Rsync,
        options: &["--inplace", "--no-whole-file"],
    },
    Tool { name: "sync", reads: "both, and copies what did not change", kind: Kind::Ours, options: &[] },
    Tool {
        name: "sync --in-place",
        reads: "both, and what is overwritten for the journal",
        kind: Kind::Ours,
        options: &["--in-place"],
    },
    Tool {
        name: "rsync to a daemon over TCP",
        reads: "both, and copies what did not change",
        kind: Kind::RsyncDaemon,
        options: &[],
    },
    Tool { name: "rsync --inplace to a daemon over TCP", reads: "both", kind: Kind::RsyncDaemon, options: &["--inplace"] },
    Tool { name: "sync to serve over TCP", reads: "both, and copies what did not change", kind: Kind::OursServe, options: &[] },
];

/// What one run took.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// Bytes of content that were written, or went over the wire.
    pub(crate) bytes: u64,
}

/// A listener that ends with the run.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Resets the destination, runs a tool until the destination is on the disk, and checks what came out.
pub(crate) fn run(tool: usize, pagesieve: &Path, image: &Image) -> anyhow::Result<Run> {
    let Tool { kind, options, .. } = TOOLS[tool];
    let to = image.reset()?;
    let mut command =
        Command::new(if matches!(kind, Kind::Rsync | Kind::RsyncDaemon) { "rsync".as_ref() } else { pagesieve.as_os_str() });
    let _daemon = match kind {
        Kind::RsyncDaemon => {
            let (daemon, port) = rsync_daemon(image)?;
            command.arg("--stats").args(options).arg(image.path("new")).arg(format!("rsync://127.0.0.1:{port}/there/disk"));
            Some(daemon)
        }
        Kind::OursServe => {
            let (daemon, port) = serve(pagesieve, image)?;
            command.args(["sync", "--json"]).args(options).arg(image.path("new")).arg(format!("127.0.0.1:{port}/disk"));
            Some(daemon)
        }
        Kind::Rsync => {
            command.arg("--stats").args(options).arg(image.path("new")).arg(&to);
            None
        }
        Kind::Ours => {
            command.args(["sync", "--json"]).args(options).arg(image.path("new")).arg(&to);
            None
        }
    };
    let began = Instant::now();
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    // Ours has synchronised its file; rsync has not.
    rustix::fs::sync();
    let seconds = began.elapsed().as_secs_f64();
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    image.check()?;
    let text = String::from_utf8(done.stdout)?;
    let bytes = match kind {
        Kind::Rsync => rsync_figure(&text, "Literal data: ")?,
        Kind::RsyncDaemon => rsync_figure(&text, "Total bytes sent: ")? + rsync_figure(&text, "Total bytes received: ")?,
        Kind::Ours => figure(&text, "bytes_written")?,
        Kind::OursServe => figure(&text, "bytes_wire")?,
    };
    Ok(Run { seconds, bytes })
}

fn figure(text: &str, name: &str) -> anyhow::Result<u64> {
    let document: Value = serde_json::from_str(text)?;
    document[name].as_u64().with_context(|| format!("no {name} in {document}"))
}

/// A figure of `rsync --stats`, which groups digits by commas.
fn rsync_figure(text: &str, name: &str) -> anyhow::Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name:?} in {text}"))?;
    let digits: String = line.chars().take_while(|&sign| sign != ' ').filter(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

fn serve(pagesieve: &Path, image: &Image) -> anyhow::Result<(Daemon, u16)> {
    let mut command = Command::new(pagesieve);
    command.args(["serve", "--listen", "127.0.0.1:0", "--dir"]).arg(image.path("there"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    let daemon = Daemon(child);
    Ok((daemon, line.trim().rsplit(':').next().and_then(|port| port.parse().ok()).context("its port")?))
}

fn rsync_daemon(image: &Image) -> anyhow::Result<(Daemon, u16)> {
    let config = image.path("rsyncd.conf");
    let there = image.path("there");
    std::fs::write(&config, format!("use chroot = no\n[there]\npath = {}\nread only = no\nuid = 0\ngid = 0\n", there.display()))?;
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new("rsync");
    command.args(["--daemon", "--no-detach", "--address", "127.0.0.1", "--port", &port.to_string(), "--config"]).arg(&config);
    let daemon = Daemon(command.stdin(Stdio::null()).spawn().context("start rsync")?);
    for _ in 0..100 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Ok((daemon, port))
}
