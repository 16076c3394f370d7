//! A file or block device as the memory of a guest that stands still.

use std::convert::Infallible;
use std::fs::{File, FileType};
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use pagesieve_core::PAGE_SIZE;
use pagesieve_core::ports::{GuestMemory, PausableGuest};

use super::SyncError;
use super::extent;

/// What tells that a file was written: length, and the times of the last write and change.
type Stamp = (u64, i64, i64, i64, i64);

/// The source of a sync.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    path: PathBuf,
    len: u64,
    stamp: Stamp,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, SyncError> {
        let failed = |error| SyncError::Source { path: path.to_owned(), error };
        // Before it is opened: to open a pipe would wait for its writer.
        if !is_file_or_device(path).map_err(failed)? {
            return Err(SyncError::Kind { path: path.to_owned() });
        }
        let mut file = File::open(path).map_err(failed)?;
        let len = file.seek(SeekFrom::End(0)).map_err(failed)?;
        let stamp = stamp(&file).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), len, stamp })
    }

    /// Looks how long it is now, for another pass.
    pub(super) fn look_again(&mut self) -> Result<(), SyncError> {
        let failed = |error| SyncError::Source { path: self.path.clone(), error };
        let (named, ours) = (self.path.metadata().map_err(failed)?, self.file.metadata().map_err(failed)?);
        if (named.dev(), named.ino()) != (ours.dev(), ours.ino()) {
            return Err(SyncError::Replaced { path: self.path.clone() });
        }
        self.len = (&self.file).seek(SeekFrom::End(0)).map_err(failed)?;
        self.stamp = stamp(&self.file).map_err(failed)?;
        Ok(())
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// What was read is one version of the file only if nobody wrote into it.
    pub(super) fn check_unchanged(&self) -> Result<(), SyncError> {
        let now = stamp(&self.file).map_err(|error| SyncError::Source { path: self.path.clone(), error })?;
        if now == self.stamp { Ok(()) } else { Err(SyncError::Changed { path: self.path.clone() }) }
    }

    pub(super) fn digest(&self) -> Result<[u8; 32], SyncError> {
        extent::digest(&self.file, self.len).map_err(|error| SyncError::Source { path: self.path.clone(), error })
    }
}

/// True for a regular file or a block device.
pub(super) fn is_usable(kind: FileType) -> bool {
    kind.is_file() || kind.is_block_device()
}

/// The same of what a path leads to.
fn is_file_or_device(path: &Path) -> io::Result<bool> {
    Ok(is_usable(path.metadata()?.file_type()))
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let data = file.metadata()?;
    Ok((data.len(), data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()))
}

impl GuestMemory for &Source {
    type Error = io::Error;

    fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        extent::read_padded(&self.file, pages.start * PAGE_SIZE, self.len, into)
    }
}

impl PausableGuest for &Source {
    type Error = Infallible;

    fn pause(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
