//! Other ways into tracked memory: mappings of other processes, second mappings of the target, and direct I/O. Writes that take
//! these ways leave no trace in the target's page tables.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;

use pagesieve_core::{Backing, PageBitmap};

use crate::layout::Layout;
use crate::maps::{self, FileId, Mapping};

/// The pages of shared slots that can be written through some other mapping now.
pub(crate) fn written_by_others(pid: u32, own: &[Mapping], layout: &Layout) -> PageBitmap {
    let mut pages = PageBitmap::new(layout.frame_end());
    let files: BTreeSet<&FileId> = layout.iter().filter_map(|tracked| tracked.file.as_ref()).collect();
    if files.is_empty() {
        return pages;
    }
    for mapping in own {
        add(layout, mapping, Some(pid), &mut pages);
    }
    for other in processes().filter(|&other| other != pid) {
        // What may not be read belongs to another user; it could only have the file if it was given to it.
        for mapping in maps::read(other).unwrap_or_default() {
            add(layout, &mapping, None, &mut pages);
        }
    }
    pages
}

fn add(layout: &Layout, mapping: &Mapping, own: Option<u32>, pages: &mut PageBitmap) {
    if !mapping.writable || !mapping.shared || mapping.file.is_none() {
        return;
    }
    for tracked in layout.iter().filter(|tracked| tracked.file == mapping.file) {
        // A mapping of the target at the slot's own place is the slot itself.
        let is_slot = own.is_some()
            && mapping.start < tracked.slot.hva_end().0
            && tracked.slot.hva.0 < mapping.end
            && mapping.offset.wrapping_sub(mapping.start) == tracked.file_offset.wrapping_sub(tracked.slot.hva.0);
        if !is_slot {
            pages.insert_range(tracked.frames_of_file(&mapping.file_range()));
        }
    }
}

pub(crate) fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// True if the process maps one of the layout's shared files for writing.
pub(crate) fn maps_shared(pid: u32, layout: &Layout) -> bool {
    let mappings = maps::read(pid).unwrap_or_default();
    mappings.iter().any(|mapping| {
        mapping.writable && mapping.shared && layout.iter().any(|tracked| tracked.file.is_some() && tracked.file == mapping.file)
    })
}

/// How a process could have I/O write into its pages behind the page tables' back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DirectIo {
    /// It holds no descriptor that could.
    None,
    /// A descriptor is open with `O_DIRECT`: I/O is over once every thread is seen stopped.
    Synchronous,
    /// It has an AIO context or an io_uring: I/O may go on while every thread is stopped.
    Asynchronous,
}

/// Looks at a process's descriptors and mappings.
pub(crate) fn direct_io(pid: u32, own: &[Mapping]) -> DirectIo {
    if own.iter().any(|mapping| mapping.name.contains("[aio]")) {
        return DirectIo::Asynchronous;
    }
    let mut found = DirectIo::None;
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().contains("[io_uring]")) {
            return DirectIo::Asynchronous;
        }
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", entry.file_name().to_string_lossy()));
        if opened_direct(&info.unwrap_or_default()) {
            found = DirectIo::Synchronous;
        }
    }
    found
}

fn opened_direct(fdinfo: &str) -> bool {
    flags(fdinfo).is_some_and(|flags| flags & libc::O_DIRECT != 0)
}

/// True if a descriptor is certainly open for reading only.
pub(crate) fn opened_for_reading(fdinfo: &str) -> bool {
    flags(fdinfo).is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_RDONLY)
}

fn flags(fdinfo: &str) -> Option<i32> {
    let flags = fdinfo.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).ok()
}

/// The pages that a discard of part of a file touches.
pub(crate) fn pages_of_file(layout: &Layout, file: &FileId, bytes: &Range<u64>) -> PageBitmap {
    let mut pages = PageBitmap::new(layout.frame_end());
    for tracked in layout.iter().filter(|tracked| tracked.file.as_ref() == Some(file)) {
        pages.insert_range(tracked.frames_of_file(bytes));
    }
    pages
}

/// The pages that a discard of a range of addresses touches: in the slots there, and in every other slot of the same file,
/// because a discard of shared memory is one of the file.
pub(crate) fn pages_of_addresses(layout: &Layout, addresses: &Range<u64>) -> PageBitmap {
    let mut pages = PageBitmap::new(layout.frame_end());
    for tracked in layout.iter() {
        let frames = tracked.frames(addresses);
        if frames.is_empty() {
            continue;
        }
        if let (Backing::Shared, Some(file)) = (tracked.slot.backing, &tracked.file) {
            let start = tracked.file_offset + (addresses.start.max(tracked.slot.hva.0) - tracked.slot.hva.0);
            let end = tracked.file_offset + (addresses.end.min(tracked.slot.hva_end().0) - tracked.slot.hva.0);
            pages.union_with(&pages_of_file(layout, file, &(start..end)));
        }
        pages.insert_range(frames);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o_direct_is_read_from_the_octal_flags() {
        assert!(opened_direct("pos:\t0\nflags:\t02140000\nmnt_id:\t13\n"));
        assert!(!opened_direct("pos:\t0\nflags:\t02100000\nmnt_id:\t13\n"));
        assert!(!opened_direct(""));
        assert!(opened_for_reading("flags:\t0100000\n") && !opened_for_reading("flags:\t0100002\n") && !opened_for_reading(""));
    }
}
