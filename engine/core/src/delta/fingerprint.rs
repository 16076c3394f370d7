//! The fingerprint of a block.

use crate::Fingerprint;

/// The first 128 bits of the BLAKE3 hash of the bytes, the first byte lowest.
///
/// The engine skips a block whose fingerprint is that of what the destination holds: equal fingerprints are a *proof* of equal
/// bytes there, and a guest writes what it likes. So the hash must resist those who look for collisions, which no fast
/// checksum does. With 128 bits an attacker needs about 2^64 hashes for one; by accident, 2^32 different blocks (256 TiB of
/// 64 KiB blocks) collide with a chance of 2^-65.
#[must_use]
pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let mut low = [0; 16];
    low.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    Fingerprint(u128::from_le_bytes(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the hash function's own test vectors: the empty input, and 1 byte.
    #[test]
    fn it_is_the_start_of_blake3() {
        let empty = [0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49];
        assert_eq!(fingerprint(&[]), Fingerprint(u128::from_le_bytes(empty)));
        let zero = [0x2d, 0x3a, 0xde, 0xdf, 0xf1, 0x1b, 0x61, 0xf1, 0x4c, 0x88, 0x6e, 0x35, 0xaf, 0xa0, 0x36, 0x73];
        assert_eq!(fingerprint(&[0]), Fingerprint(u128::from_le_bytes(zero)));
    }

    #[test]
    fn length_order_and_every_bit_count() {
        let block: [u8; 8192] = core::array::from_fn(|at| (at / 4096) as u8 + 1);
        let original = fingerprint(&block);
        assert_ne!(fingerprint(&block[1..]), original);
        let mut swapped = block;
        swapped.rotate_left(4096);
        assert_ne!(fingerprint(&swapped), original);
        for at in (0..8192).step_by(911) {
            let mut changed = block;
            changed[at] ^= 0x10;
            assert_ne!(fingerprint(&changed), original, "byte {at}");
        }
    }
}
