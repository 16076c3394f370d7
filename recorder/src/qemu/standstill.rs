//! How a guest is brought to a rest, held there, and let go on, here or elsewhere. A guest that someone else has stopped stays so.

use serde_json::json;

use super::guard::Guard;
use super::migration::{self, DeviceState, StateLimits};
use super::qmp::{Qmp, QmpError};
use super::{Guest, StateError};

/// The monitor, and what we did with it.
pub(super) struct Monitor {
    pub(super) qmp: Qmp,
    /// The guest is stopped on our behalf.
    stopped: bool,
    /// It stays so between closings.
    held: bool,
    /// Its device state was taken: QEMU calls it migrated, though it is ours until it is given away.
    pub(super) taken: bool,
    /// Events that our own commands cause and that were not seen yet.
    pub(super) ours: Vec<&'static str>,
    /// Lets the guest go on if we cannot.
    guard: Guard,
}

impl Monitor {
    pub(super) fn new(qmp: Qmp, guard: Guard) -> Self {
        Self { qmp, stopped: false, held: false, taken: false, ours: Vec::new(), guard }
    }
}

impl Guest {
    /// Stops the guest: its CPUs halt, and disk I/O in flight is done. Returns false if it cannot be stopped this way.
    pub(crate) fn stop(&mut self) -> Result<bool, QmpError> {
        let Some(monitor) = &mut self.monitor else { return Ok(false) };
        let status = monitor.qmp.execute("query-status", json!({}))?;
        // One that someone else has stopped is at rest already, and not ours to let go on.
        if status["running"] == true {
            monitor.guard.stopping()?;
            monitor.stopped = true;
            monitor.ours.push("STOP");
            monitor.qmp.execute("stop", json!({}))?;
        }
        Ok(true)
    }

    /// True if the guest stands still: nobody has let it go on since it was stopped.
    pub(crate) fn is_stopped(&mut self) -> bool {
        let Some(monitor) = &mut self.monitor else { return false };
        let status = monitor.qmp.execute("query-status", json!({}));
        // It may have gone on and been stopped again.
        status.is_ok_and(|status| status["running"] == false) && !monitor.qmp.has_seen("RESUME")
    }

    /// Lets the guest go on if we have stopped it and do not hold it.
    pub(crate) fn resume(&mut self) -> Result<(), QmpError> {
        let ours = |monitor: &&mut Monitor| monitor.stopped && !monitor.held;
        let Some(monitor) = self.monitor.as_mut().filter(ours) else { return Ok(()) };
        let status = monitor.qmp.execute("query-status", json!({}))?;
        // A guest that someone has migrated away meanwhile must not run here as well.
        if status["status"] == "paused" || (monitor.taken && status["status"] == "postmigrate") {
            monitor.ours.push("RESUME");
            monitor.qmp.execute("cont", json!({}))?;
        }
        (monitor.stopped, monitor.taken) = (false, false);
        Ok(monitor.guard.resumed()?)
    }

    /// Stops the guest until [`Guest::release`]: closings in between leave it stopped. Returns false if it cannot be stopped.
    pub(crate) fn hold(&mut self) -> Result<bool, QmpError> {
        let stopped = self.stop()?;
        if let Some(monitor) = &mut self.monitor {
            monitor.held = true;
        }
        Ok(stopped)
    }

    /// Ends [`Guest::hold`]. A guest that someone else had stopped before stays stopped.
    pub(crate) fn release(&mut self) -> Result<(), QmpError> {
        if let Some(monitor) = &mut self.monitor {
            monitor.held = false;
        }
        self.resume()
    }

    /// From here on the guest runs elsewhere: neither we nor our guard let it go on here. Refused unless it stands still, by us:
    /// where the monitor was lost, the guard has let it go on already.
    pub(crate) fn give_away(&mut self) -> Result<(), StateError> {
        let stopped = self.is_stopped();
        let monitor = self.monitor.as_mut().filter(|monitor| monitor.held && stopped).ok_or(StateError::NotHeld)?;
        monitor.guard.resumed()?;
        (monitor.stopped, monitor.held) = (false, false);
        Ok(())
    }

    /// The guest that was given away does not run elsewhere: it goes on here.
    pub(crate) fn take_back(&mut self) -> Result<(), StateError> {
        let monitor = self.monitor.as_mut().ok_or(StateError::NotHeld)?;
        (monitor.stopped, monitor.held, monitor.taken) = (true, false, true);
        Ok(self.resume()?)
    }

    /// Takes the state of the guest's devices. The guest must be held.
    pub(crate) fn take_device_state(&mut self, limits: &StateLimits) -> Result<DeviceState, StateError> {
        let monitor = self.monitor.as_mut().filter(|monitor| monitor.held).ok_or(StateError::NotHeld)?;
        monitor.taken = true;
        migration::take(&mut monitor.qmp, limits)
    }
}

impl Drop for Guest {
    /// A recording that fails while the guest is stopped must not leave it so.
    fn drop(&mut self) {
        let _ = self.release();
    }
}
