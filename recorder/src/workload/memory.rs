//! The guest-RAM mapping of the workload.

use std::fs::File;
use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;

use pagesieve_core::Backing;

use super::random::Random;

pub(super) const PAGE: usize = 4096;

/// Guest RAM. Pages are reached through raw pointers: several threads, the kernel and, with an adversary, other processes write
/// them, as they do in a guest.
pub(super) struct Memory {
    at: *mut u8,
    pages: u64,
    file: Option<File>,
}

// SAFETY: all access is by volatile or kernel writes to a mapping that lives as long as the value; racing writers may tear a
// page's bytes, which nothing here relies on (each thread of a class has pages of its own).
unsafe impl Sync for Memory {}
// SAFETY: as above; the mapping is not bound to a thread.
unsafe impl Send for Memory {}

impl Memory {
    /// Anonymous memory, a memfd, or the start of a file.
    pub(super) fn new(bytes: u64, backing: Backing, path: Option<&Path>) -> io::Result<Self> {
        let pages = bytes.div_ceil(PAGE as u64).max(64);
        let length = pages as usize * PAGE;
        let file = match (path, backing) {
            (Some(path), _) => Some(open(path, length as u64)?),
            (None, Backing::Anonymous) => None,
            (None, Backing::Shared) => Some(memfd(length)?),
        };
        let at = map(length, file.as_ref())?;
        Ok(Self { at, pages, file })
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    pub(super) fn length(&self) -> usize {
        self.pages as usize * PAGE
    }

    pub(super) fn page(&self, page: u64) -> *mut u8 {
        assert!(page < self.pages);
        // SAFETY: the page lies in the mapping.
        unsafe { self.at.add(page as usize * PAGE) }
    }

    /// The pages of one of `parts` equal parts.
    pub(super) fn part(&self, index: usize, parts: usize) -> Range<u64> {
        let size = self.pages / parts as u64;
        size * index as u64..size * (index as u64 + 1)
    }

    /// Fills a page with a repeated word and random bytes of half their entropy in turn: neither trivial nor impossible to
    /// compress.
    pub(super) fn fill(&self, page: u64, random: &mut Random) {
        let word = random.next();
        for at in 0..PAGE / 8 {
            let value = if at % 2 == 0 { word } else { random.next() & 0x0f0f_0f0f_0f0f_0f0f };
            // SAFETY: the word lies in the page, which is mapped for writing and aligned.
            unsafe { self.page(page).cast::<u64>().add(at).write_volatile(value) };
        }
    }

    pub(super) fn read(&self, page: u64) {
        // SAFETY: the page is mapped; a volatile read of one byte cannot be optimised away.
        black_box(unsafe { self.page(page).read_volatile() });
    }

    /// Writes a byte that is there already.
    pub(super) fn rewrite(&self, page: u64) {
        let at = self.page(page);
        // SAFETY: the page is mapped and its first byte is written by this thread only.
        unsafe { at.write_volatile(at.read_volatile()) };
    }

    pub(super) fn zero(&self, page: u64) {
        // SAFETY: the page is mapped for writing, 4096 bytes long.
        unsafe { std::ptr::write_bytes(self.page(page), 0, PAGE) };
    }

    /// Changes between 8 and 512 bytes in runs of 8.
    pub(super) fn scribble(&self, page: u64, random: &mut Random) {
        let runs = 1 << random.below(7);
        for _ in 0..runs {
            let offset = random.below(PAGE as u64 / 8) as usize * 8;
            // SAFETY: the offset is a multiple of 8 inside the page, which is aligned to 4096.
            unsafe { self.page(page).add(offset).cast::<u64>().write_volatile(random.next()) };
        }
    }

    /// Lends a page as bytes.
    pub(super) fn with_page<T>(&self, page: u64, work: impl FnOnce(&mut [u8]) -> io::Result<T>) -> io::Result<T> {
        // SAFETY: the page is mapped for reading and writing, and of the threads of a class only its owner borrows it.
        work(unsafe { std::slice::from_raw_parts_mut(self.page(page), PAGE) })
    }

    /// FNV-1a over all of memory, a word at a time. Holes read as zeros.
    pub(super) fn digest(&self) -> u64 {
        let words = self.length() / 8;
        (0..words).fold(0xcbf2_9ce4_8422_2325, |digest: u64, word| {
            // SAFETY: the word lies in the mapping and is aligned.
            let value = unsafe { self.at.cast::<u64>().add(word).read_volatile() };
            (digest ^ value).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody keeps a pointer into it.
        unsafe { libc::munmap(self.at.cast(), self.length()) };
    }
}

fn open(path: &Path, length: u64) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() < length {
        file.set_len(length)?;
    }
    Ok(file)
}

fn memfd(length: usize) -> io::Result<File> {
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"guest-ram".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(length as u64)?;
    Ok(file)
}

/// Maps anonymous memory, or the file.
pub(super) fn map(length: usize, file: Option<&File>) -> io::Result<*mut u8> {
    let (flags, fd) = match file {
        Some(file) => (libc::MAP_SHARED, file.as_raw_fd()),
        None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}
