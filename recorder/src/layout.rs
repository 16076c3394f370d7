//! Which memory is tracked: the memory slots, and how they follow the target's mappings.
//!
//! The frames of a guest are its own. Those of any other process are numbered in the order in which memory is found and never used
//! twice, so a frame means the same page in the whole trace. A mapping that grows gets a slot of its own for the new part.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use pagesieve_core::{Backing, Gfn, Hva, MemSlot, PAGE_SHIFT, PageBitmap};
use rustix::fs::{SeekFrom, seek};

use crate::maps::{FileId, Mapping, Wanted};

/// A memory slot and what is behind it.
pub(crate) struct Tracked {
    pub(crate) slot: MemSlot,
    pub(crate) file: Option<FileId>,
    /// Offset of the slot's first byte in the file.
    pub(crate) file_offset: u64,
    /// The file itself, to ask it for holes. `None` if it may not be opened: then every page counts as populated.
    handle: Option<File>,
}

/// The tracked memory of one process.
#[derive(Default)]
pub(crate) struct Layout {
    tracked: Vec<Tracked>,
    /// One past the highest frame ever given out.
    end: u64,
}

/// What [`Layout::follow`] changed.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: Vec<MemSlot>,
    pub(crate) removed: Vec<MemSlot>,
    /// Bytes of chosen memory left out because the page limit is reached.
    pub(crate) beyond_limit: u64,
}

impl Tracked {
    /// The frames of a range of addresses, cut to this slot.
    pub(crate) fn frames(&self, addresses: &Range<u64>) -> Range<u64> {
        let start = addresses.start.clamp(self.slot.hva.0, self.slot.hva_end().0);
        let end = addresses.end.clamp(start, self.slot.hva_end().0);
        let frame = |at: u64| self.slot.base.0 + ((at - self.slot.hva.0) >> PAGE_SHIFT);
        // A page that is covered in part counts whole.
        frame(start)..frame(end + ((1 << PAGE_SHIFT) - 1))
    }

    /// The frames of a range of the file, cut to this slot.
    pub(crate) fn frames_of_file(&self, bytes: &Range<u64>) -> Range<u64> {
        let address = |at: u64| (at.max(self.file_offset) - self.file_offset).saturating_add(self.slot.hva.0);
        self.frames(&(address(bytes.start)..address(bytes.end)))
    }

    /// True if a mapping shows this slot's memory at this slot's place.
    fn is_shown_by(&self, mapping: &Mapping) -> bool {
        let overlaps = mapping.start < self.slot.hva_end().0 && self.slot.hva.0 < mapping.end;
        let same_offset = mapping.offset.wrapping_sub(mapping.start) == self.file_offset.wrapping_sub(self.slot.hva.0);
        overlaps
            && mapping.file == self.file
            && mapping.backing() == Some(self.slot.backing)
            && (self.file.is_none() || same_offset)
    }

    /// The mappings that still show this slot's memory, each cut to the slot.
    pub(crate) fn shown<'a>(&'a self, mappings: &'a [Mapping]) -> impl Iterator<Item = Range<u64>> + 'a {
        let (start, end) = (self.slot.hva.0, self.slot.hva_end().0);
        mappings
            .iter()
            .filter(|mapping| self.is_shown_by(mapping))
            .map(move |mapping| mapping.start.max(start)..mapping.end.min(end))
    }

    /// Adds the pages of a mapped part of shared memory that hold data, by asking the file for its holes. Never touches memory:
    /// reading a hole of a tmpfs file through a mapping would allocate it.
    pub(crate) fn populated_of_file(&self, part: &Range<u64>, populated: &mut PageBitmap) {
        let frames = self.frames(part);
        let Some(file) = &self.handle else {
            populated.insert_range(frames);
            return;
        };
        let end = self.file_offset + (part.end - self.slot.hva.0);
        let mut at = self.file_offset + (part.start - self.slot.hva.0);
        while at < end {
            let Ok(data) = seek(file, SeekFrom::Data(at)) else { return };
            let hole = seek(file, SeekFrom::Hole(data)).unwrap_or(end);
            if data < end {
                populated.insert_range(self.frames_of_file(&(data..hole.min(end))));
            }
            at = hole;
        }
    }
}

impl Tracked {
    /// Reads frames of the slot from the file behind it, which allocates no page even in a hole. Returns false if the file is not
    /// at hand.
    pub(crate) fn read_file(&self, first: Gfn, into: &mut [u8]) -> io::Result<bool> {
        let Some(file) = &self.handle else { return Ok(false) };
        let offset = self.file_offset + ((first.0 - self.slot.base.0) << PAGE_SHIFT);
        file.read_exact_at(into, offset).map(|()| true)
    }
}

impl Wanted<'_> {
    /// True if the slot holds memory of this part, and by the same frames.
    fn agrees_with(&self, slot: &MemSlot) -> bool {
        let overlaps = self.range.start < slot.hva_end().0 && slot.hva.0 < self.range.end;
        let frame_zero = |base: Gfn, hva: u64| base.0.wrapping_sub(hva >> PAGE_SHIFT);
        overlaps && self.base.is_none_or(|base| frame_zero(base, self.range.start) == frame_zero(slot.base, slot.hva.0))
    }

    /// True if it needs frames of the slot for other memory.
    fn displaces(&self, slot: &MemSlot) -> bool {
        let pages = (self.range.end - self.range.start) >> PAGE_SHIFT;
        let overlaps = self.base.is_some_and(|base| base < slot.end() && slot.base.0 < base.0 + pages);
        overlaps && !self.agrees_with(slot)
    }
}

impl Layout {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.tracked.iter()
    }

    pub(crate) fn slots(&self) -> Vec<MemSlot> {
        self.tracked.iter().map(|tracked| tracked.slot).collect()
    }

    /// One past the highest frame ever given out.
    pub(crate) fn frame_end(&self) -> u64 {
        self.end
    }

    pub(crate) fn has_shared(&self) -> bool {
        self.tracked.iter().any(|tracked| tracked.slot.backing == Backing::Shared)
    }

    /// All pages of slots of a kind.
    pub(crate) fn pages_of(&self, backing: Backing) -> PageBitmap {
        let mut pages = PageBitmap::new(self.end);
        for tracked in self.tracked.iter().filter(|tracked| tracked.slot.backing == backing) {
            pages.insert_range(tracked.slot.base.0..tracked.slot.end().0);
        }
        pages
    }

    /// All pages of all slots.
    pub(crate) fn pages(&self) -> PageBitmap {
        let mut pages = self.pages_of(Backing::Anonymous);
        pages.union_with(&self.pages_of(Backing::Shared));
        pages
    }

    /// Forgets all slots: the address space was replaced.
    pub(crate) fn clear(&mut self) -> Vec<MemSlot> {
        self.tracked.drain(..).map(|tracked| tracked.slot).collect()
    }

    /// Drops slots whose memory is gone or no longer wanted, and adds slots for wanted memory that no slot covers yet. Frames from
    /// `page_limit` on are left out.
    pub(crate) fn follow(&mut self, pid: u32, mappings: &[Mapping], wanted: &[Wanted<'_>], page_limit: u64) -> Changes {
        let mut changes = Changes::default();
        self.tracked.retain(|tracked| {
            let stays = tracked.shown(mappings).next().is_some()
                && wanted.iter().any(|part| part.agrees_with(&tracked.slot))
                && !wanted.iter().any(|part| part.displaces(&tracked.slot));
            if !stays {
                changes.removed.push(tracked.slot);
            }
            stays
        });
        for part in wanted {
            for range in self.uncovered(&part.range) {
                let pages = (range.end - range.start) >> PAGE_SHIFT;
                let base = part.base.map_or(self.end, |base| base.0 + ((range.start - part.range.start) >> PAGE_SHIFT));
                if base + pages > page_limit {
                    changes.beyond_limit += range.end - range.start;
                    continue;
                }
                let slot =
                    MemSlot { base: Gfn(base), pages, hva: Hva(range.start), backing: part.backing, numa_node: part.numa_node };
                self.add(pid, part.mapping, slot);
                changes.added.push(slot);
            }
        }
        changes
    }

    fn add(&mut self, pid: u32, mapping: &Mapping, slot: MemSlot) {
        self.end = self.end.max(slot.end().0);
        let file_offset = mapping.offset + (slot.hva.0 - mapping.start);
        let handle = mapping.file.as_ref().and_then(|file| open_file(pid, mapping, file));
        self.tracked.push(Tracked { slot, file: mapping.file.clone(), file_offset, handle });
    }

    /// The parts of a range of addresses that no slot covers.
    fn uncovered(&self, wanted: &Range<u64>) -> Vec<Range<u64>> {
        let mut covered: Vec<_> = self.tracked.iter().map(|tracked| tracked.slot.hva.0..tracked.slot.hva_end().0).collect();
        covered.sort_by_key(|range| range.start);
        let mut parts = Vec::new();
        let mut at = wanted.start;
        for range in covered {
            if range.end <= at || range.start >= wanted.end {
                continue;
            }
            if range.start > at {
                parts.push(at..range.start);
            }
            at = range.end;
        }
        if at < wanted.end {
            parts.push(at..wanted.end);
        }
        parts
    }
}

/// Opens the file behind a shared mapping: through `map_files` (root), or through a descriptor that the process still holds.
fn open_file(pid: u32, mapping: &Mapping, file: &FileId) -> Option<File> {
    open_with(File::options().read(true), pid, mapping, file)
}

/// The same, for whoever writes into it.
pub(crate) fn open_file_to_write(pid: u32, mapping: &Mapping, file: &FileId) -> Option<File> {
    open_with(File::options().read(true).write(true), pid, mapping, file)
}

fn open_with(options: &OpenOptions, pid: u32, mapping: &Mapping, file: &FileId) -> Option<File> {
    let by_mapping = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(by_mapping.into()).chain(descriptors).find_map(|path| {
        let is_it = fs::metadata(&path).is_ok_and(|meta| *file == FileId::of(&meta));
        is_it.then(|| options.open(&path).ok())?
    })
}

impl FileId {
    /// The identity of an open or named file, as `/proc/PID/maps` prints it.
    pub(crate) fn of(meta: &fs::Metadata) -> Self {
        let device = format!("{:02x}:{:02x}", rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
        Self { device, inode: meta.ino() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps;

    fn mapping(start: u64, end: u64, inode: u64) -> Mapping {
        Mapping {
            start,
            end,
            writable: true,
            shared: inode != 0,
            offset: 0,
            file: (inode != 0).then(|| FileId { device: "00:01".into(), inode }),
            name: if inode == 0 { String::new() } else { "/memfd:ram (deleted)".into() },
            of_source: false,
        }
    }

    const MIB: u64 = 1 << 20;

    /// Follows a process of which every mapping is chosen.
    fn follow(layout: &mut Layout, mappings: &[Mapping], page_limit: u64) -> Changes {
        layout.follow(1, mappings, &maps::chosen(mappings, &[]).collect::<Vec<_>>(), page_limit)
    }

    /// Follows a guest that has one mapping, at this frame.
    fn follow_guest(layout: &mut Layout, mapping: &Mapping, base: u64) -> Changes {
        let backing = mapping.backing().unwrap();
        let part = Wanted { mapping, range: mapping.start..mapping.end, backing, base: Some(Gfn(base)), numa_node: Some(1) };
        layout.follow(1, std::slice::from_ref(mapping), &[part], 1 << 20)
    }

    #[test]
    fn guest_memory_has_the_frames_of_the_guest() {
        let mut layout = Layout::default();
        let changes = follow_guest(&mut layout, &mapping(4 * MIB, 6 * MIB, 0), 0x1000);
        let slot = changes.added[0];
        assert_eq!((slot.base, slot.end(), slot.numa_node), (Gfn(0x1000), Gfn(0x1200), Some(1)));
        assert_eq!(follow_guest(&mut layout, &mapping(4 * MIB, 6 * MIB, 0), 0x1000), Changes::default());
        let changes = follow_guest(&mut layout, &mapping(4 * MIB, 6 * MIB, 0), 0x2000);
        assert_eq!((changes.removed, changes.added[0].base), (vec![slot], Gfn(0x2000)), "it was plugged in elsewhere");
        let changes = follow_guest(&mut layout, &mapping(4 * MIB, 6 * MIB, 0), 0xfff00);
        assert_eq!((changes.added.len(), changes.beyond_limit), (0, 2 * MIB));
    }

    #[test]
    fn a_frame_is_never_in_two_slots() {
        let mut layout = Layout::default();
        follow_guest(&mut layout, &mapping(4 * MIB, 6 * MIB, 0), 0);
        // What was thought to go on behind a part turns out to be other memory.
        let mappings = [mapping(4 * MIB, 6 * MIB, 0), mapping(8 * MIB, 9 * MIB, 0)];
        let part =
            |mapping, range, base| Wanted { mapping, range, backing: Backing::Anonymous, base: Some(Gfn(base)), numa_node: None };
        let parts = [part(&mappings[0], 4 * MIB..5 * MIB, 0), part(&mappings[1], 8 * MIB..9 * MIB, 256)];
        let changes = layout.follow(1, &mappings, &parts, 1 << 20);
        assert_eq!(changes.removed.len(), 1);
        let places: Vec<_> = layout.slots().iter().map(|slot| (slot.base.0, slot.pages, slot.hva.0)).collect();
        assert_eq!(places, [(0, 256, 4 * MIB), (256, 256, 8 * MIB)]);
        assert_eq!(layout.follow(1, &mappings, &parts, 1 << 20), Changes::default());
    }

    #[test]
    fn a_mapping_that_grows_gets_a_slot_for_the_new_part() {
        let mut layout = Layout::default();
        follow(&mut layout, &[mapping(4 * MIB, 6 * MIB, 0)], 1 << 20);
        let changes = follow(&mut layout, &[mapping(4 * MIB, 9 * MIB, 0)], 1 << 20);
        assert!(changes.removed.is_empty());
        assert_eq!(changes.added.len(), 1);
        assert_eq!((changes.added[0].base, changes.added[0].hva, changes.added[0].pages), (Gfn(512), Hva(6 * MIB), 768));
        assert_eq!(follow(&mut layout, &[mapping(4 * MIB, 9 * MIB, 0)], 1 << 20), Changes::default());
    }

    #[test]
    fn another_file_at_the_same_place_is_other_memory() {
        let mut layout = Layout::default();
        follow(&mut layout, &[mapping(4 * MIB, 6 * MIB, 7)], 1 << 20);
        let changes = follow(&mut layout, &[mapping(4 * MIB, 6 * MIB, 8)], 1 << 20);
        assert_eq!((changes.removed.len(), changes.added.len()), (1, 1));
        assert_eq!(changes.added[0].base, Gfn(512), "a frame number is never used twice");
    }

    #[test]
    fn memory_beyond_the_page_limit_is_left_out_and_said() {
        let mut layout = Layout::default();
        let changes = follow(&mut layout, &[mapping(4 * MIB, 6 * MIB, 0), mapping(8 * MIB, 9 * MIB, 0)], 300);
        assert_eq!(changes.beyond_limit, 2 * MIB);
        assert_eq!(changes.added.len(), 1, "what fits is tracked");
    }

    #[test]
    fn a_range_of_the_file_is_cut_to_the_slot() {
        let mut layout = Layout::default();
        let mut part = mapping(4 * MIB, 6 * MIB, 7);
        part.offset = MIB;
        follow(&mut layout, &[part], 1 << 20);
        let tracked = layout.iter().next().unwrap();
        assert_eq!(tracked.frames_of_file(&(0..MIB + 1)), 0..1, "a page touched in part counts whole");
        assert_eq!(tracked.frames_of_file(&(2 * MIB..100 * MIB)), 256..512);
        assert_eq!(tracked.frames_of_file(&(0..MIB)), 0..0);
    }
}
