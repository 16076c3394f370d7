//! What a block costs on the wire in a replay.

use pagesieve_core::{Nanos, PAGE_SIZE};

/// Bytes of a page without any encoding.
pub(crate) const PAGE: u64 = PAGE_SIZE;
/// Bytes in front of each block that is sent, and of a marker for a block of zeros: where it lies, how long it is, a checksum.
pub const BLOCK_HEADER: u64 = 16;
/// Bytes in front of each page in a block: its encoding and length.
pub const PAGE_HEADER: u64 = 2;

/// Time that `bytes` take at `bandwidth` bytes per second, rounded up; no time without a limit.
pub(crate) fn time_for(bytes: u64, bandwidth: Option<u64>) -> Nanos {
    let Some(bandwidth) = bandwidth else { return Nanos(0) };
    let time = (u128::from(bytes) * u128::from(Nanos::SECOND.0)).div_ceil(u128::from(bandwidth.max(1)));
    Nanos(u64::try_from(time).unwrap_or(u64::MAX))
}

/// Two 64-bit mixes side by side over the versions of a block's pages. Versions are equal iff the bytes are, so this stands
/// for a hash of the bytes; it need not resist anyone.
pub(crate) fn fingerprint(versions: impl Iterator<Item = u32>) -> u128 {
    let (mut low, mut high) = (0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344_u64);
    for version in versions {
        low = mix(low ^ u64::from(version));
        high = mix(high.rotate_left(23) ^ u64::from(version));
    }
    u128::from(high) << 64 | u128::from(low)
}

/// The finisher of splitmix64: a bijection that spreads every bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rounded_up() {
        assert_eq!(time_for(1, Some(3)), Nanos(333_333_334));
        assert_eq!(time_for(u64::MAX, Some(1)), Nanos(u64::MAX));
        assert_eq!(time_for(1 << 30, None), Nanos(0));
    }

    #[test]
    fn the_order_of_pages_counts() {
        assert_ne!(fingerprint([1, 2].into_iter()), fingerprint([2, 1].into_iter()));
        assert_ne!(fingerprint([0].into_iter()), fingerprint([0, 0].into_iter()));
        assert_eq!(fingerprint([7, 9].into_iter()), fingerprint([7, 9].into_iter()));
    }
}
