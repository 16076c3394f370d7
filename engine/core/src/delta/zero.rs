//! The zero test.

/// Bytes looked at in one step: a step has no branch inside, so that the compiler can use wide registers for it.
const STEP: usize = 64;

/// True if every byte is zero. An empty slice is zero. Most pages with data differ in their first bytes, so the test leaves
/// at the first step that does.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let mut steps = bytes.chunks_exact(STEP);
    steps.by_ref().all(|step| step.iter().fold(0, |any, byte| any | byte) == 0) && steps.remainder().iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn one_set_bit_anywhere_is_found() {
        for len in [0, 1, 63, 64, 65, 130, 4096] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            for at in 0..len {
                bytes[at] = 0x80;
                assert!(!is_zero(&bytes), "byte {at} of {len}");
                bytes[at] = 0;
            }
        }
    }
}
