//! The dirty log of a file that a process has mapped: for whoever copies the file, not the process.

use std::fmt;
use std::fs::File;
use std::path::Path;

use pagesieve_core::ports::{ClosedEpoch, DirtyLog};
use pagesieve_core::{Coverage, Epoch};

use super::watch::FileWatch;
use super::{LiveError, LiveOptions, LiveTarget, Log, Status};
use crate::maps::FileId;
use crate::target::TargetSpec;

/// A file under observation, page by page from its start.
///
/// A page that the target has mapped is clean if its page tables say so, any other page if nobody could write it. What may have
/// changed the file past the page tables puts the whole file in doubt for that epoch: see [`FileLog::doubt`].
pub struct FileLog {
    target: LiveTarget,
    log: Log,
    watch: FileWatch,
    doubt: Option<String>,
}

impl fmt::Debug for FileLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileLog").field("target", &self.target).field("doubt", &self.doubt).finish_non_exhaustive()
    }
}

impl FileLog {
    /// Arms what the target has mapped of a file. The first epoch is open then, so a copy that begins now is proven by its log.
    ///
    /// # Errors
    /// See [`LiveError`]; also if the target has not mapped the file.
    pub fn open(file: &Path, spec: &TargetSpec, options: &LiveOptions) -> Result<Self, LiveError> {
        let failed = |error| LiveError::File { path: file.to_owned(), error };
        let opened = File::open(file).map_err(failed)?;
        let id = FileId::of(&opened.metadata().map_err(failed)?);
        let target = match LiveTarget::open_with(spec, options, None, Some(id)) {
            Err(LiveError::NoMemory { pid }) => return Err(LiveError::NotMapped { pid, path: file.to_owned() }),
            opened => opened?,
        };
        // What was written before this belongs to no epoch: nothing was read yet.
        let watch = FileWatch::open(&opened, target.status().pid).map_err(failed)?;
        let log = target.log();
        Ok(Self { target, log, watch, doubt: None })
    }

    /// What the file is observed with.
    #[must_use]
    pub fn status(&self) -> &Status {
        self.target.status()
    }

    /// Why the epoch that was closed last proves nothing; `None` if it does.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// To be called several times a second: what the kernel reports of discards and forks has only so much room.
    pub fn drain(&self) {
        self.target.drain();
    }
}

impl DirtyLog for FileLog {
    type Error = LiveError;

    /// A target that has ended, or an epoch that cannot be closed, is no error but a doubt.
    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, LiveError> {
        let closed = self.log.close(epoch);
        let doubt = self.watch.doubt();
        let unproven = |why: String| (ClosedEpoch::unproven(), Some(why));
        let (closed, doubt) = match (closed, doubt) {
            (Err(error), _) => unproven(error.to_string()),
            (Ok(_), Some(why)) => unproven(why),
            (Ok(closed), None) if closed.coverage == Coverage::Partial => unproven("the epoch before was not closed".to_owned()),
            // What was written through a mapping before it went away is marked nowhere.
            (Ok(closed), None) if closed.slots.is_some() => unproven("the process has changed how it maps it".to_owned()),
            // What holds data is known of the mapped pages only, and the file has more.
            (Ok(closed), None) => (ClosedEpoch { populated: None, ..closed }, None),
        };
        self.doubt = doubt;
        Ok(closed)
    }
}
