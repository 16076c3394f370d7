//! The RAM of a QEMU that waits for a guest, written from outside.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use pagesieve_core::{PAGE_SHIFT, PageBitmap, delta};
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use crate::layout;
use crate::maps::Mapping;
use crate::qemu::{GuestRam, StateError};

/// Guest memory by frame number, as the files that a QEMU shares. It is written through the files: they are the guest's memory, and a
/// hole that is not written stays one.
#[derive(Debug)]
pub struct DestinationRam {
    parts: Vec<Part>,
}

/// Frames that lie in one file one after the other.
#[derive(Debug)]
struct Part {
    frames: Range<u64>,
    file: File,
    /// Of the first frame.
    offset: u64,
}

impl DestinationRam {
    /// Finds the files behind the RAM of a process.
    pub(crate) fn open(pid: u32, ram: &[GuestRam], mappings: &[Mapping]) -> Result<Self, StateError> {
        let mut parts = Vec::new();
        for piece in ram {
            let mut found = 0;
            for mapping in mappings {
                let range = piece.hva.start.max(mapping.start)..piece.hva.end.min(mapping.end);
                if range.start >= range.end {
                    continue;
                }
                let file = mapping.file.as_ref().filter(|_| mapping.shared && mapping.writable);
                let file = file.and_then(|file| layout::open_file_to_write(pid, mapping, file));
                let file = file.ok_or_else(|| StateError::NoFile { backend: piece.backend.clone() })?;
                let first = piece.base().0 + ((range.start - piece.hva.start) >> PAGE_SHIFT);
                let frames = first..first + ((range.end - range.start) >> PAGE_SHIFT);
                parts.push(Part { frames, file, offset: mapping.offset + (range.start - mapping.start) });
                found += range.end - range.start;
            }
            if found != piece.len() {
                return Err(StateError::NoFile { backend: piece.backend.clone() });
            }
        }
        parts.sort_by_key(|part| part.frames.start);
        Ok(Self { parts })
    }

    /// Makes these frames hold `bytes`, whose length is that of the frames. Pages of zeros become holes.
    ///
    /// # Errors
    /// The frames are not all in the guest's RAM, or the system has no memory for them; what they hold is unknown then.
    pub fn write(&self, frames: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        let mut first = frames.start;
        for run in runs(bytes) {
            let end = first + (run.len() >> PAGE_SHIFT) as u64;
            if delta::is_zero(run) {
                self.zero(first..end)?;
            } else {
                self.each(first..end, |part, offset, at| part.file.write_all_at(&run[at], offset))?;
            }
            first = end;
        }
        Ok(())
    }

    /// Copies these frames to `into`, which is exactly as long.
    ///
    /// # Errors
    /// The frames are not all in the guest's RAM.
    pub fn read(&self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        self.each(frames, |part, offset, at| part.file.read_exact_at(&mut into[at], offset))
    }

    /// Makes these frames zero and gives their memory back to the system.
    ///
    /// # Errors
    /// The frames are not all in the guest's RAM.
    pub fn zero(&self, frames: Range<u64>) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.each(frames, |part, offset, at| Ok(fallocate(&part.file, flags, offset, at.len() as u64)?))
    }

    /// The frames that hold data; all others read as zero.
    #[must_use]
    pub fn populated(&self) -> PageBitmap {
        let mut pages = PageBitmap::new(self.parts.last().map_or(0, |part| part.frames.end));
        for part in &self.parts {
            let end = part.offset + ((part.frames.end - part.frames.start) << PAGE_SHIFT);
            let frame = |offset: u64| part.frames.start + ((offset - part.offset) >> PAGE_SHIFT);
            let mut at = part.offset;
            while at < end {
                let data = match seek(&part.file, SeekFrom::Data(at)) {
                    Ok(data) => data,
                    Err(Errno::NXIO) => break,
                    // Where nobody can tell, all may be data.
                    Err(_) => at,
                };
                let hole = seek(&part.file, SeekFrom::Hole(data)).unwrap_or(end).min(end);
                pages.insert_range(frame(data.min(end))..frame(hole));
                at = hole.max(data);
            }
        }
        pages
    }

    /// Calls for each part of a range: with the offset in its file, and the place among the range's bytes.
    fn each(&self, frames: Range<u64>, mut act: impl FnMut(&Part, u64, Range<usize>) -> io::Result<()>) -> io::Result<()> {
        let mut at = frames.start;
        while at < frames.end {
            let holds = |part: &&Part| part.frames.contains(&at);
            let outside = || io::Error::new(io::ErrorKind::InvalidInput, format!("frame {at:#x} is not in the guest's RAM"));
            let part = self.parts.iter().find(holds).ok_or_else(outside)?;
            let end = frames.end.min(part.frames.end);
            let offset = part.offset + ((at - part.frames.start) << PAGE_SHIFT);
            let place = |frame: u64| ((frame - frames.start) << PAGE_SHIFT) as usize;
            act(part, offset, place(at)..place(end))?;
            at = end;
        }
        Ok(())
    }
}

/// Cuts bytes into runs of pages that are all zero, or all not.
fn runs(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let zero = |page: &[u8]| delta::is_zero(page);
        let mut pages = rest.chunks(1 << PAGE_SHIFT);
        let kind = zero(pages.next()?);
        let more = pages.take_while(|page| zero(page) == kind).map(<[u8]>::len).sum::<usize>();
        let (run, after) = rest.split_at((more + (1 << PAGE_SHIFT)).min(rest.len()));
        rest = after;
        Some(run)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 1 << PAGE_SHIFT;

    /// Frames 0 to 4 and 4 to 8 in two files, the second from an offset on, and a gap up to frame 16.
    fn ram() -> DestinationRam {
        let part = |frames: Range<u64>, offset: usize| {
            let file = tempfile::tempfile().unwrap();
            file.set_len((frames.end - frames.start) << PAGE_SHIFT | offset as u64).unwrap();
            Part { frames, file, offset: offset as u64 }
        };
        DestinationRam { parts: vec![part(0..4, 0), part(4..8, 16 * PAGE), part(16..17, 0)] }
    }

    #[test]
    fn a_block_may_span_two_files() {
        let ram = ram();
        let bytes: Vec<u8> = (1..=4).flat_map(|number| [number; PAGE]).collect();
        ram.write(2..6, &bytes).unwrap();
        let mut read = vec![9; 8 * PAGE];
        ram.read(0..8, &mut read).unwrap();
        assert!(read[2 * PAGE..6 * PAGE] == bytes && read[..2 * PAGE].iter().chain(&read[6 * PAGE..]).all(|&byte| byte == 0));
        assert_eq!(ram.populated().iter().map(|gfn| gfn.0).collect::<Vec<_>>(), [2, 3, 4, 5]);
        ram.zero(3..5).unwrap();
        // Zeros within a block leave holes and make some.
        ram.write(0..4, &[&[0; 2 * PAGE][..], &bytes[..PAGE], &[0; PAGE]].concat()).unwrap();
        assert_eq!(ram.populated().iter().map(|gfn| gfn.0).collect::<Vec<_>>(), [2, 5]);
        ram.read(0..8, &mut read).unwrap();
        assert!(read[2 * PAGE..3 * PAGE] == bytes[..PAGE] && read[3 * PAGE..5 * PAGE].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn frames_that_are_no_ram_are_refused() {
        let ram = ram();
        for frames in [7..9, 8..9, 15..17, 16..18] {
            let mut bytes = vec![1; (frames.end - frames.start) as usize * PAGE];
            assert!(ram.write(frames.clone(), &bytes).is_err(), "{frames:?}");
            assert!(ram.read(frames.clone(), &mut bytes).is_err(), "{frames:?}");
            assert!(ram.zero(frames.clone()).is_err(), "{frames:?}");
        }
    }
}
