//! What stands before the first frame: mark, version, header.

use std::io::Read;

use crate::chunk::read_full;
use crate::codec::{self, decode_header};
use crate::error::{Damage, ReadError};
use crate::model::Header;
use crate::version::{FORMAT, FormatVersion, Major, Minor};

/// The first byte is no ASCII, and the line ends and the end-of-file mark are there to be destroyed by tools that take the
/// file for text.
pub(crate) const MAGIC: [u8; 8] = *b"\x93PSTR\r\n\x1a";
/// Mark, version, length of the header.
const FIXED: usize = 16;
/// Largest header that a reader accepts.
const MAX_HEADER: u32 = codec::MAX_META as u32;

/// The bytes before the first frame.
pub(crate) fn encode(header: &Header) -> Result<Vec<u8>, &'static str> {
    let header = codec::encode_header(header)?;
    let mut out = Vec::with_capacity(FIXED + header.len() + 4);
    out.extend(MAGIC);
    out.extend(FORMAT.major.0.to_le_bytes());
    out.extend(FORMAT.minor.0.to_le_bytes());
    out.extend((header.len() as u32).to_le_bytes());
    out.extend(header);
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_le_bytes());
    Ok(out)
}

/// What stands before the first frame, and how many bytes it takes.
pub(crate) fn read(input: &mut impl Read) -> Result<(FormatVersion, Header, u64), ReadError> {
    let mut fixed = [0; FIXED];
    let got = read_full(input, &mut fixed).map_err(|error| ReadError::Io { at: 0, error })?;
    if got == 0 {
        return Err(ReadError::Empty);
    }
    let marked = got.min(MAGIC.len());
    if fixed[..marked] != MAGIC[..marked] {
        return Err(ReadError::NotATrace);
    }
    if got < FIXED {
        return Err(ReadError::HeaderCut { at: got as u64 });
    }
    let version = FormatVersion {
        major: Major(u16::from_le_bytes([fixed[8], fixed[9]])),
        minor: Minor(u16::from_le_bytes([fixed[10], fixed[11]])),
    };
    // Before the checksum: another major version may keep its checksum elsewhere.
    if version.major > FORMAT.major {
        return Err(ReadError::TooNew { found: version });
    }
    if version.major < FORMAT.major {
        return Err(ReadError::TooOld { found: version });
    }
    let length = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]);
    let header = read_header(input, &fixed, length, version)?;
    Ok((version, header, FIXED as u64 + u64::from(length) + 4))
}

fn read_header(input: &mut impl Read, fixed: &[u8], length: u32, version: FormatVersion) -> Result<Header, ReadError> {
    let damaged = |damage| ReadError::Header { damage };
    if length > MAX_HEADER {
        return Err(damaged(Damage::Malformed("its length is larger than the format allows")));
    }
    let mut bytes = Vec::new();
    let wanted = u64::from(length) + 4;
    let got = input.take(wanted).read_to_end(&mut bytes).map_err(|error| ReadError::Io { at: FIXED as u64, error })?;
    if (got as u64) < wanted {
        return Err(ReadError::HeaderCut { at: (FIXED + got) as u64 });
    }
    let (header, crc) = bytes.split_at(length as usize);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(fixed);
    hasher.update(header);
    if hasher.finalize().to_le_bytes() != crc {
        return Err(damaged(Damage::Checksum));
    }
    decode_header(header, version.has_unknown_fields()).map_err(damaged)
}
