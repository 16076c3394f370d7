//! Asynchronous write protection by a userfaultfd of the target, read and renewed by `PAGEMAP_SCAN`.
//!
//! Each page is read and armed in one step, so no write falls between the two and the target may run.

use std::io;
use std::ops::Range;

use super::WriteLog;
use crate::arming::{self, Way};
use crate::error::RecordError;
use crate::pagemap::{Extent, Scan};
use crate::ptrace::Stopped;
use crate::target::{Target, no_access};
use crate::uffd::Uffd;

/// A userfaultfd of the target, and its pagemap.
pub(super) struct WriteProtection {
    pid: u32,
    uffd: Uffd,
    way: Way,
    scan: Scan,
}

impl WriteProtection {
    pub(super) fn open(target: &Target) -> Result<Self, RecordError> {
        let pid = target.pid;
        let (uffd, way) = match arming::acquire(pid, target.socket.as_ref()) {
            Err(_) if target.has_ended() => return Err(RecordError::EndedEarly { pid }),
            acquired => acquired?,
        };
        let scan = Scan::open(pid).map_err(|error| no_access(pid, error))?;
        Ok(Self { pid, uffd, way, scan })
    }
}

impl WriteLog for WriteProtection {
    fn name(&self) -> String {
        self.way.to_string()
    }

    fn needs_stop(&self) -> bool {
        false
    }

    /// The kernel keeps the mark of a shared page where its mapping was.
    fn forgets_dropped_mappings(&self) -> bool {
        false
    }

    fn take(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.scan.written_and_rearm(range, found)
    }

    fn peek(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.scan.written(range, found)
    }

    /// A mapping that cannot be armed (another userfaultfd holds it, or it vanished again) stays unknown.
    fn add(&mut self, range: Range<u64>) {
        let armed = self.uffd.register(range.clone()).and_then(|()| self.scan.written_and_rearm(range, |_| ()));
        if let Err(error) = armed {
            tracing::debug!(%error, "a mapping could not be armed");
        }
    }

    /// It is done already.
    fn arm(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn mapped(&mut self, range: Range<u64>, found: &mut dyn FnMut(Extent)) -> io::Result<()> {
        self.scan.mapped(range, found)
    }

    /// No handover: the program may be stopped, by us, halfway through offering one.
    fn follow(&mut self, stopped: Option<&mut Stopped>) -> Result<(), RecordError> {
        (self.uffd, self.way) = arming::inject(self.pid, stopped)?;
        self.scan = Scan::open(self.pid).map_err(|error| no_access(self.pid, error))?;
        Ok(())
    }
}
