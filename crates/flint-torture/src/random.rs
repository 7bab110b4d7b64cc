//! A small deterministic generator: SplitMix64 (Steele, Lea and Flood 2014).

/// The same seed leads to the same numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed in `FLINT_TEST_SEED`, or any; printed, so that a failure can be repeated.
    ///
    /// # Panics
    /// When the variable is no number.
    #[expect(clippy::print_stdout, reason = "the seed has to appear in the output of a failure")]
    pub fn seed() -> u64 {
        let seed = match std::env::var("FLINT_TEST_SEED") {
            Ok(text) => text.parse().expect("FLINT_TEST_SEED is a whole number"),
            Err(_) => std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
        };
        println!("FLINT_TEST_SEED={seed}");
        seed
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&mut self, n: u64) -> u64 {
        let below = (u128::from(self.next()) * u128::from(n)) >> 64;
        u64::try_from(below).unwrap_or(0)
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn choose<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        let index = self.below(of.len() as u64);
        &of[usize::try_from(index).unwrap_or(0)]
    }
}
