//! The ways in which a kernel tells what was written, a file each, behind one face.
//!
//! | way | kernel | the target meanwhile |
//! |---|---|---|
//! | [`pagemap_scan`] | Linux 6.7: asynchronous write protection and `PAGEMAP_SCAN` | may run |
//! | [`soft_dirty`] | `CONFIG_MEM_SOFT_DIRTY`: `clear_refs` and bit 55 of the pagemap | must stand still |
//! | [`untracked`](mod@untracked) | any: nothing is known of writes, so every page is in every log | may run |
//!
//! An epoch is closed by [`WriteLog::take`] for every part that is tracked, then [`WriteLog::add`] for new memory, then
//! [`WriteLog::arm`] once. From there on every write shows in the next `take`.

mod frames;
mod pagemap_scan;
mod soft_dirty;
mod untracked;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::RecordError;
use crate::pagemap::{self, Extent, has_swap_space};
use crate::ptrace::Stopped;
use crate::target::Target;
use crate::uffd;

pub(crate) use soft_dirty::try_marks;

/// The kernel's record of one process's writes.
pub(crate) trait WriteLog {
    /// How memory is armed, for the header of a trace.
    fn name(&self) -> String;

    /// True if every thread of the target must be stopped from the first `take` until after `arm`.
    fn needs_stop(&self) -> bool;

    /// True if the record of a write may go away with the mapping of its page. Then a shared page whose mapping could have been
    /// dropped unseen is not proven clean.
    fn forgets_dropped_mappings(&self) -> bool;

    /// Calls `found` with every range of pages written since they were armed. They are armed again by the next `arm` at the
    /// latest. Ranges may repeat and come in any order: they are a set.
    ///
    /// # Errors
    /// `EPERM` if a part of the range was not armed (it is to be added again), `ESRCH` if the address space is gone.
    fn take(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()>;

    /// Calls `found` with every range of pages written since they were armed, and leaves them as they are.
    ///
    /// # Errors
    /// As for `take`.
    fn peek(&mut self, range: Range<u64>, found: &mut dyn FnMut(Range<u64>)) -> io::Result<()>;

    /// Begins to track a range. What cannot be tracked is refused by the next `take`.
    fn add(&mut self, range: Range<u64>);

    /// Arms all that was taken or added.
    ///
    /// # Errors
    /// `ESRCH` if the target is gone, or the kernel's own.
    fn arm(&mut self) -> io::Result<()>;

    /// Calls `found` with the state of all mapped or swapped pages of a range.
    ///
    /// # Errors
    /// `ESRCH` if the address space is gone.
    fn mapped(&mut self, range: Range<u64>, found: &mut dyn FnMut(Extent)) -> io::Result<()>;

    /// Goes over to the address space that the target has now. Nothing is tracked in it yet.
    ///
    /// # Errors
    /// Why it cannot be tracked.
    fn follow(&mut self, stopped: Option<&mut Stopped>) -> Result<(), RecordError>;
}

/// Which way to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteTracking {
    /// The best that the kernel has.
    #[default]
    Auto,
    /// Asynchronous write protection and `PAGEMAP_SCAN`.
    WriteProtection,
    /// Soft-dirty bits. The target is stopped while an epoch is closed.
    SoftDirty,
}

impl WriteTracking {
    /// What this kernel can do of it; never [`WriteTracking::Auto`].
    ///
    /// # Errors
    /// If it can do nothing.
    pub(crate) fn choose(self) -> Result<Self, RecordError> {
        let chosen = self.choose_quietly()?;
        tracing::info!(way = ?chosen, "how writes are learnt of");
        Ok(chosen)
    }

    fn choose_quietly(self) -> Result<Self, RecordError> {
        let scan = || pagemap::is_supported();
        let protection = || uffd::open_own().and_then(|(fd, _)| uffd::Uffd::enable(fd)).is_ok();
        let marks = || soft_dirty::try_marks().is_ok();
        match self {
            WriteTracking::Auto if scan() && (protection() || !marks()) => Ok(WriteTracking::WriteProtection),
            WriteTracking::Auto | WriteTracking::SoftDirty if marks() => Ok(WriteTracking::SoftDirty),
            WriteTracking::WriteProtection if scan() => Ok(WriteTracking::WriteProtection),
            _ => Err(RecordError::NoWriteTracking),
        }
    }

    /// Opens a way that [`WriteTracking::choose`] gave, for a target that was started or found. Nothing is tracked yet.
    pub(crate) fn open(self, target: &Target) -> Result<Box<dyn WriteLog>, RecordError> {
        Ok(match self {
            WriteTracking::SoftDirty => Box::new(soft_dirty::SoftDirty::open(target)?),
            _ => Box::new(pagemap_scan::WriteProtection::open(target)?),
        })
    }
}

/// The way of last resort: nothing is known of writes.
pub(crate) fn untracked(target: &Target) -> Result<Box<dyn WriteLog>, RecordError> {
    Ok(Box::new(untracked::Untracked::open(target)?))
}

/// True unless it is certain that the kernel drops no mapping of shared memory by itself. It does when it swaps pages out, and when
/// it splits or makes a huge page.
pub(crate) fn may_drop_shared() -> bool {
    has_swap_space() || has_huge_shared()
}

/// True unless it is certain that shared memory has no huge pages: neither by the kernel's own switches nor by those of a mount.
fn has_huge_shared() -> bool {
    const SWITCHES: &str = "/sys/kernel/mm/transparent_hugepage";
    if !fs::exists(SWITCHES).unwrap_or(true) {
        return false;
    }
    let is_off =
        |path: PathBuf, off: &[&str]| fs::read_to_string(path).is_ok_and(|text| off.iter().any(|word| text.contains(word)));
    let by_size = fs::read_dir(SWITCHES).into_iter().flatten().flatten().map(|entry| entry.path().join("shmem_enabled"));
    let all_off = is_off(Path::new(SWITCHES).join("shmem_enabled"), &["[never]", "[deny]"])
        && by_size.filter(|path| path.exists()).all(|path| is_off(path, &["[never]", "[inherit]"]));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_else(|_| "huge=".to_owned());
    !all_off || mounts.lines().any(|line| line.contains("huge=") && !line.contains("huge=never"))
}
