//! Frames: messages as bytes.

use pagesieve_core::Fingerprint;

use super::block::{self, Put, Span};
use super::control::{self, Held, MAX_CHUNK, Open};
use super::error::Malformed;
use super::fields::{Fields, put_option};
use super::kind::{Kind, MAX_BODY};
use super::{Failure, Fault, Text, Token};

/// Bytes of a frame besides its body: length and kind in front, the checksum behind.
pub const FRAME_OVERHEAD: usize = HEADER + CRC;

pub(super) const HEADER: usize = 5;
pub(super) const CRC: usize = 4;

/// One message. `WIRE.md` says who sends it when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// What the session is about.
    Open(Open),
    /// Everything was sent and acknowledged: make it last.
    Commit {
        /// Length of the file in bytes, or of all slots together.
        length: u64,
        /// BLAKE3 of the whole content, for the destination to compare.
        digest: Option<[u8; 32]>,
    },
    /// A part of what the guest's devices hold.
    DeviceState {
        /// Whether it is the last part.
        last: bool,
        /// At most [`MAX_CHUNK`] bytes.
        bytes: Vec<u8>,
    },
    /// Start the guest at the destination. From here on the source does not start it again unless told `Failed`.
    Handover,
    /// Give up what was begun.
    Abort {
        /// Why.
        text: Text,
    },
    /// What became of the guest of another session? If it was not started, it never will be.
    Settle {
        /// That session.
        session: Token,
    },
    /// A block.
    Put(Put),
    /// A block of zeros.
    Zero {
        /// As in [`Put`].
        sequence: u64,
        /// Its pages.
        span: Span,
    },
    /// The destination is ready.
    Opened {
        /// What it holds.
        held: Held,
        /// How many blocks of [`Open::block_size`] that is; the last one may be shorter.
        blocks: u64,
    },
    /// What it holds of some blocks.
    Fingerprints {
        /// The first of them, in blocks.
        first: u64,
        /// Fingerprint of each, `None` for zeros. 1 to [`MAX_CHUNK_BLOCKS`](super::MAX_CHUNK_BLOCKS).
        blocks: Vec<Option<Fingerprint>>,
    },
    /// The content is complete and will last.
    Committed {
        /// BLAKE3 of what the destination has, if it computed that.
        digest: Option<[u8; 32]>,
    },
    /// The guest runs at the destination.
    HandedOver,
    /// The destination gives up.
    Failed {
        /// Why, for a program.
        code: Failure,
        /// Why, and what to do.
        text: Text,
    },
    /// These blocks were applied and compared with their fingerprints.
    Ack {
        /// Their numbers, 1 to [`MAX_ACKS`](super::MAX_ACKS).
        sequences: Vec<u64>,
    },
    /// This block was not applied. What the destination holds of it is unknown.
    Nack {
        /// Its number.
        sequence: u64,
        /// Why, for a program.
        code: Fault,
        /// Why.
        text: Text,
    },
    /// Are you there?
    Ping(
        /// Comes back in the answer.
        u64,
    ),
    /// Yes.
    Pong(
        /// From the question.
        u64,
    ),
}

impl Frame {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Open(_) => Kind::Open,
            Self::Commit { .. } => Kind::Commit,
            Self::DeviceState { .. } => Kind::DeviceState,
            Self::Handover => Kind::Handover,
            Self::Abort { .. } => Kind::Abort,
            Self::Settle { .. } => Kind::Settle,
            Self::Put(_) => Kind::Put,
            Self::Zero { .. } => Kind::Zero,
            Self::Opened { .. } => Kind::Opened,
            Self::Fingerprints { .. } => Kind::Fingerprints,
            Self::Committed { .. } => Kind::Committed,
            Self::HandedOver => Kind::HandedOver,
            Self::Failed { .. } => Kind::Failed,
            Self::Ack { .. } => Kind::Ack,
            Self::Nack { .. } => Kind::Nack,
            Self::Ping(_) => Kind::Ping,
            Self::Pong(_) => Kind::Pong,
        }
    }

    /// Appends the bytes of the frame.
    ///
    /// # Panics
    /// If a list in it is longer than this module's constants allow.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0, 0, 0, self.kind() as u8]);
        self.put_body(out);
        let length = out.len() - start - HEADER;
        assert!(length <= MAX_BODY as usize, "a {} of {length} bytes is too long to be sent", self.kind());
        out[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        let crc = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(open) => open.put(out),
            Self::Commit { length, digest } => {
                out.extend_from_slice(&length.to_le_bytes());
                put_option(out, digest.as_ref());
            }
            Self::DeviceState { last, bytes } => {
                out.push((*last).into());
                out.extend_from_slice(bytes);
            }
            Self::Handover | Self::HandedOver => {}
            Self::Abort { text } => text.put(out),
            Self::Settle { session } => out.extend_from_slice(&session.0),
            Self::Put(put) => put.put(out),
            Self::Zero { sequence, span } => block::put_zero(out, *sequence, *span),
            Self::Opened { held, blocks } => control::put_opened(out, *held, *blocks),
            Self::Fingerprints { first, blocks } => control::put_fingerprints(out, *first, blocks),
            Self::Committed { digest } => put_option(out, digest.as_ref()),
            Self::Failed { code, text } => {
                out.extend_from_slice(&code.number().to_le_bytes());
                text.put(out);
            }
            Self::Ack { sequences } => block::put_acks(out, sequences),
            Self::Nack { sequence, code, text } => block::put_nack(out, *sequence, code.number(), text),
            Self::Ping(number) | Self::Pong(number) => out.extend_from_slice(&number.to_le_bytes()),
        }
    }

    /// Reads a body whose checksum is right.
    pub(super) fn read(kind: Kind, body: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields(body);
        let frame = Self::read_fields(kind, &mut fields)?;
        if fields.0.is_empty() { Ok(frame) } else { Err(Malformed::Trailing(fields.0.len())) }
    }

    fn read_fields(kind: Kind, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            Kind::Open => Self::Open(Open::read(fields)?),
            Kind::Commit => Self::Commit {
                length: control::read_length(fields)?,
                digest: fields.option("the mark of a digest", Fields::array)?,
            },
            Kind::DeviceState => Self::read_state(fields)?,
            Kind::Handover => Self::Handover,
            Kind::Abort => Self::Abort { text: Text::read(fields)? },
            Kind::Settle => Self::Settle { session: fields.token()? },
            Kind::Put => Self::Put(Put::read(fields)?),
            Kind::Zero => {
                let (sequence, span) = block::read_zero(fields)?;
                Self::Zero { sequence, span }
            }
            Kind::Opened => {
                let (held, blocks) = control::read_opened(fields)?;
                Self::Opened { held, blocks }
            }
            Kind::Fingerprints => {
                let (first, blocks) = control::read_fingerprints(fields)?;
                Self::Fingerprints { first, blocks }
            }
            Kind::Committed => Self::Committed { digest: fields.option("the mark of a digest", Fields::array)? },
            Kind::HandedOver => Self::HandedOver,
            Kind::Failed => Self::Failed { code: Failure::from_number(fields.u16()?), text: Text::read(fields)? },
            Kind::Ack => Self::Ack { sequences: block::read_acks(fields)? },
            Kind::Nack => {
                Self::Nack { sequence: fields.u64()?, code: Fault::from_number(fields.u16()?), text: Text::read(fields)? }
            }
            Kind::Ping => Self::Ping(fields.u64()?),
            Kind::Pong => Self::Pong(fields.u64()?),
        })
    }

    fn read_state(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let last = fields.flag("the mark of the last part")?;
        let bytes = fields.rest();
        if bytes.len() > MAX_CHUNK {
            return Err(Malformed::Count { field: "the device state", count: bytes.len(), least: 0, most: MAX_CHUNK });
        }
        Ok(Self::DeviceState { last, bytes: bytes.to_vec() })
    }
}
