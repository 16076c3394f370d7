//! Small traces for the tests, and a second, independent way to lay out a file: only what `FORMAT.md` says.
#![allow(dead_code, unreachable_pub, reason = "every test file uses another part")]

use pagesieve_core::{Access, AccessKind, Backing, Epoch, Gfn, Hva, MemSlot, Nanos, Origin, PageBitmap};
use pagesieve_traces::{
    Class, Closing, ContentId, Frame, Happening, Header, Lost, Note, PageSummary, ReadError, Reader, SynthConfig, UnknownReason,
    Writer, synth,
};

/// A slot of shared memory.
pub fn slot(base: u64, pages: u64) -> MemSlot {
    MemSlot { base: Gfn(base), pages, hva: Hva(0x7000_0000 + base * 4096), backing: Backing::Shared, numa_node: Some(1) }
}

/// A header with something in every field.
pub fn header() -> Header {
    let config = SynthConfig { memory: 1 << 20, ..SynthConfig::new(Class::Light) };
    let mut header = synth(config).unwrap().header().clone();
    header.hooks = vec!["tp_btf/page_fault_user".to_owned()];
    header.fingerprint_key = Some([7; 32]);
    header.slots = vec![slot(0, 256), slot(1024, 256)];
    header
}

/// A set that ends with the slots of [`header`].
pub fn set(pages: &[u64]) -> PageBitmap {
    let mut set = PageBitmap::new(1280);
    for &page in pages {
        assert!(set.insert(Gfn(page)));
    }
    set
}

/// Three valid frames with something in every field.
pub fn frames() -> Vec<Frame> {
    (0..3).map(frame).collect()
}

/// A valid frame. Frame 1 brings another table of slots, which leaves room for all pages.
pub fn frame(epoch: u32) -> Frame {
    let start = u64::from(epoch) * 1000;
    let mut frame = Frame {
        epoch: Epoch(epoch),
        start: Nanos(start),
        scan_start: Nanos(start + 900),
        end: Nanos(start + 1000),
        closing: Closing::Quiescent,
        slots: (epoch == 1).then(|| vec![slot(0, 256), slot(1000, 280)]),
        events: (0..20).map(|n| event(start + n * 40, n)).collect(),
        populated: set(&[0, 1, 2, 3, 1024, 1025, 1030]),
        huge: set(&[1024]),
        lost: Lost { per_cpu: vec![0, 300, 70_000], control: 1, outside: u64::MAX },
        summaries: Some(vec![summary(2, 5, Some(77)), summary(1024, 0, None), summary(1030, u32::MAX, Some(0))]),
        notes: vec![
            Note { time: Nanos(start + 1), what: Happening::Forked { child: 5 } },
            Note { time: Nanos(start + 2), what: Happening::Ended { status: Some(-1), signal: None } },
            Note { time: Nanos(start + 3), what: Happening::Message("naïve".to_owned()) },
        ],
        ..Frame::default()
    };
    frame.log.written = set(&[2, 3, 1024]);
    frame.log.discarded = set(&[1030]);
    frame.log.add_unknown(UnknownReason::DirectIo, &set(&[7, 8, 9]));
    frame.log.add_unknown(UnknownReason::Unarmed, &set(&[1279]));
    frame
}

fn event(time: u64, n: u64) -> Access {
    Access {
        time: Nanos(time),
        gfn: Gfn([2, 1024, 3, 1279][n as usize % 4]),
        kind: [AccessKind::Read, AccessKind::Write, AccessKind::Exec][n as usize % 3],
        origin: [Origin::User, Origin::Kernel, Origin::Gup][n as usize / 7],
        cpu: (n * 3000) as u16,
        tid: 1000 + n as u32 % 2,
    }
}

fn summary(gfn: u64, content: u32, delta: Option<u16>) -> PageSummary {
    PageSummary { gfn: Gfn(gfn), content: ContentId(content), compressed: 4096, delta }
}

/// A finished file.
pub fn file(header: &Header, frames: &[Frame]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(&mut file, header).unwrap();
    for frame in frames {
        writer.write_frame(frame).unwrap();
    }
    let length = writer.finish().unwrap();
    assert_eq!(file.len() as u64, length);
    file
}

/// All frames of a file.
pub fn read(file: &[u8]) -> Result<Vec<Frame>, ReadError> {
    Reader::new(file)?.frames().collect()
}

/// Byte at which the first frame begins.
pub fn first_frame_at(file: &[u8]) -> usize {
    20 + u32::from_le_bytes(file[12..16].try_into().unwrap()) as usize
}

/// Bytes of the chunk that begins here.
pub fn chunk_length(file: &[u8], at: usize) -> usize {
    36 + u32::from_le_bytes(file[at + 8..at + 12].try_into().unwrap()) as usize
}

/// A chunk laid out by hand. `raw` is what its head claims about the payload's length.
pub fn chunk(kind: u8, epoch: u32, raw: u32, stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(*b"PSv\x9c");
    out.extend([kind, 0, 0, 0]);
    out.extend((stored.len() as u32).to_le_bytes());
    out.extend(raw.to_le_bytes());
    out.extend(crc32fast::hash(stored).to_le_bytes());
    out.extend(epoch.to_le_bytes());
    out.extend(0u64.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_le_bytes());
    out.extend(stored);
    out
}

/// A file with one frame of this payload, without an index.
pub fn with_payload(payload: &[u8]) -> Vec<u8> {
    let mut file = file(&header(), &[]);
    file.truncate(first_frame_at(&file));
    file.extend(chunk(1, 1, payload.len() as u32, &zstd::bulk::compress(payload, 3).unwrap()));
    file
}

/// The payload of the chunk that begins here.
pub fn payload(file: &[u8], at: usize) -> Vec<u8> {
    zstd::stream::decode_all(&file[at + 36..at + chunk_length(file, at)]).unwrap()
}
