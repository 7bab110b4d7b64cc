//! Keys copied under the lock, to be turned into images without it: long logs share their blocks with the copy.

use std::ops::Range;

use super::cell::Cell;
use super::entry::Entry;
use crate::algorithm::RunArena;
use crate::image::KeyImage;

/// Copies of keys.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    keys: Vec<(Entry, Range<usize>)>,
    text: String,
    /// The cells of all keys, one after the other.
    cells: Vec<Cell>,
    runs: RunArena,
}

impl Captured {
    /// Makes room, so that little is allocated under the lock.
    pub(crate) fn reserve(&mut self, keys: usize, bytes: usize) {
        self.keys.reserve(keys);
        self.cells.reserve(keys);
        self.text.reserve(bytes);
    }

    /// Adds a key, without its cells.
    pub(super) fn push(&mut self, entry: Entry, key: &str) {
        let from = self.text.len();
        self.text.push_str(key);
        self.keys.push((entry, from..self.text.len()));
    }

    /// Adds a cell to the last key. Returns how many runs and blocks of runs that took.
    pub(super) fn push_cell(&mut self, cell: &Cell, runs: &RunArena) -> usize {
        let (cell, work) = cell.copy(runs, &mut self.runs);
        self.cells.push(cell);
        work
    }

    /// Calls `each` with the image of every key.
    pub(crate) fn for_each(&self, image: &mut KeyImage, mut each: impl FnMut(&KeyImage)) {
        let mut cells = self.cells.iter();
        for (entry, key) in &self.keys {
            export(entry, &self.text[key.clone()], cells.by_ref().take(entry.rates.into()), &self.runs, image);
            each(image);
        }
    }

    /// Forgets all keys.
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.text.clear();
        self.cells.clear();
        self.runs = RunArena::new();
    }
}

/// Everything known of a key, into a reused image.
pub(super) fn export<'a>(
    entry: &Entry,
    key: &str,
    cells: impl Iterator<Item = &'a Cell>,
    runs: &RunArena,
    into: &mut KeyImage,
) {
    into.id = entry.id;
    into.seq = entry.seq;
    into.key.clear();
    into.key.push_str(key);
    into.origin = entry.origin;
    into.used = entry.last_use();
    into.out_of_bounds = entry.out_of_bounds;
    into.totals = entry.totals;
    into.rates.clear();
    into.states.resize_with(usize::from(entry.rates), Vec::new);
    for (numbers, cell) in into.states.iter_mut().zip(cells) {
        into.rates.push(*cell.rate());
        numbers.clear();
        cell.export(runs, numbers);
    }
}
