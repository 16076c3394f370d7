//! The state of a guest's devices, taken from a QEMU by its own migration: everything but the RAM.
//!
//! With the capability `x-ignore-shared` QEMU leaves RAM on shared backends out of the stream; what remains is some hundred KiB.
//! It comes through a socket whose other end we pass to QEMU over the monitor, so no path has to be visible to both.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::capabilities::{self, IGNORE_SHARED};
use super::error::StateError;
use super::qmp::{Qmp, QmpError};
use super::ram_layout::RamLayout;

/// Under which name QEMU knows our socket.
pub(super) const DESCRIPTOR: &str = "pagesieve-state";
/// How often QEMU is asked how far it is.
pub(super) const POLL: Duration = Duration::from_millis(2);

/// How large a device state may be, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateLimits {
    /// Most bytes of state. A QEMU that sends more sends RAM.
    pub bytes: u64,
    /// Longest time for taking it.
    pub time: Duration,
}

impl Default for StateLimits {
    fn default() -> Self {
        Self { bytes: 64 << 20, time: Duration::from_secs(30) }
    }
}

/// The state of all devices, as QEMU wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceState(pub Vec<u8>);

impl std::fmt::Debug for DeviceState {
    /// Its bytes are the guest's secrets: registers, buffers, keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceState({} bytes)", self.0.len())
    }
}

impl StateError {
    /// True if QEMU itself has answered that it does not do what it was asked for. Otherwise nobody knows whether it has.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Qmp(QmpError::Refused { .. }))
    }
}

/// Takes the state from a guest that is stopped. Whatever comes of it, `cont` lets the guest go on here.
pub(super) fn take(qmp: &mut Qmp, limits: &StateLimits) -> Result<DeviceState, StateError> {
    let status = qmp.execute("query-status", json!({}))?;
    if status["running"] != false {
        return Err(StateError::NotPaused { status: status["status"].as_str().unwrap_or("unknown").to_owned() });
    }
    RamLayout::ask(qmp)?;
    refuse_devices(&qmp.human("info qtree")?)?;
    capabilities::set(qmp, &[IGNORE_SHARED])?;
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(limits.time))?;
    qmp.give(DESCRIPTOR, theirs.as_fd())?;
    // The stream ends when QEMU closes its end, if we have none.
    drop(theirs);
    let most = limits.bytes;
    let reader = thread::spawn(move || read_at_most(ours, most));
    let done = qmp
        .execute("migrate", json!({ "uri": format!("fd:{DESCRIPTOR}") }))
        .map_err(StateError::from)
        .and_then(|_| wait(qmp, limits.time));
    if done.is_err() {
        // Ends the migration if it goes on, and closes the descriptor if it never began.
        let _ = qmp.execute("migrate_cancel", json!({}));
        let _ = qmp.execute("closefd", json!({ "fdname": DESCRIPTOR }));
    }
    let read = reader.join().unwrap_or_else(|_| Err(io::Error::other("the reader ended").into()));
    match (done, read) {
        // The size is the cause, that QEMU failed the effect.
        (_, Err(error @ StateError::TooLarge(_))) => Err(error),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(bytes)) => Ok(DeviceState(bytes)),
    }
}

fn read_at_most(stream: UnixStream, most: u64) -> Result<Vec<u8>, StateError> {
    let mut bytes = Vec::new();
    stream.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(StateError::TooLarge(most)) } else { Ok(bytes) }
}

fn wait(qmp: &mut Qmp, time: Duration) -> Result<(), StateError> {
    let end = Instant::now() + time;
    loop {
        let answer = qmp.execute("query-migrate", json!({}))?;
        match answer["status"].as_str().unwrap_or_default() {
            "completed" => return Ok(()),
            status @ ("failed" | "cancelled") => {
                let reason = answer["error-desc"].as_str().unwrap_or("it gives no reason").to_owned();
                return Err(StateError::Failed { status: status.to_owned(), reason });
            }
            _ if Instant::now() >= end => return Err(StateError::Timeout(time)),
            _ => thread::sleep(POLL),
        }
    }
}

/// Refuses devices that other processes or the hardware serve: they write guest memory by ways of their own.
fn refuse_devices(qtree: &str) -> Result<(), StateError> {
    let devices = qtree.lines().filter_map(|line| line.trim().strip_prefix("dev: "));
    let mut names = devices.map(|device| device.split(',').next().unwrap_or(device));
    let outside = |name: &&str| name.starts_with("vfio-") || name.starts_with("vhost-");
    names.find(outside).map_or(Ok(()), |name| Err(StateError::Device { device: name.to_owned() }))
}

/// True if QEMU says that it is being started by a migration.
pub(super) fn is_waiting(status: &Value) -> bool {
    status["status"] == "inmigrate"
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_state_that_is_too_large_is_not_collected() {
        let stream = |bytes: usize| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&vec![7; bytes]).unwrap();
            ours
        };
        assert_eq!(read_at_most(stream(10), 10).unwrap(), [7; 10]);
        assert!(matches!(read_at_most(stream(11), 10), Err(StateError::TooLarge(10))));
    }

    #[test]
    fn devices_served_by_others_are_refused() {
        let tree = |device: &str| format!("bus: main-system-bus\n  type System\n  dev: {device}, id \"\"\n    gpio-in \"\" 2\n");
        assert!(refuse_devices(&tree("virtio-blk-pci")).is_ok());
        for device in ["vfio-pci", "vhost-user-fs-pci", "vhost-vsock-pci"] {
            let error = refuse_devices(&tree(device)).unwrap_err().to_string();
            assert!(error.contains(device), "{error}");
        }
    }
}
