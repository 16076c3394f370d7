//! Bringing the target to rest for a closing, or for longer, and letting it go on.

use std::io;

use pagesieve_traces::Happening;

use super::Observer;
use crate::ptrace::Stopped;
use crate::qemu::Guest;
use crate::rest::Rest;
use crate::sharers::DirectIo;

impl Observer {
    /// Brings the target to rest if its content is to be read, if its writes can only be read so, or if direct I/O could land in
    /// a page after its scan. Where only the latter asks for it and we may not stop the target, its pages count as unknown instead.
    pub(super) fn bring_to_rest(&mut self, direct: DirectIo) -> io::Result<Rest> {
        if let Some(stopped) = self.held.take() {
            return Ok(Rest::Threads(stopped));
        }
        let needs_stop = self.writes.needs_stop();
        if self.content.is_none() && direct == DirectIo::None && !needs_stop {
            return Ok(if self.stops_guest && self.stop_guest() { Rest::Drained(None) } else { Rest::None });
        }
        let drained = self.stop_guest();
        if drained && !needs_stop {
            return Ok(Rest::Drained(None));
        }
        match Stopped::all(self.pid) {
            Ok(stopped) if drained => Ok(Rest::Drained(Some(stopped))),
            Ok(stopped) => Ok(Rest::Threads(stopped)),
            Err(error) if self.content.is_none() && !needs_stop && error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Rest::None)
            }
            Err(error) => {
                self.resume_guest();
                Err(error)
            }
        }
    }

    /// Stops every thread of a process until [`Observer::release`].
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        if self.held.is_none() {
            self.held = Some(Stopped::all(self.pid)?);
        }
        Ok(())
    }

    /// Lets a process go on that was stopped by [`Observer::hold`].
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// Looks where the guest's memory is now, and what has become of the guest.
    pub(super) fn refresh_guest(&mut self) {
        let lines = self.guest.as_mut().map(Guest::refresh).unwrap_or_default();
        lines.into_iter().for_each(|line| self.note(Happening::Message(line)));
    }

    /// Stops the guest by its monitor, if it has one.
    fn stop_guest(&mut self) -> bool {
        let stopped = self.guest.as_mut().map_or(Ok(false), Guest::stop);
        stopped.unwrap_or_else(|error| {
            tracing::debug!(%error, "the guest could not be stopped by its monitor");
            false
        })
    }

    pub(super) fn resume_guest(&mut self) {
        if let Some(Err(error)) = self.guest.as_mut().map(Guest::resume) {
            tracing::warn!("failed to {error}; if the guest is stopped, let it go on with `cont`");
        }
    }
}
