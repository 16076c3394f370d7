//! Between two closings: what was written so far, and what the pages hold.

use std::io;
use std::ops::Range;

use pagesieve_core::{Backing, Gfn, PageBitmap};
use pagesieve_traces::DirtyLog;

use super::Observer;
use crate::layout::Tracked;
use crate::process;

impl Observer {
    /// Pages written since the last closing, which stay as they are. Pages that cannot be told count as written.
    pub(crate) fn written_since(&mut self) -> PageBitmap {
        let mut log = DirtyLog { written: PageBitmap::new(self.layout.frame_end()), ..DirtyLog::default() };
        match self.mappings() {
            Some(mappings) => self.add_late_writes(&mappings, &mut log),
            None => log.written.union_with(&self.layout.pages()),
        }
        log.all()
    }

    /// Copies frames of one slot. Holes read as zeros and stay holes.
    pub(crate) fn read_frames(&mut self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "these frames are in no memory slot");
        let (first, end) = (Gfn(frames.start), Gfn(frames.end));
        let holds = |tracked: &&Tracked| tracked.slot.base <= first && end <= tracked.slot.end();
        let tracked = self.layout.iter().find(holds).ok_or_else(gone)?;
        if tracked.read_file(first, into)? {
            return Ok(());
        }
        let start = tracked.slot.hva_of(first).0;
        if tracked.slot.backing == Backing::Shared {
            // Without the file nobody can tell a hole from a page that is only not mapped.
            return process::read_memory(self.pid, start, into);
        }
        into.fill(0);
        let mut parts = Vec::new();
        self.writes.mapped(start..start + into.len() as u64, &mut |extent| {
            if extent.holds_data {
                parts.push((extent.start.0 - start) as usize..(extent.end.0 - start) as usize);
            }
        })?;
        parts.into_iter().try_for_each(|part| process::read_memory(self.pid, start + part.start as u64, &mut into[part]))
    }
}
