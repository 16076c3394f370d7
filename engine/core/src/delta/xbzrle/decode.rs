//! From an old version and a delta to the new version.

use core::fmt;

/// Longest length field accepted: 5 bytes hold 35 bits, of which 32 may be used.
const MAX_LENGTH_BYTES: usize = 5;

/// Why a delta cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// It ends in the middle of a length or of changed bytes.
    Truncated,
    /// A length does not fit 32 bits, or is written with more bytes than it needs.
    Length,
    /// A run is empty that must not be.
    EmptyRun,
    /// It reaches beyond the end of the page.
    TooLong,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::Truncated => "the delta is cut off",
            DecodeError::Length => "the delta holds a malformed length",
            DecodeError::EmptyRun => "the delta holds an empty run",
            DecodeError::TooLong => "the delta reaches beyond the end of the page",
        })
    }
}

impl core::error::Error for DecodeError {}

/// Applies a delta to `page`, which must hold the old version.
///
/// # Errors
/// Refuses a delta whose structure [`encode`](super::encode()) cannot have written for a page of this length, and then leaves
/// `page` unchanged. (A byte that is called changed but has its old value is no error: it gives the same page.)
pub fn decode(delta: &[u8], page: &mut [u8]) -> Result<(), DecodeError> {
    // Twice, so that a bad tail cannot leave a page that is neither the old nor the new version.
    check(delta, page.len())?;
    runs(delta, page.len(), |at, bytes| page[at..at + bytes.len()].copy_from_slice(bytes))
}

/// Tells whether [`decode`] would accept the delta for a page of `length` bytes.
///
/// # Errors
/// As [`decode`].
pub fn check(delta: &[u8], length: usize) -> Result<(), DecodeError> {
    runs(delta, length, |_, _| {})
}

/// Calls `apply` for each changed run: where it lies in the page, and its bytes.
#[inline(always)]
fn runs(mut delta: &[u8], length: usize, mut apply: impl FnMut(usize, &[u8])) -> Result<(), DecodeError> {
    let mut at = 0;
    let mut first = true;
    while !delta.is_empty() {
        // The shortest pair apart: that the next one follows after three bytes is then a branch, which is predicted, and not a sum
        // that has to be waited for; and a byte is copied without a call.
        if let [equal @ 0..0x80, 1, byte, rest @ ..] = delta
            && (*equal != 0 || first)
            && at + usize::from(*equal) < length
        {
            apply(at + usize::from(*equal), core::slice::from_ref(byte));
            at += usize::from(*equal) + 1;
            first = false;
            delta = rest;
            continue;
        }
        let equal = take_length(&mut delta)?;
        let changed = take_length(&mut delta)?;
        if changed == 0 || (equal == 0 && !first) {
            return Err(DecodeError::EmptyRun);
        }
        first = false;
        // Each is below 2^32 and `at` within the page: the sum cannot wrap in 64 bits.
        if at as u64 + equal as u64 + changed as u64 > length as u64 {
            return Err(DecodeError::TooLong);
        }
        let (bytes, rest) = delta.split_at_checked(changed).ok_or(DecodeError::Truncated)?;
        apply(at + equal, bytes);
        at += equal + changed;
        delta = rest;
    }
    Ok(())
}

/// Takes a length off the front. One byte is the rule.
#[inline(always)]
fn take_length(delta: &mut &[u8]) -> Result<usize, DecodeError> {
    match delta.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *delta = rest;
            Ok(usize::from(byte))
        }
        _ => take_long_length(delta),
    }
}

fn take_long_length(delta: &mut &[u8]) -> Result<usize, DecodeError> {
    let mut length = 0_u64;
    for at in 0..MAX_LENGTH_BYTES {
        let (&byte, rest) = delta.split_first().ok_or(DecodeError::Truncated)?;
        *delta = rest;
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let padded = at > 0 && byte == 0;
            return u32::try_from(length).ok().filter(|_| !padded).map(|length| length as usize).ok_or(DecodeError::Length);
        }
    }
    Err(DecodeError::Length)
}
