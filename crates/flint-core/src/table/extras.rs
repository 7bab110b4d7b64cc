//! The second to eighth rate of the few keys that have them, without gaps: the last ones take the place of those that are removed.

use super::cell::Cell;
use crate::chunked::Chunked;
use crate::limit::MAX_RATES;

#[derive(Debug)]
struct Extra {
    cells: [Cell; MAX_RATES - 1],
    /// The slot of the key.
    owner: u32,
}

#[derive(Debug)]
pub(super) struct Extras(Chunked<Extra>);

impl Default for Extras {
    fn default() -> Self {
        Self(Chunked::new())
    }
}

impl Extras {
    /// Adds cells for the key in slot `owner`, all of them `cell`.
    pub(super) fn insert(&mut self, cell: Cell, owner: u32) -> u32 {
        self.0.push(Extra { cells: [cell; MAX_RATES - 1], owner })
    }

    #[inline]
    pub(super) fn cells(&self, extra: u32) -> &[Cell] {
        &self.0.get(extra).cells
    }

    #[inline]
    pub(super) fn cells_mut(&mut self, extra: u32) -> &mut [Cell] {
        &mut self.0.get_mut(extra).cells
    }

    pub(super) fn set_owner(&mut self, extra: u32, slot: u32) {
        self.0.get_mut(extra).owner = slot;
    }

    /// Removes the cells of a key. Returns the slot whose cells are in this place now.
    #[must_use]
    pub(super) fn remove(&mut self, extra: u32) -> Option<u32> {
        let last = self.0.pop().expect("it has the removed one");
        if extra == self.0.len() {
            return None;
        }
        let owner = last.owner;
        *self.0.get_mut(extra) = last;
        Some(owner)
    }

    /// Bytes of all cells.
    #[cfg(feature = "testing")]
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
