//! No record of writes at all: what remains where neither write protection nor soft-dirty bits can be had.
//!
//! No page of any epoch is proven clean, so each is read and compared again.

use std::io;
use std::ops::Range;

use pagesieve_core::Hva;

use super::WriteLog;
use crate::error::RecordError;
use crate::pagemap::{self, Extent, Scan};
use crate::process;
use crate::ptrace::Stopped;
use crate::target::{Target, no_access};

/// Refuses to say what was written.
pub(super) struct Untracked {
    pid: u32,
    /// Says at least what is mapped, where the kernel can.
    scan: Option<Scan>,
}

impl Untracked {
    pub(super) fn open(target: &Target) -> Result<Self, RecordError> {
        let mut untracked = Self { pid: target.pid, scan: None };
        untracked.follow(None)?;
        Ok(untracked)
    }
}

impl WriteLog for Untracked {
    fn name(&self) -> String {
        "none".to_owned()
    }

    fn needs_stop(&self) -> bool {
        false
    }

    fn forgets_dropped_mappings(&self) -> bool {
        true
    }

    /// Nothing is armed, and says so.
    fn take(&mut self, _range: Range<u64>, _found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::EPERM))
    }

    fn peek(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()> {
        self.take(range, found)
    }

    fn add(&mut self, _range: Range<u64>) {}

    fn arm(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn mapped(&mut self, range: Range<u64>, found: &mut dyn FnMut(Extent)) -> io::Result<()> {
        match &mut self.scan {
            Some(scan) => scan.mapped(range, found),
            None if !process::is_alive(self.pid) => Err(io::Error::from_raw_os_error(libc::ESRCH)),
            None => {
                let (start, end) = (Hva(range.start), Hva(range.end));
                found(Extent { start, end, holds_data: true, present: true, huge: false });
                Ok(())
            }
        }
    }

    fn follow(&mut self, _stopped: Option<&mut Stopped>) -> Result<(), RecordError> {
        let open = || Scan::open(self.pid).map_err(|error| no_access(self.pid, error));
        self.scan = pagemap::is_supported().then(open).transpose()?;
        Ok(())
    }
}
