//! Frames out of bytes that arrive in pieces.

use super::error::WireError;
use super::frame::{CRC, Frame, HEADER};
use super::kind::{Kind, MAX_BODY, Side};

/// Takes the bytes of one stream as they come and gives frames.
///
/// It holds at most what it was fed since [`Decoder::next`] last gave `None`, and one frame. After an error it gives the same
/// error for ever: nobody knows where the next frame would begin.
#[derive(Debug)]
pub struct Decoder {
    sender: Side,
    stream: u8,
    bytes: Vec<u8>,
    /// How many of `bytes` are done with.
    used: usize,
    /// Bytes and frames that came before `bytes[used]`.
    offset: u64,
    frame: u64,
    failed: Option<WireError>,
}

impl Decoder {
    /// A decoder for what `sender` sends on this stream.
    #[must_use]
    pub fn new(sender: Side, stream: u8) -> Self {
        Self { sender, stream, bytes: Vec::new(), used: 0, offset: 0, frame: 0, failed: None }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, or `None` if more bytes are needed for it.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    #[expect(clippy::should_implement_trait, reason = "`None` is not the end")]
    pub fn next(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let next = self.decode();
        self.failed = next.as_ref().err().cloned();
        next
    }

    /// Whether the stream may end here: no frame has begun.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.used == self.bytes.len()
    }

    /// What of the frame that has begun is there, for an error message.
    #[must_use]
    pub fn partial(&self) -> String {
        let rest = &self.bytes[self.used..];
        let kind = rest.get(4).and_then(|number| Kind::from_number(*number));
        let kind = kind.map_or_else(|| "unknown kind".to_owned(), |kind| kind.to_string());
        format!("frame {} ({kind}) at byte {}, after {} bytes of it", self.frame, self.offset, rest.len())
    }

    fn decode(&mut self) -> Result<Option<Frame>, WireError> {
        let (frame, offset) = (self.frame, self.offset);
        let rest = &self.bytes[self.used..];
        let Some(&[a, b, c, d, number]) = rest.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]);
        let kind = Kind::from_number(number).ok_or(WireError::Kind { frame, offset, kind: number })?;
        if length > MAX_BODY {
            return Err(WireError::TooLong { frame, offset, kind, length });
        }
        let whole = HEADER + length as usize + CRC;
        let Some(bytes) = rest.get(..whole) else { return Ok(None) };
        let (content, crc) = bytes.split_at(whole - CRC);
        if crc32fast::hash(content).to_le_bytes() != crc {
            return Err(WireError::Checksum { frame, offset, kind, length });
        }
        if !kind.belongs(self.sender, self.stream) {
            return Err(WireError::Misplaced { frame, offset, kind, stream: self.stream });
        }
        let read = Frame::read(kind, &content[HEADER..]).map_err(|why| WireError::Malformed { frame, offset, kind, why })?;
        self.used += whole;
        self.offset += whole as u64;
        self.frame += 1;
        Ok(Some(read))
    }
}
