//! What comes in: the destination's answers to the frames of one session, without any network.

use std::io;
use std::ops::Range;

use pagesieve_core::{Backing, Blocks, Gfn, Hva, MemSlot, MemSlots, PAGE_SHIFT, SlotError};

use super::handovers::Handovers;
use super::host::Hosts;
use super::inbox::{FileInbox, GuestInbox, Inbox, failed, give_up};
use super::root::Root;
use super::unpack::{Refused, Unpacker};
use crate::sync::{Place, SyncConfig, slots};
use crate::wire::{Failure, Fault, Frame, Held, MAX_CHUNK_BLOCKS, Open, Put, Slot, Span, Text, What};

/// What a destination takes.
pub struct Takes {
    /// Files below this folder.
    pub root: Root,
    /// How to receive files.
    pub config: SyncConfig,
    /// Guests, by their names; `None` if it takes none.
    pub hosts: Option<Box<Hosts>>,
    /// What became of the guests that came in.
    pub handovers: Handovers,
}

impl std::fmt::Debug for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Takes").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A file or guest that is being received. What has arrived of a file when this is dropped is found by the next session.
pub struct Receiver {
    inbox: Inbox,
    name: String,
    /// Nothing is written any more: it is complete, and a guest may run in it.
    committed: bool,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Receiver {
    /// Opens what a client asks for. The frames are the answer: `Opened`, and what the destination holds, if it holds anything.
    ///
    /// # Errors
    /// The frame `Failed` that says why not.
    pub fn open(takes: &Takes, open: &Open) -> Result<(Self, Vec<Frame>), Frame> {
        let (slots, mut inbox) = match &open.what {
            What::File { bytes } => open_file(takes, open, *bytes)?,
            What::Guest(slots) => open_guest(takes, open, slots)?,
        };
        let blocks = Blocks::new(&slots, open.block_size.into(), 0).map_err(|error| failed(Failure::NotTaken, error))?;
        let held = inbox.held(&blocks, takes.config.hash_workers.max(1))?;
        let kind = if held.is_some() { Held::Fingerprints } else { Held::Empty };
        let mut frames = vec![Frame::Opened { held: kind, blocks: blocks.count().into() }];
        let held = held.unwrap_or_default();
        let chunks = held.chunks(MAX_CHUNK_BLOCKS).enumerate();
        frames.extend(
            chunks.map(|(index, chunk)| Frame::Fingerprints { first: (index * MAX_CHUNK_BLOCKS) as u64, blocks: chunk.to_vec() }),
        );
        Ok((Self { inbox, name: open.name.as_str().to_owned(), committed: false }, frames))
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if it is a guest.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        matches!(self.inbox, Inbox::Guest(_))
    }

    /// Prepares to apply a block: reads what it is a delta to.
    pub(super) fn begin(&mut self, put: &Put, unpacker: &mut Unpacker) -> Result<(), Refused> {
        let pages = self.inside(put.span)?;
        let base = unpacker.base(put.span.pages);
        if put.based {
            let read = self.inbox.read(pages, base);
            read.map_err(|error| (Fault::Fingerprint, Text::new(format_args!("{error}; send the block without a base"))))?;
        }
        Ok(())
    }

    /// Writes a block that was decoded.
    pub(super) fn write(&mut self, span: Span, block: &[u8]) -> Result<(), Refused> {
        self.inbox.write(self.inside(span)?, block).map_err(stored)
    }

    /// Makes a block zero; the answer is `Ack` or `Nack`.
    pub fn zero(&mut self, sequence: u64, span: Span) -> Frame {
        let answer = self.inside(span).and_then(|pages| self.inbox.zero(pages).map_err(stored));
        answered(sequence, answer)
    }

    fn inside(&self, span: Span) -> Result<Range<u64>, Refused> {
        if self.committed {
            return Err((Fault::NotOpen, Text::new("it is complete already")));
        }
        let pages = span.first..span.first + u64::from(span.pages);
        if self.inbox.contains(&pages) {
            return Ok(pages);
        }
        Err((Fault::Outside, Text::new(format_args!("pages {pages:x?} are not what was opened"))))
    }

    /// Takes a part of a guest's device state. An answer comes only if it is refused.
    pub fn device_state(&mut self, bytes: &[u8], last: bool) -> Option<Frame> {
        match &mut self.inbox {
            Inbox::Guest(guest) => guest.state(bytes, last).err(),
            Inbox::File(_) => Some(failed(Failure::Protocol, "a file has no devices")),
        }
    }

    /// Makes what came complete. The answer is `Committed` or `Failed`.
    pub fn commit(&mut self, length: u64, digest: Option<[u8; 32]>) -> Frame {
        let answer = self.inbox.commit(length, digest);
        self.committed |= matches!(answer, Frame::Committed { .. });
        answer
    }

    /// Starts a guest. The answer is `HandedOver` or `Failed`.
    ///
    /// # Errors
    /// Nobody knows whether the guest runs. Then the client must get no answer at all, since to `Failed` it starts the guest.
    pub fn hand_over(&mut self) -> Result<Frame, String> {
        match &mut self.inbox {
            Inbox::Guest(guest) => guest.hand_over(),
            Inbox::File(_) => Ok(failed(Failure::Protocol, "a file is not started")),
        }
    }
}

fn open_file(takes: &Takes, open: &Open, len: u64) -> Result<(MemSlots, Inbox), Frame> {
    let name = open.name.as_str();
    let slots = slots(len).map_err(|error| failed(Failure::NotTaken, error))?;
    // Before anything is made: the numbers of the blocks must fit.
    Blocks::new(&slots, open.block_size.into(), 0).map_err(|error| failed(Failure::NotTaken, error))?;
    let spot = takes.root.locate(&open.name).map_err(|error| failed(Failure::Name, error))?;
    let config = SyncConfig { block_size: open.block_size.into(), ..takes.config.clone() };
    let place = Place::open(spot.path(), len, &config).map_err(|error| give_up(name, &error))?;
    Ok((slots, Inbox::File(FileInbox { place, _spot: spot, name: name.to_owned(), len })))
}

fn open_guest(takes: &Takes, open: &Open, parts: &[Slot]) -> Result<(MemSlots, Inbox), Frame> {
    let Some(hosts) = &takes.hosts else {
        return Err(failed(Failure::NotTaken, "this destination takes files, no guests; give it a guest's monitor with --guest"));
    };
    let slots = guest_slots(parts).map_err(|error| failed(Failure::NotTaken, error))?;
    let mut host = hosts(open.name.as_str()).map_err(|why| failed(Failure::Guest, why))?;
    host.check(parts).map_err(|why| failed(Failure::NotTaken, why))?;
    Ok((slots, Inbox::Guest(GuestInbox::new(host, parts.to_vec()))))
}

/// A guest's memory as slots; where it is mapped does not matter here, but no two may be at one place.
fn guest_slots(parts: &[Slot]) -> Result<MemSlots, SlotError> {
    MemSlots::from_slots(parts.iter().map(|part| {
        let (base, hva) = (Gfn(part.first), Hva(part.first << PAGE_SHIFT));
        MemSlot { base, pages: part.pages, hva, backing: Backing::Shared, numa_node: None }
    }))
}

pub(super) fn answered(sequence: u64, result: Result<(), Refused>) -> Frame {
    match result {
        Ok(()) => Frame::Ack { sequences: vec![sequence] },
        Err((code, text)) => Frame::Nack { sequence, code, text },
    }
}

fn stored(error: io::Error) -> Refused {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room at the destination, then try again",
        _ => "look at the disk of the destination, then try again",
    };
    (Fault::Storage, Text::new(format_args!("{error}; {advice}")))
}

#[cfg(test)]
mod tests;
