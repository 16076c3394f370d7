//! The generator behind synthetic traces: xoshiro256** by Blackman and Vigna, seeded with splitmix64, both written from their
//! published definitions. It is our own so that a seed makes the same trace for ever.

/// xoshiro256**.
#[derive(Clone, Debug)]
pub(super) struct Rng {
    state: [u64; 4],
}

/// One step of splitmix64; also used to derive a number from another one.
pub(super) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Rng {
    pub(super) fn new(mut seed: u64) -> Self {
        Self { state: std::array::from_fn(|_| splitmix64(&mut seed)) }
    }

    pub(super) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number below `end`; 0 if `end` is 0. The bias of the multiplication is below `end / 2^64`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `low` up to and including `high`.
    pub(super) fn within(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `permille` of 1000 cases.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_are_the_published_ones() {
        let mut seed = 1_234_567;
        let first = [splitmix64(&mut seed), splitmix64(&mut seed), splitmix64(&mut seed)];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        let mut rng = Rng { state: [1, 2, 3, 4] };
        assert_eq!([rng.next(), rng.next(), rng.next(), rng.next()], [11520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn numbers_stay_in_their_bounds_and_reach_them() {
        let mut rng = Rng::new(7);
        let seen: std::collections::BTreeSet<_> = (0..1000).map(|_| rng.within((3, 5))).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(rng.below(0), 0);
    }
}
