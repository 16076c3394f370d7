//! The first bytes of each side. Their layout is the same in every version, so that versions can tell each other apart.

use std::fmt;

use super::error::WireError;
use super::fields::{Fields, put_bytes16};
use super::{Malformed, Text, Token};

/// Most streams of a session.
pub const MAX_STREAMS: u8 = 8;
/// Most bytes of a greeting, of either side.
pub const GREETING_LIMIT: usize = REPLY_HEAD + Text::LIMIT + CRC;

/// The line end shows when a link translates text; no TLS record and no HTTP request begins like this.
const MAGIC: [u8; 8] = *b"PGSIEVE\n";
const HELLO: usize = 36;
const REPLY_HEAD: usize = 16;
const CRC: usize = 4;

/// A version of the protocol. Versions of one major number understand each other: both sides use the lower minor one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes when an older side would misunderstand.
    pub major: u16,
    /// Changes when something is added that an older side need not know.
    pub minor: u16,
}

impl Version {
    /// What this crate speaks.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Whether both can talk.
    #[must_use]
    pub fn fits(self, other: Self) -> bool {
        self.major == other.major
    }

    /// What both understand, if they fit.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        self.min(other)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a client says first, on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the client speaks.
    pub version: Version,
    /// The session; the same for all its connections.
    pub session: Token,
    /// Which connection of it, from 0.
    pub stream: u8,
    /// How many connections it has, 1 to [`MAX_STREAMS`].
    pub streams: u8,
}

impl Hello {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        put_version(out, self.version);
        out.extend_from_slice(&self.session.0);
        out.extend_from_slice(&[self.stream, self.streams, 0, 0]);
        put_crc(out, start);
    }

    /// Reads the start of `bytes`: the greeting and its length, or `None` if more is needed. Versions and numbers of streams
    /// are as they came; the caller answers what it does not like.
    ///
    /// # Errors
    /// These bytes are not the beginning of a greeting.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        check_magic(bytes)?;
        let Some(hello) = bytes.get(..HELLO) else { return Ok(None) };
        let mut fields = Fields(checked(hello)?);
        let hello = Self::read(&mut fields).map_err(|_| WireError::Greeting)?;
        Ok(Some((hello, HELLO)))
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let version = read_version(fields)?;
        Ok(Self { version, session: fields.token()?, stream: fields.u8()?, streams: fields.u8()? })
    }
}

/// What a server makes of a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// 0: the stream is part of the session.
    Welcome,
    /// 1: the server speaks another major version.
    Version,
    /// 2: no session has this stream, or so many.
    Streams,
    /// 3: the session has this stream already.
    Duplicate,
    /// 4: too many sessions are about to begin.
    Busy,
    /// 5: the greeting was not understood.
    Damaged,
    /// 6: the server wants TLS, and the client began without; this answer comes without TLS.
    NeedsTls,
    /// 7: the server has no TLS, and the client began with it; this answer comes without TLS.
    NoTls,
    /// A reason that this version does not know. Never 0.
    Other(u16),
}

impl Verdict {
    const KNOWN: [Self; 8] =
        [Self::Welcome, Self::Version, Self::Streams, Self::Duplicate, Self::Busy, Self::Damaged, Self::NeedsTls, Self::NoTls];

    fn from_number(number: u16) -> Self {
        Self::KNOWN.get(usize::from(number)).copied().unwrap_or(Self::Other(number))
    }

    fn number(self) -> u16 {
        match self {
            Self::Other(number) => number,
            known => Self::KNOWN.iter().position(|one| *one == known).unwrap_or(0) as u16,
        }
    }
}

/// What the server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What the server speaks.
    pub version: Version,
    /// Whether the stream may be used.
    pub verdict: Verdict,
    /// If not: why, and what to do.
    pub text: Text,
}

impl Reply {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        put_version(out, self.version);
        out.extend_from_slice(&self.verdict.number().to_le_bytes());
        put_bytes16(out, self.text.as_str().as_bytes());
        put_crc(out, start);
    }

    /// Reads the start of `bytes`: the answer and its length, or `None` if more is needed.
    ///
    /// # Errors
    /// These bytes are not the beginning of an answer.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, WireError> {
        check_magic(bytes)?;
        let Some(head) = bytes.first_chunk::<REPLY_HEAD>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([head[14], head[15]]));
        if length > Text::LIMIT {
            return Err(WireError::Greeting);
        }
        let Some(reply) = bytes.get(..REPLY_HEAD + length + CRC) else { return Ok(None) };
        let mut fields = Fields(checked(reply)?);
        let read = |fields: &mut Fields<'_>| {
            let version = read_version(fields)?;
            Ok(Self { version, verdict: Verdict::from_number(fields.u16()?), text: Text::read(fields)? })
        };
        let reply_read = read(&mut fields).map_err(|_: Malformed| WireError::Greeting)?;
        Ok(Some((reply_read, reply.len())))
    }
}

/// Tells as early as possible that the other side speaks something else.
fn check_magic(bytes: &[u8]) -> Result<(), WireError> {
    let length = bytes.len().min(MAGIC.len());
    if bytes[..length] == MAGIC[..length] { Ok(()) } else { Err(WireError::NotOurs) }
}

/// What stands between the magic and the checksum, if that is right.
fn checked(greeting: &[u8]) -> Result<&[u8], WireError> {
    let (content, crc) = greeting.split_at(greeting.len() - CRC);
    if crc32fast::hash(content).to_le_bytes() == crc { Ok(&content[MAGIC.len()..]) } else { Err(WireError::Greeting) }
}

fn put_crc(out: &mut Vec<u8>, start: usize) {
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

fn put_version(out: &mut Vec<u8>, version: Version) {
    out.extend_from_slice(&version.major.to_le_bytes());
    out.extend_from_slice(&version.minor.to_le_bytes());
}

fn read_version(fields: &mut Fields<'_>) -> Result<Version, Malformed> {
    Ok(Version { major: fields.u16()?, minor: fields.u16()? })
}
