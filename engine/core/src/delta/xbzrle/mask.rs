//! Where two versions of a page differ, 64 bytes at a time.

use wide::u8x16;

/// Bytes that one mask covers.
pub(super) const CHUNK: usize = 64;

const LANES: usize = 16;

/// One bit for each byte that differs; bit 0 is the first byte.
///
/// With a crate for vectors and not with arithmetic on words: gathering the sign bits of a vector is one instruction, which
/// the compiler does not find on its own. With words this alone takes about as long as the whole encoder does now.
#[inline(always)]
pub(super) fn differing(old: &[u8; CHUNK], new: &[u8; CHUNK]) -> u64 {
    let (old, _) = old.as_chunks::<LANES>();
    let (new, _) = new.as_chunks::<LANES>();
    let mut equal = 0;
    for (at, (old, new)) in old.iter().zip(new).enumerate() {
        let lanes = u8x16::new(*old).simd_eq(u8x16::new(*new)).to_bitmask();
        equal |= u64::from(lanes as u16) << (at * LANES);
    }
    !equal
}

/// The same for slices shorter than a chunk, of one length. Bytes beyond them count as equal.
#[cold]
pub(super) fn differing_tail(old: &[u8], new: &[u8]) -> u64 {
    let mut padded = ([0; CHUNK], [0; CHUNK]);
    padded.0[..old.len()].copy_from_slice(old);
    padded.1[..new.len()].copy_from_slice(new);
    differing(&padded.0, &padded.1)
}

/// Removes the lowest bit and returns its number.
#[inline(always)]
pub(super) fn take_edge(edges: &mut u64) -> usize {
    let edge = edges.trailing_zeros() as usize;
    *edges &= *edges - 1;
    edge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_bit() {
        let old: [u8; CHUNK] = core::array::from_fn(|at| at as u8);
        assert_eq!(differing(&old, &old), 0);
        for at in 0..CHUNK {
            for flip in [1, 0x80, 0xff] {
                let mut new = old;
                new[at] ^= flip;
                assert_eq!(differing(&old, &new), 1 << at);
            }
            assert_eq!(differing_tail(&old[..at], &[0xff; CHUNK][..at]), (1 << at) - 1);
        }
        assert_eq!(differing(&old, &[0xff; CHUNK]), u64::MAX);
    }
}
