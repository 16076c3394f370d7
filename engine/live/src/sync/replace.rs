//! A file that is replaced as a whole: the new one is made beside it and takes its name at the end.
//!
//! The new file is sparse at first. Blocks that differ are written into it, the others are copied from the old file when all is
//! known; where the file system can share blocks between files, that copies nothing. If the sync is cut off, the part stays, and
//! the next sync finds by its fingerprints what it is good for.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pagesieve_core::{BlockSummary, Blocks, PAGE_SIZE, PageBitmap};
use rustix::fs::{FallocateFlags, FlockOperation};

use super::SyncError;
use super::baseline;
use super::extent;
use super::extent::NO_LINK;

/// The new file and the old one.
#[derive(Debug)]
pub(super) struct Replace {
    path: PathBuf,
    part_path: PathBuf,
    part: File,
    old: Option<File>,
    /// Bytes of the old file that can be of use.
    old_len: u64,
    len: u64,
    /// Pages whose content is that of the part, not that of the old file.
    in_part: PageBitmap,
    /// True if the part was there already.
    found: bool,
    resumed: u64,
}

impl Replace {
    pub(super) fn open(path: &Path, old: Option<File>, len: u64) -> Result<Self, SyncError> {
        let part_path = beside(path, "pagesieve-part");
        let failed = |error| SyncError::Destination { what: "create", path: part_path.clone(), error };
        let options = || {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_LINK).to_owned()
        };
        let part = options().open(&part_path).map_err(failed)?;
        if rustix::fs::flock(&part, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SyncError::Busy { path: path.to_owned() });
        }
        // A part whose holes cannot be told from zeros is of no use.
        let found = part.metadata().map_err(failed)?.len() > 0 && extent::data(&part, len).is_some();
        if !found {
            part.set_len(0).map_err(failed)?;
        }
        part.set_len(len).map_err(failed)?;
        let old_len = old.as_ref().map_or(Ok(0), |old| old.metadata().map(|data| data.len())).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            part_path,
            part,
            old,
            old_len: old_len.min(len),
            len,
            in_part: PageBitmap::new(len.div_ceil(PAGE_SIZE)),
            found,
            resumed: 0,
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.part
    }

    pub(super) fn is_empty(&self) -> bool {
        self.old.is_none() && !self.found
    }

    pub(super) fn resumed(&self) -> u64 {
        self.resumed
    }

    /// What the part holds, and elsewhere what the old file holds.
    pub(super) fn baseline(&mut self, blocks: &Blocks, workers: usize) -> io::Result<Vec<BlockSummary>> {
        let old = self.old.as_ref().unwrap_or(&self.part);
        let mut summaries = baseline::summaries(old, self.old_len, blocks, workers)?;
        if !self.found {
            return Ok(summaries);
        }
        let Some(written) = extent::populated(&self.part, self.len) else { return Ok(summaries) };
        let in_part = baseline::summaries(&self.part, self.len, blocks, workers)?;
        for (index, (summary, part)) in summaries.iter_mut().zip(in_part).enumerate() {
            let pages = blocks.pages(blocks.id(index as u32));
            if written.meets_range(pages.clone()) {
                *summary = part;
                self.in_part.insert_range(pages);
                self.resumed += 1;
            }
        }
        Ok(summaries)
    }

    pub(super) fn put(&mut self, pages: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        self.part.write_all_at(bytes, pages.start * PAGE_SIZE)?;
        self.in_part.insert_range(pages);
        Ok(())
    }

    pub(super) fn zero(&mut self, pages: Range<u64>, range: Range<u64>) -> io::Result<()> {
        zero_range(&self.part, range)?;
        self.in_part.insert_range(pages);
        Ok(())
    }

    /// Copies what did not change, and gives the file its name.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Some(old) = &self.old {
            let data = extent::data(old, self.old_len).unwrap_or_else(|| std::iter::once(0..self.old_len).collect());
            let mut missing = PageBitmap::new(self.len.div_ceil(PAGE_SIZE));
            missing.insert_range(0..self.len.div_ceil(PAGE_SIZE));
            missing.subtract(&self.in_part);
            for pages in missing.ranges() {
                let wanted = pages.start * PAGE_SIZE..pages.end * PAGE_SIZE;
                let first = data.partition_point(|range| range.end <= wanted.start);
                for range in data[first..].iter().take_while(|range| range.start < wanted.end) {
                    copy(old, &self.part, range.start.max(wanted.start)..range.end.min(wanted.end))?;
                }
            }
        }
        let mode = self.old.as_ref().map(File::metadata).transpose()?.map(|data| data.mode());
        if let Some(mode) = mode {
            rustix::fs::fchmod(&self.part, rustix::fs::Mode::from_raw_mode(mode & 0o7777))?;
        }
        self.part.sync_all()?;
        std::fs::rename(&self.part_path, &self.path)?;
        // Or else the new name may be forgotten in a crash.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// A hidden file beside another one.
pub(super) fn beside(path: &Path, kind: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(kind);
    path.with_file_name(name)
}

/// Makes a range zero: a hole where there can be one.
pub(super) fn zero_range(file: &File, range: Range<u64>) -> io::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if rustix::fs::fallocate(file, flags, range.start, range.end - range.start).is_ok() {
        return Ok(());
    }
    let zeros = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    file.write_all_at(&zeros, range.start)
}

/// Copies a range to the same place of another file.
fn copy(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let (mut read, mut written) = (range.start, range.start);
    while read < range.end {
        let size = usize::try_from(range.end - read).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), size) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(_) => return copy_by_hand(from, to, read..range.end),
        }
    }
    Ok(())
}

/// Where the file system cannot.
fn copy_by_hand(from: &File, to: &File, range: Range<u64>) -> io::Result<()> {
    let mut chunk = vec![0; 1 << 20];
    let mut at = range.start;
    while at < range.end {
        let size = chunk.len().min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        from.read_exact_at(&mut chunk[..size], at)?;
        to.write_all_at(&chunk[..size], at)?;
        at += size as u64;
    }
    Ok(())
}
