//! XBZRLE, the delta encoding of QEMU's migration: what changed between two versions of a page.
//!
//! An encoding is a sequence of pairs: the length of a run of equal bytes, the length of a run of changed bytes, and the new
//! bytes of the latter. Lengths are ULEB128. Equal bytes at the end are left out, so two equal versions give an empty
//! encoding. Only the first run of equal bytes may be empty; a run of changed bytes never is.

use alloc::vec::Vec;
use core::fmt;

/// Longest length field accepted: 5 bytes hold 35 bits, more than any slice that makes sense here.
const MAX_LENGTH_BYTES: usize = 5;

/// Appends the delta that turns `old` into `new` to `out`, and returns its length in bytes.
///
/// `None` if the delta would be longer than `limit` (it does not pay), or if the two lengths differ; `out` is then as before.
pub fn encode(old: &[u8], new: &[u8], out: &mut Vec<u8>, limit: usize) -> Option<usize> {
    let start = out.len();
    let done = walk(old, new, limit, |equal, changed| {
        push_length(out, equal);
        push_length(out, changed.len());
        out.extend_from_slice(changed);
    });
    if done.is_none() {
        out.truncate(start);
    }
    done
}

/// The length in bytes that [`encode`] would give, without writing anything; `None` on the same terms.
#[must_use]
pub fn encoded_len(old: &[u8], new: &[u8], limit: usize) -> Option<usize> {
    walk(old, new, limit, |_, _| {})
}

/// Calls `emit` for each pair of runs while the total stays within the limit; returns the total.
fn walk(old: &[u8], new: &[u8], limit: usize, mut emit: impl FnMut(usize, &[u8])) -> Option<usize> {
    if old.len() != new.len() {
        return None;
    }
    let mut total = 0;
    let mut at = 0;
    loop {
        let equal = equal_run(&old[at..], &new[at..]);
        at += equal;
        if at == new.len() {
            return Some(total);
        }
        let changed = changed_run(&old[at..], &new[at..]);
        total += length_bytes(equal) + length_bytes(changed) + changed;
        if total > limit {
            return None;
        }
        emit(equal, &new[at..at + changed]);
        at += changed;
    }
}

/// Length of the common start. Compares words first: most of a page is equal.
fn equal_run(old: &[u8], new: &[u8]) -> usize {
    let words = old.chunks_exact(8).zip(new.chunks_exact(8)).take_while(|(old, new)| old == new).count() * 8;
    words + old[words..].iter().zip(&new[words..]).take_while(|(old, new)| old == new).count()
}

/// Length of the start in which every byte differs.
fn changed_run(old: &[u8], new: &[u8]) -> usize {
    old.iter().zip(new).take_while(|(old, new)| old != new).count()
}

fn length_bytes(length: usize) -> usize {
    (usize::BITS - (length | 1).leading_zeros()).div_ceil(7) as usize
}

fn push_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

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
/// Refuses whatever [`encode`] cannot have written for a page of this length, and then leaves `page` unchanged.
pub fn decode(delta: &[u8], page: &mut [u8]) -> Result<(), DecodeError> {
    // Twice, so that a bad tail cannot leave a page that is neither the old nor the new version.
    runs(delta, page.len(), |_, _| {})?;
    runs(delta, page.len(), |at, changed| page[at..at + changed.len()].copy_from_slice(changed))
}

fn runs(mut delta: &[u8], len: usize, mut apply: impl FnMut(usize, &[u8])) -> Result<(), DecodeError> {
    let mut at = 0;
    let mut first = true;
    while !delta.is_empty() {
        let equal = take_length(&mut delta)?;
        let changed = take_length(&mut delta)?;
        if changed == 0 || (equal == 0 && !first) {
            return Err(DecodeError::EmptyRun);
        }
        first = false;
        // Each is below 2^32 and `at` within the page: the sum cannot wrap in 64 bits.
        if at as u64 + equal as u64 + changed as u64 > len as u64 {
            return Err(DecodeError::TooLong);
        }
        let (bytes, rest) = delta.split_at_checked(changed).ok_or(DecodeError::Truncated)?;
        apply(at + equal, bytes);
        at += equal + changed;
        delta = rest;
    }
    Ok(())
}

fn take_length(delta: &mut &[u8]) -> Result<usize, DecodeError> {
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_on_the_wire_are_those_of_qemu() {
        let old = vec![0; 300];
        let mut new = old.clone();
        new[0] = 1;
        new[200..203].copy_from_slice(&[7, 8, 9]);
        let mut out = vec![];
        assert_eq!(encode(&old, &new, &mut out, 300), Some(9));
        assert_eq!(out, [0, 1, 1, 0xc7, 1, 3, 7, 8, 9]);
        assert_eq!(encode(&old, &old, &mut out, 0), Some(0), "equal versions need no byte");
    }

    #[test]
    fn a_delta_that_does_not_pay_leaves_the_buffer_alone() {
        let mut out = vec![42];
        assert_eq!(encode(&[0; 64], &[1; 64], &mut out, 65), None);
        assert_eq!(encode(&[0; 64], &[1; 63], &mut out, 1000), None, "lengths differ");
        assert_eq!(out, [42]);
        assert_eq!(encode(&[0; 64], &[1; 64], &mut out, 66), Some(66));
    }

    #[test]
    fn malformed_deltas_are_refused_and_change_nothing() {
        let cases: [(&[u8], DecodeError); 8] = [
            (&[0], DecodeError::Truncated),
            (&[0, 2, 1], DecodeError::Truncated),
            (&[0x80], DecodeError::Truncated),
            (&[0, 0], DecodeError::EmptyRun),
            (&[1, 1, 9, 0, 1, 9], DecodeError::EmptyRun),
            (&[0, 1, 9, 7, 1, 9], DecodeError::TooLong),
            (&[0x80, 0, 1, 9], DecodeError::Length),
            (&[0xff, 0xff, 0xff, 0xff, 0x7f, 1, 9], DecodeError::Length),
        ];
        for (delta, error) in cases {
            let mut page = [5; 8];
            assert_eq!(decode(delta, &mut page), Err(error), "{delta:?}");
            assert_eq!(page, [5; 8], "{delta:?}");
        }
    }

    fn versions() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let edit = (0_usize..4096, proptest::collection::vec(any::<u8>(), 1..300));
        (proptest::collection::vec(any::<u8>(), 1..4096), proptest::collection::vec(edit, 0..6)).prop_map(|(old, edits)| {
            let mut new = old.clone();
            for (at, bytes) in edits {
                let at = at % new.len();
                for (into, byte) in new[at..].iter_mut().zip(bytes) {
                    *into = byte;
                }
            }
            (old, new)
        })
    }

    proptest! {
        #[test]
        fn decoding_gives_the_new_version((old, new) in versions(), limit in 0_usize..5000) {
            let mut out = vec![];
            let length = encode(&old, &new, &mut out, limit);
            prop_assert_eq!(length, encoded_len(&old, &new, limit));
            if let Some(length) = length {
                prop_assert!(length <= limit && length == out.len());
                let mut page = old;
                decode(&out, &mut page).unwrap();
                prop_assert_eq!(page, new);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(delta in proptest::collection::vec(any::<u8>(), 0..64), len in 0_usize..128) {
            let mut page = vec![3; len];
            if decode(&delta, &mut page).is_err() {
                prop_assert_eq!(page, vec![3; len]);
            }
        }
    }
}
