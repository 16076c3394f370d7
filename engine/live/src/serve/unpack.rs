//! Blocks as they were before they were encoded. Each stream has an unpacker of its own, so they decode at the same time.

use std::io;

use pagesieve_core::{PAGE_SIZE, delta};

use crate::wire::{Fault, Put, Text};
use crate::zstd::Zstd;

/// Why a block is not applied.
pub(super) type Refused = (Fault, Text);

/// Decodes one block after the other.
#[derive(Debug)]
pub(super) struct Unpacker {
    codec: Zstd,
    block: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        let codec = Zstd::new(Zstd::DEFAULT_LEVEL).map_err(io::Error::other)?;
        Ok(Self { codec, block: Vec::new() })
    }

    /// Where the base of the next block goes: as many zeros as it has bytes.
    pub(super) fn base(&mut self, pages: u32) -> &mut [u8] {
        self.block.clear();
        self.block.resize(u64::from(pages) as usize * PAGE_SIZE as usize, 0);
        &mut self.block
    }

    /// Decodes a block over its base, and compares it with what it should be.
    pub(super) fn decode(&mut self, put: &Put) -> Result<&[u8], Refused> {
        delta::decode_block(&put.encoded, &mut self.block, &mut self.codec)
            .map_err(|error| (Fault::Encoding, Text::new(error)))?;
        // What is between the two ends may have changed it in a way that no checksum of a frame sees: faulty memory.
        if delta::fingerprint(&self.block) != put.fingerprint {
            return Err((Fault::Fingerprint, Text::new("the block came out with another fingerprint; send it again")));
        }
        Ok(&self.block)
    }
}
