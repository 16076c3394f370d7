//! The QEMU at the destination: started with `-incoming defer`, it waits for a guest.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::capabilities::{self, IGNORE_SHARED, LATE_DISKS};
use super::error::StateError;
use super::memory;
use super::migration::{DESCRIPTOR, DeviceState, POLL, is_waiting};
use super::qmp::{Qmp, QmpError};
use super::ram_layout::RamLayout;
use crate::live::DestinationRam;
use crate::maps;

/// A QEMU that waits for a guest. While it waits it does not touch its RAM.
pub struct Incoming {
    qmp: Qmp,
    layout: RamLayout,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Incoming {
    /// Connects to its monitor and sees that it waits.
    ///
    /// # Errors
    /// If it is no QEMU with `-incoming defer`, or has private RAM.
    pub fn connect(socket: &Path) -> Result<Self, StateError> {
        let mut qmp = Qmp::connect(socket)?;
        let status = qmp.execute("query-status", json!({}))?;
        if !is_waiting(&status) {
            return Err(StateError::NotIncoming { status: status["status"].as_str().unwrap_or("unknown").to_owned() });
        }
        let layout = RamLayout::ask(&mut qmp)?;
        Ok(Self { qmp, layout })
    }

    /// Its RAM.
    #[must_use]
    pub fn layout(&self) -> &RamLayout {
        &self.layout
    }

    /// Sees that the guest's RAM fits.
    ///
    /// # Errors
    /// If it does not.
    pub fn check(&self, guest: &RamLayout) -> Result<(), StateError> {
        if *guest == self.layout {
            return Ok(());
        }
        Err(StateError::OtherLayout { here: guest.to_string(), there: self.layout.to_string() })
    }

    /// Its RAM, to be written. `pid` is needed only if somebody else listens on the monitor's socket for QEMU.
    ///
    /// # Errors
    /// If the files behind it cannot be opened.
    pub fn ram(&mut self, pid: Option<u32>) -> Result<DestinationRam, StateError> {
        let ram = memory::ask(&mut self.qmp)?;
        let none =
            || StateError::Io(std::io::Error::new(std::io::ErrorKind::NotFound, "the process behind the monitor is unknown"));
        let pid = pid.or(self.qmp.peer()).ok_or_else(none)?;
        DestinationRam::open(pid, &ram, &maps::read(pid)?)
    }

    /// Loads the device state and waits until that is done. The RAM must be complete: loading reads it, and what it reads in
    /// RAM that is not yet final makes devices hang later. The guest stays stopped.
    ///
    /// # Errors
    /// QEMU ends if it cannot load a state; then the guest is to go on at the source.
    pub fn load(&mut self, state: &DeviceState, time: Duration) -> Result<(), StateError> {
        // If this QEMU took the locks of shared disks now, the guest could not go on at the source when something fails later.
        capabilities::set(&mut self.qmp, &[IGNORE_SHARED, LATE_DISKS])?;
        let (mut ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(time))?;
        self.qmp.give(DESCRIPTOR, theirs.as_fd())?;
        drop(theirs);
        self.qmp.execute("migrate-incoming", json!({ "uri": format!("fd:{DESCRIPTOR}") }))?;
        let written = ours.write_all(&state.0);
        drop(ours);
        let loaded = self.wait(time);
        // A QEMU that gave up closes the socket: its own words are better.
        loaded.and_then(|()| Ok(written?))
    }

    fn wait(&mut self, time: Duration) -> Result<(), StateError> {
        let end = Instant::now() + time;
        loop {
            let ended = |error: QmpError| match error {
                QmpError::Io(_) => StateError::Refused { reason: "it has ended".to_owned() },
                other => other.into(),
            };
            let progress = self.qmp.execute("query-migrate", json!({})).map_err(ended)?;
            if let Some(status @ ("failed" | "cancelled")) = progress["status"].as_str() {
                let reason = progress["error-desc"].as_str().unwrap_or(status).to_owned();
                return Err(StateError::Refused { reason });
            }
            let status = self.qmp.execute("query-status", json!({})).map_err(ended)?;
            if progress["status"] == "completed" && !is_waiting(&status) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(StateError::Timeout(time));
            }
            thread::sleep(POLL);
        }
    }

    /// Lets the guest go on here. From here on it must not run at the source.
    ///
    /// # Errors
    /// QEMU's own. Whether the guest runs is then to be looked up.
    pub fn resume(&mut self) -> Result<(), StateError> {
        self.qmp.execute("cont", json!({}))?;
        Ok(())
    }
}
