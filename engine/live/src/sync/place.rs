//! The destination of a sync: a file that is replaced as a whole, or a file or device that is written in place.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pagesieve_core::{BlockId, BlockSummary, Blocks, PAGE_SIZE};

use super::in_place::InPlace;
use super::replace::Replace;
use super::source::{self, Source};
use super::{SyncConfig, SyncError, extent};
use crate::destination::{Answer, Destination, Outgoing};

/// The destination, and the answers that nobody has fetched yet.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    len: u64,
    way: Way,
    answers: VecDeque<Answer<io::Error>>,
}

#[derive(Debug)]
enum Way {
    Replace(Replace),
    InPlace(InPlace),
}

impl Place {
    /// Opens the destination for a content of `len` bytes.
    pub(crate) fn open(path: &Path, len: u64, config: &SyncConfig) -> Result<Self, SyncError> {
        let old = open_old(path)?;
        let device = old.as_ref().is_some_and(is_device);
        let way = if device || config.in_place {
            Way::InPlace(InPlace::open(path, device, len, config)?)
        } else {
            Way::Replace(Replace::open(path, old, len)?)
        };
        Ok(Self { path: path.to_owned(), len, way, answers: VecDeque::new() })
    }

    /// What is written: the destination itself, or the file that will take its name.
    pub(super) fn file(&self) -> &File {
        match &self.way {
            Way::Replace(replace) => replace.file(),
            Way::InPlace(in_place) => in_place.file(),
        }
    }

    /// True if it certainly holds zeros only.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.way {
            Way::Replace(replace) => replace.is_empty(),
            Way::InPlace(_) => false,
        }
    }

    /// What it holds, block by block.
    pub(crate) fn baseline(&mut self, blocks: &Blocks, workers: usize) -> Result<Vec<BlockSummary>, SyncError> {
        let summaries = match &mut self.way {
            Way::Replace(replace) => replace.baseline(blocks, workers),
            Way::InPlace(in_place) => in_place.baseline(blocks, workers),
        };
        summaries.map_err(|error| self.failed("read the destination", error))
    }

    /// Blocks that a sync that was cut off has left.
    pub(super) fn resumed(&self) -> u64 {
        match &self.way {
            Way::Replace(replace) => replace.resumed(),
            Way::InPlace(_) => 0,
        }
    }

    /// True if changes of such a sync were taken back.
    pub(super) fn rolled_back(&self) -> bool {
        matches!(&self.way, Way::InPlace(in_place) if in_place.rolled_back())
    }

    /// Makes the new content the destination's.
    pub(crate) fn finish(&mut self) -> Result<(), SyncError> {
        let done = match &mut self.way {
            Way::Replace(replace) => replace.finish(),
            Way::InPlace(in_place) => in_place.finish(),
        };
        done.map_err(|error| self.failed("complete the destination", error))
    }

    /// Writes a block whose length is that of the pages.
    pub(crate) fn write(&mut self, pages: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        let (range, bytes) = self.cut(&pages, bytes);
        match &mut self.way {
            Way::Replace(replace) => replace.put(pages, bytes),
            Way::InPlace(in_place) => in_place.change_now(range, Some(bytes)),
        }
    }

    /// Makes a block zero.
    pub(crate) fn clear(&mut self, pages: Range<u64>) -> io::Result<()> {
        let range = self.range(&pages);
        match &mut self.way {
            Way::Replace(replace) => replace.zero(pages, range),
            Way::InPlace(in_place) => in_place.change_now(range, None),
        }
    }

    /// What of a block lies in the file: of the last page that may be a part.
    fn cut<'a>(&self, pages: &Range<u64>, bytes: &'a [u8]) -> (Range<u64>, &'a [u8]) {
        let range = self.range(pages);
        let inside = range.end.saturating_sub(range.start) as usize;
        (range, &bytes[..inside])
    }

    fn range(&self, pages: &Range<u64>) -> Range<u64> {
        pages.start * PAGE_SIZE..(pages.end * PAGE_SIZE).min(self.len)
    }

    /// BLAKE3 digest of what is on disk now.
    pub(crate) fn digest(&self) -> Result<[u8; 32], SyncError> {
        let digest = File::open(&self.path).and_then(|file| extent::digest(&file, self.len));
        digest.map_err(|error| self.failed("read back the destination", error))
    }

    /// Compares both sides as they are on disk now; returns their digest in hexadecimal.
    pub(super) fn verify(&self, source: &Source) -> Result<String, SyncError> {
        let (there, here) = (hex(self.digest()?), hex(source.digest()?));
        if here == there { Ok(here) } else { Err(SyncError::Differs { path: self.path.clone(), here, there }) }
    }

    fn failed(&self, what: &'static str, error: io::Error) -> SyncError {
        SyncError::Destination { what, path: self.path.clone(), error }
    }
}

/// The file that is meant: of the source's name in a folder, and what a symbolic link points to. Memory has no name.
pub(super) fn resolve(path: &Path, source: Option<&Source>) -> Result<PathBuf, SyncError> {
    let mut path = path.to_owned();
    if path.is_dir()
        && let Some(name) = source.and_then(|source| source.path().file_name())
    {
        path.push(name);
    }
    match path.canonicalize() {
        Ok(found) => source.map_or(Ok(()), |source| refuse_same(&found, source)).map(|()| found),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(path),
        Err(error) => Err(SyncError::Destination { what: "open the destination", path, error }),
    }
}

fn open_old(path: &Path) -> Result<Option<File>, SyncError> {
    let failed = |error| SyncError::Destination { what: "open the destination", path: path.to_owned(), error };
    match path.symlink_metadata().map(|data| source::is_usable(data.file_type())) {
        Ok(true) => OpenOptions::new().read(true).custom_flags(extent::NO_LINK).open(path).map(Some).map_err(failed),
        Ok(false) => Err(SyncError::Kind { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn is_device(file: &File) -> bool {
    file.metadata().is_ok_and(|data| data.file_type().is_block_device())
}

fn refuse_same(path: &Path, source: &Source) -> Result<(), SyncError> {
    let failed = |error| SyncError::Destination { what: "open the destination", path: path.to_owned(), error };
    let (there, here) = (path.metadata().map_err(failed)?, source.file().metadata().map_err(failed)?);
    let same_device = there.file_type().is_block_device() && here.file_type().is_block_device() && there.rdev() == here.rdev();
    let same = (there.dev(), there.ino()) == (here.dev(), here.ino()) || same_device;
    if same { Err(SyncError::Same { path: path.to_owned() }) } else { Ok(()) }
}

/// In hexadecimal.
pub(super) fn hex(digest: [u8; 32]) -> String {
    blake3::Hash::from_bytes(digest).to_hex().to_string()
}

impl Destination for &mut Place {
    type Error = io::Error;

    async fn put(&mut self, out: Outgoing<'_>) {
        if matches!(self.way, Way::Replace(_)) {
            let result = self.write(out.pages, out.bytes).map(|()| out.bytes.len() as u64);
            return self.answers.push_back(Answer { block: out.block, result });
        }
        let (range, bytes) = self.cut(&out.pages, out.bytes);
        if let Way::InPlace(in_place) = &mut self.way {
            in_place.put(out.block, range, bytes, &mut self.answers);
        }
    }

    async fn zero(&mut self, block: BlockId, pages: Range<u64>) {
        if matches!(self.way, Way::Replace(_)) {
            let result = self.clear(pages).map(|()| 0);
            return self.answers.push_back(Answer { block, result });
        }
        let range = self.range(&pages);
        if let Way::InPlace(in_place) = &mut self.way {
            in_place.zero(block, range, &mut self.answers);
        }
    }

    fn try_answer(&mut self) -> Option<Answer<io::Error>> {
        self.answers.pop_front()
    }

    async fn answer(&mut self) -> Answer<io::Error> {
        if let Way::InPlace(in_place) = &mut self.way {
            in_place.flush(&mut self.answers);
        }
        match self.answers.pop_front() {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}
