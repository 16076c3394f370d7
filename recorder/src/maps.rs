//! `/proc/PID/maps`: what is mapped where, and which of it is worth tracking.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pagesieve_core::{Backing, Gfn, PAGE_SHIFT};

/// Regions below this are not picked up by default: stacks, small heaps and library data say little about a guest.
pub(crate) const SMALLEST_DEFAULT: u64 = 1 << 20;

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) writable: bool,
    pub(crate) shared: bool,
    /// Offset of `start` in the file, in bytes.
    pub(crate) offset: u64,
    /// Device and inode of the file; `None` for private anonymous memory.
    pub(crate) file: Option<FileId>,
    pub(crate) name: String,
    /// It is tracked because it shows one certain file, which may lie on a disk.
    pub(crate) of_source: bool,
}

/// What tells one file from another: device as printed in maps, and inode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId {
    pub(crate) device: String,
    pub(crate) inode: u64,
}

impl Mapping {
    pub(crate) fn len(&self) -> u64 {
        self.end - self.start
    }

    /// What the memory is made of, or `None` if it is of a kind that cannot be tracked soundly: private mappings of files
    /// (whose untouched pages change with the file) and shared mappings of files on disk, unless it is such a file that is wanted.
    pub(crate) fn backing(&self) -> Option<Backing> {
        match (&self.file, self.shared) {
            (None, false) if !self.is_special() => Some(Backing::Anonymous),
            (Some(_), true) if self.of_source || self.is_shmem() => Some(Backing::Shared),
            _ => None,
        }
    }

    fn is_special(&self) -> bool {
        // The stack moves by growing; the others are the kernel's.
        ["[stack", "[vdso]", "[vvar", "[vsyscall]", "[uprobes]"].iter().any(|name| self.name.starts_with(name))
    }

    fn is_shmem(&self) -> bool {
        let path = self.name.strip_suffix(" (deleted)").unwrap_or(&self.name);
        path.starts_with("/memfd:")
            || path.starts_with("/SYSV")
            || path == "/dev/zero"
            || path.starts_with("/dev/shm/")
            || on_tmpfs(Path::new(path))
    }

    /// The part of the file that is mapped, in bytes.
    pub(crate) fn file_range(&self) -> Range<u64> {
        self.offset..self.offset + self.len()
    }
}

fn on_tmpfs(path: &Path) -> bool {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    path.is_absolute() && rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type as u64 == TMPFS_MAGIC)
}

/// Reads all mappings of a process.
pub(crate) fn read(pid: u32) -> io::Result<Vec<Mapping>> {
    let text = fs::read(format!("/proc/{pid}/maps"))?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
}

fn parse(line: &str) -> Option<Mapping> {
    // start-end perms offset device inode, then the name, which may hold spaces.
    let mut rest = line;
    let mut field = || {
        let trimmed = rest.trim_start();
        let (head, tail) = trimmed.split_at(trimmed.find(' ').unwrap_or(trimmed.len()));
        rest = tail;
        head
    };
    let (start, end) = field().split_once('-')?;
    let perms = field().as_bytes();
    let offset = u64::from_str_radix(field(), 16).ok()?;
    let device = field().to_owned();
    let inode: u64 = field().parse().ok()?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        writable: perms.get(1) == Some(&b'w'),
        shared: perms.get(3) == Some(&b's'),
        offset,
        file: (inode != 0).then_some(FileId { device, inode }),
        name: rest.trim().to_owned(),
        of_source: false,
    })
}

/// A part of a mapping that is to be tracked.
pub(crate) struct Wanted<'a> {
    pub(crate) mapping: &'a Mapping,
    /// The addresses, inside the mapping.
    pub(crate) range: Range<u64>,
    pub(crate) backing: Backing,
    /// The first frame; `None` for the next free one.
    pub(crate) base: Option<Gfn>,
    pub(crate) numa_node: Option<u16>,
}

/// Which mappings to track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Region {
    /// The mappings that overlap this range of addresses.
    Addresses(Range<u64>),
    /// The mappings whose name holds this text, such as `memfd:guest-ram` or `[heap]`.
    Named(String),
}

impl std::str::FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = |part: &str| u64::from_str_radix(part.strip_prefix("0x").unwrap_or(part), 16).ok();
        match text.split_once('-').and_then(|(start, end)| Some((hex(start)?, hex(end)?))) {
            Some((start, end)) if start < end => Ok(Region::Addresses(start..end)),
            Some(_) => Err("the range is empty: write it as START-END in hexadecimal, as in /proc/PID/maps".to_owned()),
            None if text.is_empty() => Err("give START-END in hexadecimal, or a part of the mapping's name".to_owned()),
            None => Ok(Region::Named(text.to_owned())),
        }
    }
}

/// The mappings to track: those the regions choose or, without any, all of at least [`SMALLEST_DEFAULT`].
pub(crate) fn chosen<'a>(mappings: &'a [Mapping], regions: &'a [Region]) -> impl Iterator<Item = Wanted<'a>> {
    mappings.iter().filter(|mapping| mapping.writable).filter_map(move |mapping| {
        let wanted = if regions.is_empty() {
            mapping.len() >= SMALLEST_DEFAULT
        } else {
            regions.iter().any(|region| match region {
                Region::Addresses(range) => mapping.start < range.end && range.start < mapping.end,
                Region::Named(name) => mapping.name.contains(name.as_str()),
            })
        };
        let backing = mapping.backing().filter(|_| wanted)?;
        Some(Wanted { mapping, range: mapping.start..mapping.end, backing, base: None, numa_node: None })
    })
}

/// Marks the shared mappings of a file. Those that may be made writable at any time count as writable.
pub(crate) fn mark_source(pid: u32, mappings: &mut [Mapping], file: &FileId) {
    for mapping in mappings.iter_mut().filter(|mapping| mapping.shared && mapping.file.as_ref() == Some(file)) {
        mapping.of_source = true;
        mapping.writable = mapping.writable || may_write(pid, mapping);
    }
}

/// True unless the file of a mapping was certainly not opened for writing.
pub(crate) fn may_write(pid: u32, mapping: &Mapping) -> bool {
    const OWNER_MAY_WRITE: u32 = 0o200;
    let link = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    fs::symlink_metadata(link).map_or(true, |data| data.mode() & OWNER_MAY_WRITE != 0)
}

/// The marked mappings that may be written, by the pages of the file. Where two show the same page, the first counts.
pub(crate) fn of_source(mappings: &[Mapping]) -> Vec<Wanted<'_>> {
    let mut parts: Vec<Wanted<'_>> = Vec::new();
    for mapping in mappings.iter().filter(|mapping| mapping.of_source && mapping.writable) {
        let taken = |part: &Wanted<'_>| {
            let (one, other) = (part.mapping.file_range(), mapping.file_range());
            one.start < other.end && other.start < one.end
        };
        if !parts.iter().any(taken) {
            let (range, base) = (mapping.start..mapping.end, Some(Gfn(mapping.offset >> PAGE_SHIFT)));
            parts.push(Wanted { mapping, range, backing: Backing::Shared, base, numa_node: None });
        }
    }
    parts
}

/// True unless it is certain that no mapping of a range holds huge pages of hugetlbfs.
pub(crate) fn is_hugetlb(pid: u32, range: &Range<u64>) -> bool {
    // Reading smaps walks all page tables, and most machines have set no such pages aside.
    let pools = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let is_empty =
        |pool: fs::DirEntry| fs::read_to_string(pool.path().join("nr_hugepages")).is_ok_and(|count| count.trim() == "0");
    if pools.map(is_empty).reduce(|a, b| a && b).unwrap_or(false) {
        return false;
    }
    let Ok(text) = fs::read(format!("/proc/{pid}/smaps")) else { return true };
    let mut inside = false;
    String::from_utf8_lossy(&text).lines().any(|line| {
        if let Some(mapping) = parse(line) {
            inside = mapping.start < range.end && range.start < mapping.end;
        }
        inside && line.strip_prefix("VmFlags:").is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "ht"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c0a00000-55d0c0c00000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0010000000 rw-s 00001000 00:01 2061                       /memfd:guest ram (deleted)
7f0020000000-7f0020200000 rw-p 00000000 fe:00 77                         /usr/lib/libc.so.6
7f0030000000-7f0030100000 r--p 00000000 00:00 0
7ffc00000000-7ffc00200000 rw-p 00000000 00:00 0                          [stack]";

    #[test]
    fn anonymous_and_memfd_memory_is_tracked_and_nothing_else() {
        let mappings: Vec<_> = TEXT.lines().filter_map(parse).collect();
        assert_eq!(mappings.len(), 5);
        let found: Vec<_> = chosen(&mappings, &[]).map(|part| (part.mapping.name.as_str(), part.backing)).collect();
        assert_eq!(found, [("[heap]", Backing::Anonymous), ("/memfd:guest ram (deleted)", Backing::Shared)]);
        assert_eq!(mappings[1].file_range(), 0x1000..0x1000_1000);
    }

    #[test]
    fn a_region_is_a_range_or_a_part_of_a_name() {
        let mappings: Vec<_> = TEXT.lines().filter_map(parse).collect();
        let heap = "0x55d0c0a00000-55d0c0a01000".parse().unwrap();
        assert_eq!(chosen(&mappings, &[heap]).count(), 1);
        let named = "memfd:guest".parse().unwrap();
        assert_eq!(chosen(&mappings, &[named]).next().unwrap().range.start, 0x7f00_0000_0000);
        assert!("20-10".parse::<Region>().is_err());
    }
}
