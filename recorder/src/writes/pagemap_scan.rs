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
    /// What could not be registered. Another userfaultfd may hold it: then a scan would succeed, and take the marks that belong to
    /// whoever registered it, so that both would miss writes.
    refused: Vec<Range<u64>>,
}

impl WriteProtection {
    pub(super) fn open(target: &Target) -> Result<Self, RecordError> {
        let pid = target.pid;
        let (uffd, way) = match arming::acquire(pid, target.socket.as_ref()) {
            Err(_) if target.has_ended() => return Err(RecordError::EndedEarly { pid }),
            acquired => acquired?,
        };
        let scan = Scan::open(pid).map_err(|error| no_access(pid, error))?;
        Ok(Self { pid, uffd, way, scan, refused: Vec::new() })
    }

    /// # Errors
    /// `EPERM` if a part of the range is not ours.
    fn own(&self, range: &Range<u64>) -> io::Result<()> {
        let foreign = self.refused.iter().any(|refused| refused.start < range.end && range.start < refused.end);
        if foreign { Err(io::Error::from_raw_os_error(libc::EPERM)) } else { Ok(()) }
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
        self.own(&range)?;
        self.scan.written_and_rearm(range, found)
    }

    fn peek(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.own(&range)?;
        self.scan.written(range, found)
    }

    /// A mapping that cannot be armed (another userfaultfd holds it, or it vanished again) stays unknown.
    fn add(&mut self, range: Range<u64>) {
        self.refused.retain(|refused| *refused != range);
        let registered = self.uffd.register(range.clone());
        let armed = registered.and_then(|()| self.scan.written_and_rearm(range.clone(), |_| ()));
        if let Err(error) = armed {
            tracing::debug!(%error, "a mapping could not be armed");
            self.refused.push(range);
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
        self.refused.clear();
        Ok(())
    }
}
