//! The guest's memory as the trace tells it: which version of each page is the truth at the end of each epoch.

use pagesieve_core::{Blocks, Epoch, Gfn, MemSlots, PageBitmap};
use pagesieve_traces::{Frame, Header, PageSummary};

use crate::config::ReplayError;

/// Which version of a page. With page summaries it is the number of the content; without, 1 + the last epoch whose dirty log
/// has the page. A page without data has [`Version::ZERO`] in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version(pub(crate) u32);

impl Version {
    /// A page of zeros.
    pub(crate) const ZERO: Version = Version(0);
    /// A page that was read while it may have been written: any mixture of two versions. It equals nothing, itself included.
    pub(crate) const TORN: Version = Version(u32::MAX);

    /// True if both are certainly the same bytes.
    pub(crate) fn same(self, other: Version) -> bool {
        self == other && self != Version::TORN
    }
}

/// Marks a content that was not looked at; numbers of contents count up from 0 and do not reach it.
const UNSEEN: u32 = 1 << 31;
/// No delta is known.
const NO_DELTA: u16 = u16::MAX;

/// The source's pages, as arrays indexed by frame. It stands at the end of an epoch ([`Source::close`]) or inside one
/// ([`Source::open`]), where pages in the epoch's dirty log have no certain content.
#[derive(Debug)]
pub(crate) struct Source {
    slots: MemSlots,
    by_content: bool,
    version: Vec<u32>,
    before: Vec<u32>,
    compressed: Vec<u16>,
    delta: Vec<u16>,
    populated: PageBitmap,
    /// Pages that may change in the epoch in progress.
    unsettled: PageBitmap,
    /// Pages may have a version of [`UNSEEN`].
    any_unseen: bool,
}

impl Source {
    pub(crate) fn new(header: &Header) -> Result<Self, ReplayError> {
        let mut source = Self {
            slots: MemSlots::new(),
            by_content: header.fingerprints,
            version: Vec::new(),
            before: Vec::new(),
            compressed: Vec::new(),
            delta: Vec::new(),
            populated: PageBitmap::default(),
            unsettled: PageBitmap::default(),
            any_unseen: false,
        };
        source.set_slots(table(&header.slots)?);
        Ok(source)
    }

    pub(crate) fn slots(&self) -> &MemSlots {
        &self.slots
    }

    pub(crate) fn by_content(&self) -> bool {
        self.by_content
    }

    /// Time enters the frame's epoch. Returns true if the slots changed.
    pub(crate) fn open(&mut self, frame: &Frame) -> Result<bool, ReplayError> {
        self.unsettled = frame.log.all();
        let Some(slots) = &frame.slots else { return Ok(false) };
        let slots = table(slots)?;
        let changed = slots != self.slots;
        // What was in a new slot before this epoch's end is not recorded.
        self.unsettled.grow(slots.frame_end());
        for slot in slots.iter().filter(|slot| !self.slots.iter().any(|old| old == *slot)) {
            self.unsettled.insert_range(slot.base.0..slot.end().0);
        }
        self.set_slots(slots);
        Ok(changed)
    }

    fn set_slots(&mut self, slots: MemSlots) {
        let frames = (slots.frame_end() as usize).max(self.version.len());
        self.version.resize(frames, 0);
        self.before.resize(frames, 0);
        self.compressed.resize(frames, 0);
        self.delta.resize(frames, NO_DELTA);
        self.slots = slots;
    }

    /// Time reaches the end of the frame's epoch: its changes are the truth now.
    pub(crate) fn close(&mut self, frame: &Frame) {
        if !self.by_content {
            self.name_log(frame, version_of(frame.epoch));
        } else if let Some(summaries) = &frame.summaries {
            if self.any_unseen {
                self.rename_unseen(frame);
            }
            summaries.iter().for_each(|summary| self.set_content(summary));
        } else {
            // Nobody looked: each page of the log may have a content that no other epoch has seen.
            self.name_log(frame, UNSEEN | frame.epoch.0);
            self.any_unseen = true;
        }
        for slot in self.slots.iter() {
            for at in (slot.base.0..slot.end().0).filter(|&at| !frame.populated.contains(Gfn(at))) {
                self.version[at as usize] = Version::ZERO.0;
            }
        }
        if !self.by_content {
            self.name_old_data(frame);
        }
        self.populated = frame.populated.clone();
        self.unsettled.clear();
    }

    fn name_log(&mut self, frame: &Frame, version: u32) {
        for gfn in frame.log.all().iter() {
            if let Some(page) = self.version.get_mut(gfn.index()) {
                *page = version;
            }
        }
    }

    /// Pages that nobody looked at and that are in the log again: they may have another content that nobody has seen. A summary, if
    /// there is one, says which.
    fn rename_unseen(&mut self, frame: &Frame) {
        for gfn in frame.log.all().iter() {
            if let Some(version) = self.version.get_mut(gfn.index()).filter(|version| **version & UNSEEN != 0) {
                *version = UNSEEN | frame.epoch.0;
            }
        }
    }

    fn set_content(&mut self, summary: &PageSummary) {
        let at = summary.gfn.index();
        if at >= self.version.len() {
            return;
        }
        let unseen = self.version[at] & UNSEEN != 0;
        self.compressed[at] = summary.compressed;
        // A delta starts from the content that was looked at last.
        self.delta[at] = if unseen { NO_DELTA } else { summary.delta.unwrap_or(NO_DELTA) };
        // A page that changed while nobody looked, and not since, keeps the name under which it may have been sent.
        if !unseen || self.unsettled.contains(summary.gfn) {
            self.before[at] = std::mem::replace(&mut self.version[at], summary.content.0);
        }
    }

    /// Without summaries only a number tells data from zeros. Data that was there at the start, or came with a new slot, gets
    /// one here. A page that is populated later without being in the log (by reading it) is still zero.
    fn name_old_data(&mut self, frame: &Frame) {
        let first = self.populated.is_empty();
        for gfn in frame.populated.iter() {
            let Some(version) = self.version.get_mut(gfn.index()) else { return };
            if *version == Version::ZERO.0 && (first || self.unsettled.contains(gfn)) {
                *version = version_of(frame.epoch);
            }
        }
    }

    /// What a page holds at the end of the last closed epoch.
    pub(crate) fn truth(&self, gfn: Gfn) -> Version {
        self.version.get(gfn.index()).map_or(Version::ZERO, |&version| Version(version))
    }

    /// What reading a page now gives.
    pub(crate) fn read(&self, gfn: Gfn) -> Version {
        if self.unsettled.contains(gfn) { Version::TORN } else { self.truth(gfn) }
    }

    /// Bytes of a page that was read as `read` to a destination that holds `there`, in the smallest form.
    pub(crate) fn wire_len(&self, gfn: Gfn, read: Version, there: Version) -> u64 {
        let at = gfn.index();
        if read.same(Version::ZERO) || read.same(there) {
            return 0;
        }
        if !self.by_content || (read == Version::TORN && self.compressed[at] == 0) {
            return crate::wire::PAGE;
        }
        let mut bytes = crate::wire::PAGE.min(self.compressed[at].into());
        if self.delta[at] != NO_DELTA && read != Version::TORN && Version(self.before[at]).same(there) {
            bytes = bytes.min(self.delta[at].into());
        }
        bytes
    }
}

fn version_of(epoch: Epoch) -> u32 {
    epoch.0.saturating_add(1).min(Version::TORN.0 - 1)
}

/// The table of these slots, if they agree and the tables indexed by frame can hold them.
pub(crate) fn table(slots: &[pagesieve_core::MemSlot]) -> Result<MemSlots, ReplayError> {
    let table = MemSlots::from_slots(slots.iter().copied())?;
    if table.frame_end() > Blocks::MAX_FRAMES {
        return Err(ReplayError::TooManyFrames(table.frame_end()));
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
