//! A small deterministic generator (SplitMix64, Steele, Lea and Flood 2014): the same seed gives the same crash.

pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, which must not be 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let below = (u128::from(self.next()) * (n as u128)) >> 64;
        usize::try_from(below).expect("less than n")
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}
