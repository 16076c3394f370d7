//! Files as extents: how they are opened, which parts hold data, reading beyond the end, and digests.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use pagesieve_core::{PAGE_SIZE, PageBitmap};
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

/// A destination is opened by a path without symbolic links; one that appears in its place later is not followed.
pub(super) const NO_LINK: i32 = OFlags::NOFOLLOW.bits().cast_signed();
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// The ranges of bytes that hold data, in order; `None` where the file system does not tell.
pub(super) fn data(file: &File, len: u64) -> Option<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < len => {
                let end = rustix::fs::seek(file, SeekFrom::Hole(start)).ok().filter(|&end| end > start)?.min(len);
                ranges.push(start..end);
                at = end;
            }
            // No data from here to the end.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(_) => return None,
        }
    }
    Some(ranges)
}

/// The pages that hold data; `None` where the file system does not tell.
pub(super) fn populated(file: &File, len: u64) -> Option<PageBitmap> {
    let mut pages = PageBitmap::new(len.div_ceil(PAGE_SIZE));
    for range in data(file, len)? {
        pages.insert_range(range.start / PAGE_SIZE..range.end.div_ceil(PAGE_SIZE));
    }
    Some(pages)
}

/// Reads bytes from an offset. What lies at or beyond `len` reads as zero.
pub(super) fn read_padded(file: &File, offset: u64, len: u64, into: &mut [u8]) -> io::Result<()> {
    let inside = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX).min(into.len());
    file.read_exact_at(&mut into[..inside], offset)?;
    into[inside..].fill(0);
    Ok(())
}

/// BLAKE3 digest of the first `len` bytes.
pub(super) fn digest(file: &File, len: u64) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < len {
        let size = CHUNK.min(usize::try_from(len - at).unwrap_or(CHUNK));
        file.read_exact_at(&mut chunk[..size], at)?;
        hasher.update(&chunk[..size]);
        at += size as u64;
    }
    Ok(*hasher.finalize().as_bytes())
}
