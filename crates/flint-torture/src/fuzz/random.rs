//! Choosing how to change an input.

use crate::random;

/// Chance, with the questions that fuzzing asks of it.
pub(super) struct Random(random::Random);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(random::Random::new(seed))
    }

    /// Below `bound`, which is not zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap_or(0)
    }

    /// One up to `most`, small ones more often.
    pub(super) fn short(&mut self, most: usize) -> usize {
        let bound = self.below(most) + 1;
        self.below(bound) + 1
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.0.next().to_le_bytes()[0]
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
