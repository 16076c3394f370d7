//! A chunk: a fixed head, then compressed bytes. Every frame is one chunk, and so is the index.

use std::io::{self, Read};

use zstd::zstd_safe::{DCtx, DParameter, ResetDirective};

use crate::codec::{Budget, MAX_RAW};
use crate::error::Damage;

/// Bytes of a chunk's head.
pub(crate) const HEAD: usize = 36;
/// Chunk kind: one epoch.
pub(crate) const EPOCH: u8 = 1;
/// Chunk kind: the index. Nothing but the trailer follows it.
pub(crate) const INDEX: u8 = 2;
/// Kinds from here on may be stepped over by a reader that does not know them.
const ANCILLARY: u8 = 0x80;
/// Chunk flag: the payload carries a new table of memory slots.
pub(crate) const CHANGES_SLOTS: u8 = 1;

const MARKER: [u8; 4] = *b"PSv\x9c";
/// zstd level of payloads: 3 is the default of the project and of zstd itself.
const LEVEL: i32 = 3;
/// log2 of the largest window that a payload may ask its reader for.
const WINDOW_LOG: u32 = 23;

/// The head of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Bytes in the file behind the head.
    pub(crate) stored: u32,
    /// Bytes of the payload.
    pub(crate) raw: u32,
    /// Checksum of the stored bytes.
    pub(crate) crc: u32,
    /// Epoch of a frame, 0 for other kinds.
    pub(crate) epoch: u32,
    /// Start of a frame, 0 for other kinds.
    pub(crate) start: u64,
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..4].copy_from_slice(&MARKER);
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.crc.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.start.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The head has a checksum of its own, so that a damaged length is told from a file that was cut.
    pub(crate) fn parse(bytes: &[u8; HEAD]) -> Result<Self, Damage> {
        if bytes[..4] != MARKER {
            return Err(Damage::Marker);
        }
        if crc32fast::hash(&bytes[..32]) != u32_at(bytes, 32) {
            return Err(Damage::Checksum);
        }
        Ok(Self {
            kind: bytes[4],
            flags: bytes[5],
            stored: u32_at(bytes, 8),
            raw: u32_at(bytes, 12),
            crc: u32_at(bytes, 16),
            epoch: u32_at(bytes, 20),
            start: u64::from(u32_at(bytes, 24)) | u64::from(u32_at(bytes, 28)) << 32,
        })
    }

    /// True if a reader that does not know the kind may go on behind the chunk.
    pub(crate) fn may_be_skipped(&self) -> bool {
        self.kind >= ANCILLARY
    }

    /// Bytes of the whole chunk in the file.
    pub(crate) fn length(&self) -> u64 {
        HEAD as u64 + u64::from(self.stored)
    }
}

fn u32_at(bytes: &[u8; HEAD], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Makes chunks.
pub(crate) struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
    stored: Vec<u8>,
    chunk: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Compressor::new(LEVEL)?, stored: Vec::new(), chunk: Vec::new() })
    }

    /// The chunk with this payload; `None` if the payload is larger than the format allows. Lengths and checksum in `head` are
    /// filled in.
    pub(crate) fn pack(&mut self, head: Head, payload: &[u8]) -> io::Result<Option<&[u8]>> {
        let raw = match u32::try_from(payload.len()) {
            Ok(raw) if raw <= MAX_RAW => raw,
            _ => return Ok(None),
        };
        self.stored.clear();
        self.stored.reserve(zstd::zstd_safe::compress_bound(payload.len()));
        self.zstd.compress_to_buffer(payload, &mut self.stored)?;
        let Ok(stored) = u32::try_from(self.stored.len()) else { return Ok(None) };
        let head = Head { raw, stored, crc: crc32fast::hash(&self.stored), ..head };
        self.chunk.clear();
        self.chunk.extend(head.to_bytes());
        self.chunk.extend(&self.stored);
        Ok(Some(&self.chunk))
    }
}

/// Takes payloads out of chunks. One context serves all frames.
pub(crate) struct Unpacker {
    zstd: DCtx<'static>,
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpacker")
    }
}

impl Unpacker {
    pub(crate) fn new() -> Self {
        Self { zstd: DCtx::create() }
    }

    /// The payload of stored bytes. Memory grows with what really comes out, never by what the head claims.
    pub(crate) fn unpack(
        &mut self,
        head: &Head,
        stored: &[u8],
        payload: &mut Vec<u8>,
        budget: &mut Budget,
    ) -> Result<(), Damage> {
        if crc32fast::hash(stored) != head.crc {
            return Err(Damage::Checksum);
        }
        if head.raw > MAX_RAW {
            return Err(Damage::Malformed("its payload is larger than the format allows"));
        }
        budget.take(u64::from(head.raw))?;
        self.reset()?;
        payload.clear();
        let mut zstd = zstd::stream::read::Decoder::with_context(stored, &mut self.zstd).single_frame();
        // One byte more than claimed is asked for, to see a payload that is too long.
        let got = zstd.by_ref().take(u64::from(head.raw) + 1).read_to_end(payload);
        got.map_err(|error| Damage::Compression(error.to_string()))?;
        if payload.len() as u64 != u64::from(head.raw) {
            return Err(Damage::Malformed("its payload has another length than its head says"));
        }
        if !zstd.finish().is_empty() {
            return Err(Damage::Malformed("bytes follow its compressed payload"));
        }
        Ok(())
    }

    /// Forgets what an earlier, perhaps broken, payload left behind.
    fn reset(&mut self) -> Result<(), Damage> {
        let failed = |code| Damage::Compression(zstd::zstd_safe::get_error_name(code).to_owned());
        self.zstd.reset(ResetDirective::SessionAndParameters).map_err(failed)?;
        self.zstd.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map(drop).map_err(failed)
    }
}

/// Reads until the buffer is full or the input ends; returns how much was read.
pub(crate) fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
