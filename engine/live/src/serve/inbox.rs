//! What one session writes into: a file below the folder, or the memory of a guest.

use std::io;
use std::ops::Range;

use pagesieve_core::block::bytes_of;
use pagesieve_core::{Blocks, Fingerprint, PAGE_SIZE, delta};

use super::host::{GuestHost, ResumeError};
use super::root::Spot;
use crate::memory;
use crate::sync::{Place, SyncError};
use crate::wire::{Failure, Frame, Slot, Text};

/// The two kinds.
pub(super) enum Inbox {
    File(FileInbox),
    Guest(GuestInbox),
}

/// A file that is being received.
#[derive(Debug)]
pub(super) struct FileInbox {
    pub(super) place: Place,
    /// Keeps the folder of `place`.
    pub(super) _spot: Spot,
    pub(super) name: String,
    pub(super) len: u64,
}

/// A guest that is being received.
pub(super) struct GuestInbox {
    host: Box<dyn GuestHost>,
    slots: Vec<Slot>,
    state: Vec<u8>,
    /// The last part of the device state has come.
    whole: bool,
    /// Everything was loaded: the guest can be started.
    ready: bool,
    /// It was asked to start.
    started: bool,
}

/// Most bytes of device state. A guest's devices hold some hundred KiB; more is a guest's RAM, or an attack.
const MAX_STATE: usize = 256 << 20;

impl Inbox {
    /// True if all of these pages belong to it.
    pub(super) fn contains(&self, pages: &Range<u64>) -> bool {
        match self {
            Self::File(file) => pages.end <= file.len.div_ceil(PAGE_SIZE),
            Self::Guest(guest) => {
                guest.slots.iter().any(|slot| slot.first <= pages.start && pages.end <= slot.first + slot.pages)
            }
        }
    }

    /// Reads what is there for deltas to build on. A file has nothing that counts before it is complete.
    pub(super) fn read(&mut self, pages: Range<u64>, into: &mut [u8]) -> io::Result<()> {
        match self {
            Self::File(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "a file has no earlier version to build on")),
            Self::Guest(guest) => guest.host.read(pages, into),
        }
    }

    pub(super) fn write(&mut self, pages: Range<u64>, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File(file) => file.place.write(pages, bytes),
            Self::Guest(guest) => guest.host.write(pages, bytes),
        }
    }

    pub(super) fn zero(&mut self, pages: Range<u64>) -> io::Result<()> {
        match self {
            Self::File(file) => file.place.clear(pages),
            Self::Guest(guest) => guest.host.zero(pages),
        }
    }

    /// Fingerprints of all blocks, `None` for zeros; `None` if it holds zeros only.
    pub(super) fn held(&mut self, blocks: &Blocks, workers: usize) -> Result<Option<Vec<Option<Fingerprint>>>, Frame> {
        match self {
            Self::File(file) if file.place.is_empty() => Ok(None),
            Self::File(file) => {
                let summaries = file.place.baseline(blocks, workers).map_err(|error| give_up(&file.name, &error))?;
                Ok(Some(summaries.iter().map(|summary| summary.fingerprint.filter(|_| !summary.zero)).collect()))
            }
            Self::Guest(guest) => guest.held(blocks).map_err(|error| failed(Failure::Storage, error)),
        }
    }

    /// Everything has come. The answer is `Committed` or `Failed`.
    pub(super) fn commit(&mut self, length: u64, digest: Option<[u8; 32]>) -> Frame {
        let all = match self {
            Self::File(file) => file.len,
            Self::Guest(guest) => guest.slots.iter().map(|slot| slot.pages * PAGE_SIZE).sum(),
        };
        if length != all {
            return failed(Failure::Protocol, format_args!("{all} bytes were opened, not {length}"));
        }
        let done = match self {
            Self::File(file) => file.commit(digest),
            Self::Guest(guest) => guest.commit(digest),
        };
        done.map_or_else(|failed| failed, |()| Frame::Committed { digest })
    }
}

impl FileInbox {
    fn commit(&mut self, digest: Option<[u8; 32]>) -> Result<(), Frame> {
        self.place.finish().map_err(|error| give_up(&self.name, &error))?;
        let there = digest.map(|_| self.place.digest()).transpose().map_err(|error| give_up(&self.name, &error))?;
        compare(there, digest)
    }
}

impl GuestInbox {
    pub(super) fn new(host: Box<dyn GuestHost>, slots: Vec<Slot>) -> Self {
        Self { host, slots, state: Vec::new(), whole: false, ready: false, started: false }
    }

    fn held(&mut self, blocks: &Blocks) -> io::Result<Option<Vec<Option<Fingerprint>>>> {
        let populated = self.host.populated();
        if populated.is_empty() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let all = (0..blocks.count()).map(|index| {
            let pages = blocks.pages(blocks.id(index));
            if !populated.meets_range(pages.clone()) {
                return Ok(None);
            }
            bytes.resize(bytes_of(&pages) as usize, 0);
            self.host.read(pages, &mut bytes)?;
            Ok((!delta::is_zero(&bytes)).then(|| delta::fingerprint(&bytes)))
        });
        all.collect::<io::Result<_>>().map(Some)
    }

    /// Takes a part of the device state.
    pub(super) fn state(&mut self, bytes: &[u8], last: bool) -> Result<(), Frame> {
        if self.whole || self.state.len() + bytes.len() > MAX_STATE {
            return Err(failed(Failure::Protocol, "there is more device state than a guest has"));
        }
        self.state.extend_from_slice(bytes);
        self.whole = last;
        Ok(())
    }

    /// Loads the devices; the memory is complete. If it is not what it should be, it is not started.
    fn commit(&mut self, digest: Option<[u8; 32]>) -> Result<(), Frame> {
        if !self.whole {
            return Err(failed(Failure::Protocol, "the device state is not complete"));
        }
        let there = digest.map(|_| self.digest()).transpose().map_err(|error| failed(Failure::Storage, error))?;
        compare(there, digest)?;
        self.host.load(&self.state).map_err(|why| failed(Failure::Guest, why))?;
        self.ready = true;
        Ok(())
    }

    fn digest(&mut self) -> io::Result<[u8; 32]> {
        let all = self.slots.iter().map(|slot| slot.first..slot.first + slot.pages);
        memory::digest(all, |pages, into| self.host.read(pages, into))
    }

    /// Starts the guest. The answer is `HandedOver`, or `Failed` if it certainly does not run. Otherwise there is no answer, but the
    /// reason.
    pub(super) fn hand_over(&mut self) -> Result<Frame, String> {
        if self.started {
            return Err("the guest was asked for twice".to_owned());
        }
        if !self.ready {
            return Ok(failed(Failure::Protocol, "the guest is not complete"));
        }
        self.started = true;
        match self.host.resume() {
            Ok(()) => Ok(Frame::HandedOver),
            Err(ResumeError::Refused(why)) => Ok(failed(Failure::Guest, why)),
            Err(ResumeError::Unknown(why)) => Err(why),
        }
    }
}

fn compare(there: Option<[u8; 32]>, here: Option<[u8; 32]>) -> Result<(), Frame> {
    if there == here { Ok(()) } else { Err(failed(Failure::Digest, "what was written reads back different; try again")) }
}

pub(super) fn failed(code: Failure, text: impl std::fmt::Display) -> Frame {
    Frame::Failed { code, text: Text::new(text) }
}

/// The paths of this side are no business of the other.
pub(super) fn give_up(name: &str, error: &SyncError) -> Frame {
    match error {
        SyncError::Busy { .. } => failed(Failure::InUse, format_args!("another sync holds {name:?}; wait until that is over")),
        SyncError::Destination { error, .. } if error.kind() == io::ErrorKind::StorageFull => {
            failed(Failure::NoSpace, format_args!("no room for {name:?} at the destination; make some, then sync again"))
        }
        SyncError::Destination { what, error, .. } => failed(Failure::Storage, format_args!("{what} {name:?}: {error}")),
        SyncError::Kind { .. } => failed(Failure::Name, format_args!("what is called {name:?} at the destination is no file")),
        _ => failed(Failure::Storage, format_args!("{name:?} cannot be written")),
    }
}
