//! What comes in: the destination's answers to the frames of one session, without any network.

use std::io;
use std::ops::Range;

use pagesieve_core::block::bytes_of;
use pagesieve_core::{Backing, Blocks, Gfn, Hva, MemSlot, MemSlots, PAGE_SHIFT, SlotError, delta};

use super::handovers::Handovers;
use super::host::Hosts;
use super::inbox::{FileInbox, GuestInbox, Inbox, failed, give_up};
use super::root::Root;
use crate::sync::{Place, SyncConfig, slots};
use crate::wire::{Failure, Fault, Frame, Held, MAX_CHUNK_BLOCKS, Open, Put, Slot, Span, Text, What};
use crate::zstd::Zstd;

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
    codec: Zstd,
    block: Vec<u8>,
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
        let codec = Zstd::new(Zstd::DEFAULT_LEVEL).map_err(|error| failed(Failure::Storage, error))?;
        let held = inbox.held(&blocks, takes.config.hash_workers.max(1))?;
        let kind = if held.is_some() { Held::Fingerprints } else { Held::Empty };
        let mut frames = vec![Frame::Opened { held: kind, blocks: blocks.count().into() }];
        let held = held.unwrap_or_default();
        let chunks = held.chunks(MAX_CHUNK_BLOCKS).enumerate();
        frames.extend(
            chunks.map(|(index, chunk)| Frame::Fingerprints { first: (index * MAX_CHUNK_BLOCKS) as u64, blocks: chunk.to_vec() }),
        );
        Ok((Self { inbox, name: open.name.as_str().to_owned(), codec, block: Vec::new() }, frames))
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

    /// Applies a block; the answer is `Ack` or `Nack`.
    pub fn put(&mut self, put: &Put) -> Frame {
        let answer = self.try_put(put);
        answered(put.sequence, answer)
    }

    /// Makes a block zero; the answer is `Ack` or `Nack`.
    pub fn zero(&mut self, sequence: u64, span: Span) -> Frame {
        let answer = self.inside(span).and_then(|pages| self.inbox.zero(pages).map_err(stored));
        answered(sequence, answer)
    }

    fn try_put(&mut self, put: &Put) -> Result<(), (Fault, Text)> {
        let pages = self.inside(put.span)?;
        self.block.clear();
        self.block.resize(bytes_of(&pages) as usize, 0);
        if put.based {
            let read = self.inbox.read(pages.clone(), &mut self.block);
            read.map_err(|error| (Fault::Fingerprint, Text::new(format_args!("{error}; send the block without a base"))))?;
        }
        delta::decode_block(&put.encoded, &mut self.block, &mut self.codec)
            .map_err(|error| (Fault::Encoding, Text::new(error)))?;
        // What is between the two ends may have changed it in a way that no checksum of a frame sees: faulty memory.
        if delta::fingerprint(&self.block) != put.fingerprint {
            return Err((Fault::Fingerprint, Text::new("the block came out with another fingerprint; send it again")));
        }
        self.inbox.write(pages, &self.block).map_err(stored)
    }

    fn inside(&self, span: Span) -> Result<Range<u64>, (Fault, Text)> {
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
        self.inbox.commit(length, digest)
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

fn answered(sequence: u64, result: Result<(), (Fault, Text)>) -> Frame {
    match result {
        Ok(()) => Frame::Ack { sequences: vec![sequence] },
        Err((code, text)) => Frame::Nack { sequence, code, text },
    }
}

fn stored(error: io::Error) -> (Fault, Text) {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room at the destination, then try again",
        _ => "look at the disk of the destination, then try again",
    };
    (Fault::Storage, Text::new(format_args!("{error}; {advice}")))
}

#[cfg(test)]
mod tests {
    use pagesieve_core::Fingerprint;

    use pagesieve_core::PageBitmap;

    use super::*;
    use crate::serve::{GuestHost, ResumeError};
    use crate::wire::Name;

    const BLOCK: usize = 8192;

    fn bytes(number: u8) -> Vec<u8> {
        (0..BLOCK).map(|at| number ^ (at / 7) as u8 ^ (at >> 8) as u8).collect()
    }

    fn put(sequence: u64, first: u64, bytes: &[u8]) -> Put {
        let mut encoded = Vec::new();
        delta::encode_block(bytes, None, &mut Zstd::new(3).unwrap(), &mut encoded);
        let span = Span { first, pages: (bytes.len() / 4096) as u32 };
        Put { sequence, span, fingerprint: delta::fingerprint(bytes), based: false, encoded }
    }

    fn open(name: &str, len: u64) -> Open {
        let (name, what) = (Name::new(name).unwrap(), What::File { bytes: len });
        Open { name, what, block_size: BLOCK as u32 }
    }

    fn start(takes: &Takes, len: u64) -> Result<(Receiver, Vec<Frame>), Frame> {
        Receiver::open(takes, &open("a/disk", len))
    }

    fn root() -> (tempfile::TempDir, Takes) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, Takes { root, config: SyncConfig::default(), hosts: None, handovers: Handovers::default() })
    }

    fn digest(content: &[u8]) -> Option<[u8; 32]> {
        Some(*blake3::hash(content).as_bytes())
    }

    #[test]
    fn a_file_comes_in_and_is_brought_up_to_date() {
        let (dir, root) = root();
        let (mut receiver, frames) = start(&root, 20_000).unwrap();
        assert_eq!(frames, [Frame::Opened { held: Held::Empty, blocks: 3 }]);
        let content = [bytes(1), vec![0; BLOCK], bytes(3)].concat();
        assert_eq!(receiver.put(&put(5, 0, &content[..BLOCK])), Frame::Ack { sequences: vec![5] });
        assert_eq!(receiver.zero(6, Span { first: 2, pages: 2 }), Frame::Ack { sequences: vec![6] });
        assert_eq!(
            receiver.put(&put(7, 4, &[&content[2 * BLOCK..20_000], &[0; 480]].concat())),
            Frame::Ack { sequences: vec![7] }
        );
        assert!(!dir.path().join("a/disk").exists(), "nobody sees it before it is complete");
        assert_eq!(receiver.commit(20_000, digest(&content[..20_000])), Frame::Committed { digest: digest(&content[..20_000]) });
        assert!(std::fs::read(dir.path().join("a/disk")).unwrap() == content[..20_000]);
        // Again: it says what it holds, and one block is enough.
        let (mut receiver, frames) = start(&root, 3 * BLOCK as u64).unwrap();
        let last = [&content[2 * BLOCK..20_000], &vec![0; 3 * BLOCK - 20_000]].concat();
        let held = vec![Some(delta::fingerprint(&content[..BLOCK])), None, Some(delta::fingerprint(&last))];
        assert_eq!(frames[1..], [Frame::Fingerprints { first: 0, blocks: held }]);
        receiver.put(&put(1, 4, &content[2 * BLOCK..]));
        assert!(matches!(receiver.commit(3 * BLOCK as u64, None), Frame::Committed { digest: None }));
        assert!(std::fs::read(dir.path().join("a/disk")).unwrap() == content);
    }

    #[test]
    fn what_arrived_before_a_cut_is_there_afterwards() {
        let (_dir, root) = root();
        let (mut receiver, _) = start(&root, 3 * BLOCK as u64).unwrap();
        receiver.put(&put(1, 2, &bytes(2)));
        drop(receiver);
        let (_receiver, frames) = start(&root, 3 * BLOCK as u64).unwrap();
        let held = vec![None, Some(delta::fingerprint(&bytes(2))), None];
        assert_eq!(frames[1..], [Frame::Fingerprints { first: 0, blocks: held }]);
    }

    #[test]
    fn a_block_that_is_not_right_is_not_applied() {
        let (dir, root) = root();
        let (mut receiver, _) = start(&root, 2 * BLOCK as u64).unwrap();
        let good = put(1, 0, &bytes(1));
        let nack = |frame: Frame| match frame {
            Frame::Nack { sequence: 1, code, .. } => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            nack(receiver.put(&Put { fingerprint: Fingerprint(good.fingerprint.0 ^ 1), ..good.clone() })),
            Fault::Fingerprint
        );
        assert_eq!(nack(receiver.put(&Put { encoded: good.encoded[1..].to_vec(), ..good.clone() })), Fault::Encoding);
        assert_eq!(nack(receiver.put(&Put { based: true, ..good.clone() })), Fault::Fingerprint);
        assert_eq!(nack(receiver.put(&Put { span: Span { first: 3, pages: 2 }, ..good })), Fault::Outside);
        assert_eq!(nack(receiver.zero(1, Span { first: 4, pages: 1 })), Fault::Outside);
        assert!(matches!(receiver.commit(BLOCK as u64, None), Frame::Failed { code: Failure::Protocol, .. }));
        assert!(matches!(receiver.commit(2 * BLOCK as u64, digest(&[0; 2 * BLOCK])), Frame::Committed { .. }));
        assert!(std::fs::read(dir.path().join("a/disk")).unwrap() == [0; 2 * BLOCK]);
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let (dir, root) = root();
        let code = |opened: Result<(Receiver, Vec<Frame>), Frame>| match opened {
            Err(Frame::Failed { code, text }) => {
                assert!(!text.as_str().contains("/proc"), "{text}");
                code
            }
            other => panic!("{other:?}"),
        };
        let first = start(&root, 5).unwrap();
        assert_eq!(code(start(&root, 5)), Failure::InUse);
        drop(first);
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        assert_eq!(code(Receiver::open(&root, &open("folder", 5))), Failure::Name);
        assert_eq!(code(Receiver::open(&root, &open("x", 1 << 50))), Failure::NotTaken);
        let guest = Open { what: What::Guest(vec![]), ..open("x", 0) };
        assert_eq!(code(Receiver::open(&root, &guest)), Failure::NotTaken);
    }

    /// A host whose start ends like this; it has 4 pages from frame 16 on.
    struct Home {
        memory: Vec<u8>,
        start: Result<(), ResumeError>,
    }

    impl Home {
        fn place(frames: Range<u64>) -> Range<usize> {
            (frames.start as usize - 16) * 4096..(frames.end as usize - 16) * 4096
        }
    }

    impl GuestHost for Home {
        fn check(&mut self, slots: &[Slot]) -> Result<(), String> {
            if slots == [Slot { first: 16, pages: 4 }] { Ok(()) } else { Err("other memory".to_owned()) }
        }

        fn populated(&mut self) -> PageBitmap {
            let mut pages = PageBitmap::new(20);
            (16..20).filter(|&gfn| self.memory[Self::place(gfn..gfn + 1)] != [0; 4096]).for_each(|gfn| {
                pages.insert(Gfn(gfn));
            });
            pages
        }

        fn read(&mut self, frames: Range<u64>, into: &mut [u8]) -> io::Result<()> {
            into.copy_from_slice(&self.memory[Self::place(frames)]);
            Ok(())
        }

        fn write(&mut self, frames: Range<u64>, bytes: &[u8]) -> io::Result<()> {
            self.memory[Self::place(frames)].copy_from_slice(bytes);
            Ok(())
        }

        fn zero(&mut self, frames: Range<u64>) -> io::Result<()> {
            self.memory[Self::place(frames)].fill(0);
            Ok(())
        }

        fn load(&mut self, device_state: &[u8]) -> Result<(), String> {
            if device_state == b"devices" { Ok(()) } else { Err("other devices".to_owned()) }
        }

        fn resume(&mut self) -> Result<(), ResumeError> {
            self.start.clone()
        }
    }

    /// A guest of which the second block is there already.
    fn guest(start: Result<(), ResumeError>) -> (Receiver, Vec<Frame>) {
        let (_dir, mut takes) = root();
        takes.hosts = Some(Box::new(move |name| {
            assert_eq!(name, "web1");
            let memory = [vec![0; BLOCK], bytes(9)].concat();
            Ok(Box::new(Home { memory, start: start.clone() }))
        }));
        let what = What::Guest(vec![Slot { first: 16, pages: 4 }]);
        Receiver::open(&takes, &Open { what, ..open("web1", 0) }).unwrap()
    }

    fn code(frame: &Frame) -> Failure {
        match frame {
            Frame::Failed { code, .. } => *code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_guest_comes_in_and_is_started_once() {
        let (mut receiver, frames) = guest(Ok(()));
        assert_eq!(frames[1..], [Frame::Fingerprints { first: 0, blocks: vec![None, Some(delta::fingerprint(&bytes(9)))] }]);
        assert_eq!(receiver.put(&put(1, 16, &bytes(1))), Frame::Ack { sequences: vec![1] });
        // A delta against what is there.
        let mut near = bytes(9);
        near[100] ^= 1;
        let mut encoded = Vec::new();
        delta::encode_block(&near, Some(&bytes(9)), &mut Zstd::new(3).unwrap(), &mut encoded);
        let based = Put { based: true, encoded, ..put(2, 18, &near) };
        assert_eq!(receiver.put(&based), Frame::Ack { sequences: vec![2] });
        assert!(matches!(receiver.put(&put(3, 14, &bytes(1))), Frame::Nack { code: Fault::Outside, .. }));
        let all = 2 * BLOCK as u64;
        assert_eq!(code(&receiver.hand_over().unwrap()), Failure::Protocol, "it is not complete");
        assert_eq!(code(&receiver.commit(all, None)), Failure::Protocol, "the devices are missing");
        assert_eq!(receiver.device_state(b"dev", false), None);
        assert_eq!(code(&receiver.commit(all, None)), Failure::Protocol, "a part of them is missing");
        assert_eq!(receiver.device_state(b"ices", true), None);
        assert_eq!(code(&receiver.device_state(b"more", true).unwrap()), Failure::Protocol);
        let memory = digest(&[bytes(1), near].concat());
        assert_eq!(receiver.commit(all, memory), Frame::Committed { digest: memory });
        assert_eq!(receiver.hand_over(), Ok(Frame::HandedOver));
        assert!(receiver.hand_over().is_err(), "to `Failed` the source would start a guest that runs here");
    }

    #[test]
    fn a_guest_that_may_run_is_not_called_failed() {
        let complete = |start: ResumeError| {
            let (mut receiver, _) = guest(Err(start));
            receiver.device_state(b"devices", true);
            assert!(matches!(receiver.commit(2 * BLOCK as u64, None), Frame::Committed { .. }));
            receiver.hand_over()
        };
        assert_eq!(code(&complete(ResumeError::Refused("no".to_owned())).unwrap()), Failure::Guest);
        assert_eq!(complete(ResumeError::Unknown("the monitor is gone".to_owned())), Err("the monitor is gone".to_owned()));
    }

    #[test]
    fn devices_or_memory_that_do_not_fit_are_told() {
        let (mut receiver, _) = guest(Ok(()));
        receiver.device_state(b"else", true);
        assert_eq!(code(&receiver.commit(2 * BLOCK as u64, None)), Failure::Guest);
        let (mut receiver, _) = guest(Ok(()));
        receiver.device_state(b"devices", true);
        assert_eq!(code(&receiver.commit(2 * BLOCK as u64, digest(b"something else"))), Failure::Digest);
        assert_eq!(code(&receiver.hand_over().unwrap()), Failure::Protocol, "memory that differs is not started");
    }
}
