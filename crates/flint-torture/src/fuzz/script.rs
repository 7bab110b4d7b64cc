//! Reading an input of the directories target as a sequence of choices. Any bytes are a script.

use super::mutate::EDGES;
use super::stores;

/// Reads a script; zeros follow its end.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl Script<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { usize::from(self.byte()) % bound }
    }

    pub(super) fn chance(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// A number: near the old one, an edge, or any.
    pub(super) fn number(&mut self, old: u64) -> u64 {
        match self.byte() {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            2 => old.wrapping_mul(2),
            3 => old / 2,
            4 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            5 => old ^ 1 << self.below(64),
            6 => stores::LATER,
            7..=15 => old.wrapping_add(u64::from(self.byte())),
            code => {
                let edge = EDGES[usize::from(code) % EDGES.len()];
                match code / 86 {
                    1 => edge.wrapping_add(1),
                    2 => edge.wrapping_sub(1),
                    _ => edge,
                }
            }
        }
    }
}
