//! The memory of a guest or process, as a sync copies it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use pagesieve_core::ports::{ClosedEpoch, DirtyLog, GuestMemory, PausableGuest};
use pagesieve_core::{Coverage, Epoch, MemSlots, PAGE_SIZE, PageBitmap};
use pagesieve_live::sync::Machine;
use pagesieve_recorder::TargetSpec;
use pagesieve_recorder::live::{LiveOptions, LiveTarget, Log, Memory, Pausable};

/// Whose memory a source names: `qmp:SOCKET` or `pid:PID`. A file of such a name is written as `./NAME`.
pub(super) fn named(source: &Path) -> Option<TargetSpec> {
    let text = source.to_str()?;
    if let Some(socket) = text.strip_prefix("qmp:") {
        return Some(TargetSpec::Guest { qmp: PathBuf::from(socket), pid: None });
    }
    text.strip_prefix("pid:")?.parse().ok().map(TargetSpec::Pid)
}

/// A guest by its own page numbers, or a process by those of a recording.
pub(super) struct LiveMemory {
    target: LiveTarget,
    log: Log,
    memory: Memory,
    guest: Pausable,
    slots: MemSlots,
    populated: PageBitmap,
    /// One past the last frame of this pass.
    end: u64,
}

impl LiveMemory {
    /// Finds the memory and arms it.
    pub(super) fn open(spec: &TargetSpec, require_ebpf: bool) -> anyhow::Result<Self> {
        let options = LiveOptions { require_ebpf, stops_threads: true, ..LiveOptions::default() };
        let target = LiveTarget::open(spec, &options, None)?;
        let (log, memory, guest) = (target.log(), target.memory(), target.guest());
        let (slots, populated) = (target.slots().clone(), target.populated().clone());
        Ok(Self { target, log, memory, guest, slots, populated, end: 0 })
    }
}

impl Machine for LiveMemory {
    fn begin(&mut self) -> u64 {
        self.end = self.slots.frame_end();
        self.end * PAGE_SIZE
    }

    fn populated(&self) -> PageBitmap {
        self.populated.clone()
    }

    fn close(&mut self, epoch: Epoch) -> Result<ClosedEpoch, String> {
        // Accesses are of no use here, and their room is needed.
        self.target.drain();
        let mut closed = self.log.close(epoch).map_err(|error| error.to_string())?;
        if let Some(populated) = &closed.populated {
            self.populated.clone_from(populated);
        }
        if let Some(slots) = closed.slots.take() {
            // Frames that are no memory any more read as zero from here on; those beyond the end belong to the next pass.
            self.slots = slots;
            closed.coverage = Coverage::Partial;
        }
        Ok(closed)
    }

    fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> Result<(), String> {
        into.fill(0);
        for slot in self.slots.iter() {
            let part = frames.start.max(slot.base.0)..frames.end.min(slot.end().0);
            if part.start < part.end {
                let at = |frame: u64| ((frame - frames.start) * PAGE_SIZE) as usize;
                let bytes = &mut into[at(part.start)..at(part.end)];
                self.memory.read(part, bytes).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), String> {
        self.guest.pause().map_err(|error| error.to_string())
    }

    fn resume(&mut self) -> Result<(), String> {
        self.guest.resume().map_err(|error| error.to_string())
    }

    fn ebpf_enabled(&self) -> bool {
        self.target.status().ebpf_enabled
    }

    fn fallback(&self) -> Option<String> {
        self.target.status().fallbacks().next().cloned()
    }
}
