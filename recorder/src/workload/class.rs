//! The four workload classes: rates and localities, and the accesses they make.
//!
//! | class | resident | zero pages | accesses/s per 65,536 pages | writes | hot set | hot share | same bytes | read(2) |
//! |---|---|---|---|---|---|---|---|---|
//! | idle | 35 % | 20 % | 80 | 50 % | 0.05 % | 90 % | 30 % | 0 % |
//! | light | 60 % | 15 % | 800 | 50 % | 1 % | 90 % | 20 % | 2 % |
//! | mixed | 75 % | 10 % | 5,000 | 50 % | 4 % | 70 % | 15 % | 5 % |
//! | heavy-io | 90 % | 5 % | 20,000 | 70 % | 2 % | 30 % | 5 % | 60 % |
//!
//! *Resident* and *zero pages* are shares of guest memory and of resident memory at the start. *Hot set* is a share of resident
//! memory, *hot share* the share of accesses that go there; the others go anywhere in resident memory. *Same bytes* is the share
//! of writes that leave the page as it was, *read(2)* the share of writes that the kernel makes: a file read into guest memory
//! page after page, as a page cache is filled. One write in 200 turns a page to zeros, and one in 400 goes to a page that was
//! not resident. The seed describes its classes by name only, so these figures are ours.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use pagesieve_traces::Class;

use super::memory::{Memory, PAGE};
use super::random::Random;

/// Threads of every class.
pub const THREADS: usize = 2;

/// The figures of a class; see the table above. Shares are in percent unless said otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    resident: u64,
    zero: u64,
    accesses: u64,
    writes: u64,
    hot_per_myriad: u64,
    hot_share: u64,
    same: u64,
    kernel: u64,
}

/// Guest size for which [`Shape::accesses`] is given: 256 MiB.
const REFERENCE_PAGES: u64 = 65_536;

/// The class's figures.
#[must_use]
pub fn shape(class: Class) -> Shape {
    let row = match class {
        Class::Idle => [35, 20, 80, 50, 5, 90, 30, 0],
        Class::Light => [60, 15, 800, 50, 100, 90, 20, 2],
        Class::Mixed => [75, 10, 5_000, 50, 400, 70, 15, 5],
        Class::HeavyIo => [90, 5, 20_000, 70, 200, 30, 5, 60],
    };
    let [resident, zero, accesses, writes, hot_per_myriad, hot_share, same, kernel] = row;
    Shape { resident, zero, accesses, writes, hot_per_myriad, hot_share, same, kernel }
}

impl Shape {
    pub(super) fn accesses_per_second(&self, pages: u64) -> u64 {
        (self.accesses * pages / REFERENCE_PAGES).max(super::BEATS_PER_SECOND / 10)
    }
}

/// Makes the class's resident pages at the start: some touched but zero, the others filled.
pub(super) fn populate(memory: &Memory, shape: Shape, seed: u64) {
    let mut random = Random::new(seed);
    for thread in 0..THREADS {
        let part = memory.part(thread, THREADS);
        let resident = (part.end - part.start) * shape.resident / 100;
        for page in part.start..part.start + resident {
            if random.percent(shape.zero) {
                memory.zero(page);
            } else {
                memory.fill(page, &mut random);
            }
        }
    }
}

/// One thread's part of memory and how it is used.
pub(super) struct Area {
    shape: Shape,
    part: Range<u64>,
    resident: u64,
    file: File,
    /// The next page to be filled from the file.
    cursor: u64,
}

/// Pages of the file that is read again and again.
const FILE_PAGES: u64 = 256;

impl Area {
    pub(super) fn new(shape: Shape, part: Range<u64>, seed: u64, thread: usize) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let mut random = Random::new(seed.rotate_left(17) ^ thread as u64);
        let bytes: Vec<u8> = (0..FILE_PAGES * PAGE as u64 / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        file.write_all(&bytes)?;
        let resident = ((part.end - part.start) * shape.resident / 100).max(1);
        Ok(Self { shape, part, resident, file, cursor: 0 })
    }

    /// Makes one access.
    pub(super) fn access(&mut self, memory: &Memory, random: &mut Random) -> io::Result<()> {
        if !random.percent(self.shape.writes) {
            memory.read(self.pick(random));
            return Ok(());
        }
        if random.percent(self.shape.kernel) {
            return self.fill_from_file(memory, random);
        }
        match random.below(400) {
            0 => memory.scribble(self.part.start + random.below(self.part.end - self.part.start), random),
            1..=2 => memory.zero(self.pick(random)),
            _ if random.percent(self.shape.same) => memory.rewrite(self.pick(random)),
            _ => memory.scribble(self.pick(random), random),
        }
        Ok(())
    }

    fn pick(&self, random: &mut Random) -> u64 {
        let hot = (self.resident * self.shape.hot_per_myriad / 10_000).max(1);
        let pages = if random.percent(self.shape.hot_share) { hot } else { self.resident };
        self.part.start + random.below(pages)
    }

    /// The kernel writes a page for us, one after the other through the upper half of resident memory.
    fn fill_from_file(&mut self, memory: &Memory, random: &mut Random) -> io::Result<()> {
        let first = self.resident / 2;
        let page = self.part.start + first + self.cursor % (self.resident - first);
        self.cursor += 1;
        let offset = random.below(FILE_PAGES) * PAGE as u64;
        memory.with_page(page, |bytes| self.file.read_exact_at(bytes, offset))
    }
}
