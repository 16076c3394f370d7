//! The ways in which the guest is moved: by pagesieve, and by QEMU itself in three manners.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use pagesieve_benches::child::Lines;
use serde_json::{Value, json};

use crate::vm::Vm;

/// The pause that both sides aim at.
const DOWNTIME_MS: u64 = 300;
/// What QEMU calls unlimited is 128 MiB a second; this is.
const UNLIMITED: u64 = 1 << 40;
/// In a network of our own, all ports are free.
const PORT: u16 = 7001;

/// Who moves the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Ours,
    Plain,
    Xbzrle,
    MultifdZstd,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::Plain, Self::Xbzrle, Self::MultifdZstd];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "pagesieve",
            Self::Plain => "QEMU, plain",
            Self::Xbzrle => "QEMU, xbzrle",
            Self::MultifdZstd => "QEMU, multifd zstd",
        }
    }
}

/// What a mover says of a move.
pub(crate) struct Moved {
    pub(crate) began: Instant,
    /// In its own account.
    pub(crate) downtime_ms: f64,
    /// What pagesieve reports.
    pub(crate) report: Value,
}

/// What moves guests, and how fast it may.
pub(crate) struct Mover<'a> {
    pub(crate) pagesieve: &'a Path,
    /// For what pagesieve keeps.
    pub(crate) folder: &'a Path,
    /// Bytes a second.
    pub(crate) limit: Option<u64>,
    /// After this time a move that goes on is cancelled.
    pub(crate) patience: Duration,
}

impl Mover<'_> {
    /// Moves the guest; `None` if that takes too long, and then it goes on at the source.
    pub(crate) fn move_guest(&self, way: Way, source: &mut Vm, destination: &mut Vm) -> anyhow::Result<Option<Moved>> {
        self.prepare(way, [&mut *source, &mut *destination])?;
        match way {
            Way::Ours => self.ours(source, destination).map(Some),
            Way::Plain | Way::Xbzrle | Way::MultifdZstd => self.qemu(source, destination),
        }
    }

    /// A QEMU keeps what was set for the move before.
    fn prepare(&self, way: Way, sides: [&mut Vm; 2]) -> anyhow::Result<()> {
        let flag = |name: &str, state: bool| json!({ "capability": name, "state": state });
        let capabilities = json!({ "capabilities": [
            // pagesieve sets this by itself.
            flag("x-ignore-shared", false),
            flag("xbzrle", way == Way::Xbzrle),
            flag("multifd", way == Way::MultifdZstd),
        ] });
        let compression = if way == Way::MultifdZstd { "zstd" } else { "none" };
        let parameters = json!({
            "max-bandwidth": self.limit.unwrap_or(UNLIMITED),
            "downtime-limit": DOWNTIME_MS,
            "multifd-channels": 2,
            "multifd-compression": compression,
        });
        for side in sides {
            side.qmp.execute("migrate-set-capabilities", capabilities.clone())?;
            side.qmp.execute("migrate-set-parameters", parameters.clone())?;
        }
        Ok(())
    }

    pub(crate) fn ours(&self, source: &Vm, destination: &Vm) -> anyhow::Result<Moved> {
        let mut command = Command::new(self.pagesieve);
        command.args(["serve", "--listen", &format!("127.0.0.1:{PORT}"), "--dir"]).arg(self.folder);
        command.arg("--guest").arg(format!("g={}", destination.socket.display()));
        let mut server = Lines::spawn(&mut command)?;
        server.await_line("listening on", Duration::from_secs(20))?;
        let mut command = Command::new(self.pagesieve);
        command.args(["migrate", "--json", "--force", "--to", &format!("127.0.0.1:{PORT}/g"), "--qmp"]).arg(&source.socket);
        // QEMU makes no forecast either.
        command.args(["--watch", "0s", "--downtime-limit", &format!("{DOWNTIME_MS}ms")]);
        if let Some(limit) = self.limit {
            command.args(["--bandwidth-limit", &format!("{}kbit", limit * 8 / 1000)]);
        }
        let began = Instant::now();
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("failed to start pagesieve")?;
        ensure!(output.status.success(), "pagesieve could not move the guest");
        let report: Value = serde_json::from_slice(&output.stdout)?;
        let downtime = report["downtime_seconds"].as_f64().context("pagesieve does not say how long the guest stood still")?;
        Ok(Moved { began, downtime_ms: downtime * 1000.0, report })
    }

    fn qemu(&self, source: &mut Vm, destination: &mut Vm) -> anyhow::Result<Option<Moved>> {
        let uri = json!({ "uri": format!("tcp:127.0.0.1:{PORT}") });
        destination.qmp.execute("migrate-incoming", uri.clone())?;
        let began = Instant::now();
        source.qmp.execute("migrate", uri)?;
        loop {
            let state = source.qmp.execute("query-migrate", json!({}))?;
            match state["status"].as_str() {
                Some("completed") => {
                    let downtime_ms = state["downtime"].as_f64().unwrap_or_default();
                    return Ok(Some(Moved { began, downtime_ms, report: Value::Null }));
                }
                Some("failed") => bail!("QEMU could not move the guest: {}", state["error-desc"]),
                Some("cancelled") => return Ok(None),
                _ if began.elapsed() > self.patience => _ = source.qmp.execute("migrate_cancel", json!({}))?,
                _ => {}
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
