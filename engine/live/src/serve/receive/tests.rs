use pagesieve_core::{Fingerprint, PageBitmap, delta};

use super::*;
use crate::serve::{GuestHost, ResumeError};
use crate::wire::Name;
use crate::zstd::Zstd;

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

/// As a stream applies a block.
fn apply(receiver: &mut Receiver, put: &Put) -> Frame {
    let mut unpacker = Unpacker::new().unwrap();
    let begun = receiver.begin(put, &mut unpacker);
    answered(put.sequence, begun.and_then(|()| receiver.write(put.span, unpacker.decode(put)?)))
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
    assert_eq!(apply(&mut receiver, &put(5, 0, &content[..BLOCK])), Frame::Ack { sequences: vec![5] });
    assert_eq!(receiver.zero(6, Span { first: 2, pages: 2 }), Frame::Ack { sequences: vec![6] });
    assert_eq!(
        apply(&mut receiver, &put(7, 4, &[&content[2 * BLOCK..20_000], &[0; 480]].concat())),
        Frame::Ack { sequences: vec![7] }
    );
    assert!(!dir.path().join("a/disk").exists(), "nobody sees it before it is complete");
    assert_eq!(receiver.commit(20_000, digest(&content[..20_000])), Frame::Committed { digest: digest(&content[..20_000]) });
    assert!(std::fs::read(dir.path().join("a/disk")).unwrap() == content[..20_000]);
    for late in [apply(&mut receiver, &put(8, 0, &bytes(9))), receiver.zero(8, Span { first: 0, pages: 2 })] {
        assert!(matches!(late, Frame::Nack { code: Fault::NotOpen, .. }), "what is complete is not written any more: {late:?}");
    }
    // Again: it says what it holds, and one block is enough.
    let (mut receiver, frames) = start(&root, 3 * BLOCK as u64).unwrap();
    let last = [&content[2 * BLOCK..20_000], &vec![0; 3 * BLOCK - 20_000]].concat();
    let held = vec![Some(delta::fingerprint(&content[..BLOCK])), None, Some(delta::fingerprint(&last))];
    assert_eq!(frames[1..], [Frame::Fingerprints { first: 0, blocks: held }]);
    apply(&mut receiver, &put(1, 4, &content[2 * BLOCK..]));
    assert!(matches!(receiver.commit(3 * BLOCK as u64, None), Frame::Committed { digest: None }));
    assert!(std::fs::read(dir.path().join("a/disk")).unwrap() == content);
}

#[test]
fn what_arrived_before_a_cut_is_there_afterwards() {
    let (_dir, root) = root();
    let (mut receiver, _) = start(&root, 3 * BLOCK as u64).unwrap();
    apply(&mut receiver, &put(1, 2, &bytes(2)));
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
        nack(apply(&mut receiver, &Put { fingerprint: Fingerprint(good.fingerprint.0 ^ 1), ..good.clone() })),
        Fault::Fingerprint
    );
    assert_eq!(nack(apply(&mut receiver, &Put { encoded: good.encoded[1..].to_vec(), ..good.clone() })), Fault::Encoding);
    assert_eq!(nack(apply(&mut receiver, &Put { based: true, ..good.clone() })), Fault::Fingerprint);
    assert_eq!(nack(apply(&mut receiver, &Put { span: Span { first: 3, pages: 2 }, ..good })), Fault::Outside);
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
    assert_eq!(apply(&mut receiver, &put(1, 16, &bytes(1))), Frame::Ack { sequences: vec![1] });
    // A delta against what is there.
    let mut near = bytes(9);
    near[100] ^= 1;
    let mut encoded = Vec::new();
    delta::encode_block(&near, Some(&bytes(9)), &mut Zstd::new(3).unwrap(), &mut encoded);
    let based = Put { based: true, encoded, ..put(2, 18, &near) };
    assert_eq!(apply(&mut receiver, &based), Frame::Ack { sequences: vec![2] });
    assert!(matches!(apply(&mut receiver, &put(3, 14, &bytes(1))), Frame::Nack { code: Fault::Outside, .. }));
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
