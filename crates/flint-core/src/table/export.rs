//! What a key has, for snapshots.

use super::Table;
use super::captured::{Captured, export};
use super::entry::Slot;
use crate::image::KeyImage;

impl Table {
    /// Adds a copy of a key. Returns how much work that was: 1 for the key, and its runs and blocks of runs.
    pub(crate) fn capture(&self, slot: Slot, into: &mut Captured) -> usize {
        let entry = self.entry(slot);
        into.push(*entry, self.key(slot));
        1 + (0..usize::from(entry.rates)).map(|rate| into.push_cell(self.cell(slot, rate), &self.runs)).sum::<usize>()
    }

    /// Everything known of a key, into a reused image.
    pub(crate) fn export(&self, slot: Slot, into: &mut KeyImage) {
        let entry = self.entry(slot);
        let cells = (0..usize::from(entry.rates)).map(|rate| self.cell(slot, rate));
        export(entry, self.key(slot), cells, &self.runs, into);
    }
}
