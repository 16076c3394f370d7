//! A guest workload of our own: a process with a guest-RAM mapping and several threads that touch it in a known way.
//!
//! It stands in for a virtual machine where none is at hand, and is deterministic: the same seed makes the same sequence of
//! accesses, so two runs end with the same bytes. What it does per class is written down in [`class`].

mod adversary;
pub mod class;
mod memory;
mod random;

use std::io;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub use adversary::Adversary;
use memory::Memory;
use pagesieve_core::Backing;
pub use pagesieve_traces::Class;
use random::Random;

use crate::arming::Handover;

/// What to run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Which class of load.
    pub class: Class,
    /// Guest memory in bytes; rounded up to whole pages.
    pub memory: u64,
    /// Anonymous memory, or a memfd.
    pub backing: Backing,
    /// File to map instead, from its start on; it is made longer if need be.
    pub file: Option<PathBuf>,
    /// Seed of all choices.
    pub seed: u64,
    /// How long.
    pub length: Duration,
    /// A pattern that trackers miss, beside the load.
    pub adversary: Option<Adversary>,
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Pages of guest memory.
    pub pages: u64,
    /// Accesses of the class's threads.
    pub accesses: u64,
    /// Digest of guest memory at the end; equal for equal seeds where no adversary runs.
    pub digest: u64,
}

/// One beat of a thread: the accesses of this time are made at once, then it sleeps.
const BEAT: Duration = Duration::from_millis(10);
const BEATS_PER_SECOND: u64 = 100;

impl Workload {
    /// Fills guest memory, tells a recorder that it may begin, and runs.
    ///
    /// # Errors
    /// If the memory cannot be had, or a thread's file cannot be made.
    pub fn run(&self) -> io::Result<Done> {
        let handover = Handover::announce()?;
        let memory = Memory::new(self.memory, self.backing, self.file.as_deref())?;
        class::populate(&memory, class::shape(self.class), self.seed);
        if let Some(handover) = handover {
            handover.ready()?;
        }
        let barrier = Barrier::new(class::THREADS);
        let accesses = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..class::THREADS)
                .map(|thread| {
                    let (memory, barrier) = (&memory, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        self.run_thread(memory, thread)
                    })
                })
                .collect();
            let memory = &memory;
            let adversary = self.adversary.map(|adversary| scope.spawn(move || adversary.run(memory, self.seed, self.length)));
            let mut accesses = 0;
            for thread in threads {
                accesses += thread.join().map_err(|_| io::Error::other("a workload thread panicked"))??;
            }
            match adversary.map(std::thread::ScopedJoinHandle::join) {
                Some(Err(_)) => return Err(io::Error::other("the adversary thread panicked")),
                Some(Ok(result)) => result?,
                None => {}
            }
            Ok::<_, io::Error>(accesses)
        })?;
        Ok(Done { pages: memory.pages(), accesses, digest: memory.digest() })
    }

    /// One thread works on a part of memory of its own, so that what the bytes become does not depend on the scheduler.
    fn run_thread(&self, memory: &Memory, thread: usize) -> io::Result<u64> {
        let shape = class::shape(self.class);
        let mut random = Random::new(self.seed ^ (thread as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let part = memory.part(thread, class::THREADS);
        let mut area = class::Area::new(shape, part, self.seed, thread)?;
        let beats = self.length.as_millis() as u64 / BEAT.as_millis() as u64;
        let started = Instant::now();
        let mut done = 0;
        for beat in 0..beats {
            // The share of this beat, with what integer division leaves over spread evenly.
            let due = (beat + 1) * shape.accesses_per_second(memory.pages()) / class::THREADS as u64 / BEATS_PER_SECOND;
            while done < due {
                area.access(memory, &mut random)?;
                done += 1;
            }
            let next = started + BEAT * (beat as u32 + 1);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(done)
    }
}
