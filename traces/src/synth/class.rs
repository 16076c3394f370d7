//! The workload classes of synthetic traces, as numbers. They are chosen to be different from each other in the way the names
//! say; they are not measurements, and no result from a synthetic trace is evidence about real guests.
//!
//! | | idle | light | mixed | heavy-io |
//! |---|---|---|---|---|
//! | memory populated at the start | 25 % | 40 % | 60 % | 70 % |
//! | hot set, pages (at most 1/16 of memory) | 64 | 512 | 4096 | 2048 |
//! | hot writes per second, one page each | 150 | 3000 | 20000 | 8000 |
//! | heap writes per second, 1-8 pages each | 4 | 200 | 2000 | 300 |
//! | allocations per second, 16-64 pages each | 0.2 | 4 | 20 | 5 |
//! | page-cache fills per second, 32-256 pages each | 0.5 | 8 | 30 | 400 |
//! | frees per second, 16-128 pages each | 0.1 | 1 | 6 | 3 |
//! | writes that leave the content as it was | 30 % | 15 % | 10 % | 5 % |
//! | writes that leave zeros | 3 % | 3 % | 4 % | 1 % |
//! | writes that leave a content seen before | 2 % | 4 % | 6 % | 8 % |
//! | page-cache fills by GUP (direct I/O) instead of the kernel | 0 % | 5 % | 10 % | 20 % |
//!
//! Guest memory is divided by page number: the hot set first, then the heap up to the middle, then the page cache. Hot writes
//! prefer the front of the hot set (the lower of two draws). Heap writes go to a random populated place, allocations to where
//! the last one ended, page-cache fills likewise, and wrap at the end of their area. Every count of an epoch varies by a
//! quarter around its mean.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::SynthError;

/// A kind of workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A tiny hot set, few writes.
    Idle,
    /// A desktop or a small service.
    Light,
    /// A busy server: a larger hot set, allocations, some I/O.
    Mixed,
    /// Sweeps through the page cache by the kernel, beside a hot set.
    HeavyIo,
}

impl Class {
    /// All classes.
    pub const ALL: [Class; 4] = [Class::Idle, Class::Light, Class::Mixed, Class::HeavyIo];

    /// The name used in headers and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Idle => "idle",
            Class::Light => "light",
            Class::Mixed => "mixed",
            Class::HeavyIo => "heavy-io",
        }
    }

    pub(super) fn rates(self) -> &'static Rates {
        match self {
            Class::Idle => &IDLE,
            Class::Light => &LIGHT,
            Class::Mixed => &MIXED,
            Class::HeavyIo => &HEAVY_IO,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Class {
    type Err = SynthError;

    fn from_str(name: &str) -> Result<Self, SynthError> {
        Class::ALL.into_iter().find(|class| class.name() == name).ok_or_else(|| SynthError::Class(name.to_owned()))
    }
}

/// Rates are operations in 1000 seconds, shares are of 1000.
pub(super) struct Rates {
    pub(super) populated: u64,
    pub(super) hot_pages: u64,
    pub(super) hot_writes: u64,
    pub(super) heap_writes: u64,
    pub(super) allocations: u64,
    pub(super) cache_fills: u64,
    pub(super) frees: u64,
    pub(super) same: u64,
    pub(super) zero: u64,
    pub(super) known: u64,
    pub(super) gup: u64,
}

/// Pages of one operation, lowest and highest.
pub(super) const HEAP_RUN: (u64, u64) = (1, 8);
pub(super) const ALLOCATION_RUN: (u64, u64) = (16, 64);
pub(super) const CACHE_RUN: (u64, u64) = (32, 256);
pub(super) const FREE_RUN: (u64, u64) = (16, 128);

const IDLE: Rates = Rates {
    populated: 250,
    hot_pages: 64,
    hot_writes: 150_000,
    heap_writes: 4_000,
    allocations: 200,
    cache_fills: 500,
    frees: 100,
    same: 300,
    zero: 30,
    known: 20,
    gup: 0,
};

const LIGHT: Rates = Rates {
    populated: 400,
    hot_pages: 512,
    hot_writes: 3_000_000,
    heap_writes: 200_000,
    allocations: 4_000,
    cache_fills: 8_000,
    frees: 1_000,
    same: 150,
    zero: 30,
    known: 40,
    gup: 50,
};

const MIXED: Rates = Rates {
    populated: 600,
    hot_pages: 4096,
    hot_writes: 20_000_000,
    heap_writes: 2_000_000,
    allocations: 20_000,
    cache_fills: 30_000,
    frees: 6_000,
    same: 100,
    zero: 40,
    known: 60,
    gup: 100,
};

const HEAVY_IO: Rates = Rates {
    populated: 700,
    hot_pages: 2048,
    hot_writes: 8_000_000,
    heap_writes: 300_000,
    allocations: 5_000,
    cache_fills: 400_000,
    frees: 3_000,
    same: 50,
    zero: 10,
    known: 80,
    gup: 200,
};
