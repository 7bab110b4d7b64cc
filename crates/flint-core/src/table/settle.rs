//! Giving back the memory of what was removed, a slice at a time: the last entries move to free slots, and sliding logs away from the end
//! of their arena. Keys and extra cells have no gaps, and the index shrinks with every key.

use super::Table;
use super::entry::{NO_EXTRA, Slot};
use crate::pool::Moved;

/// Slots visited, entries moved or free places dropped per slice: some tens of microseconds under the lock.
const SLICE: u32 = 128;

impl Table {
    /// Whether much of the memory is free.
    #[inline]
    pub(crate) fn is_sparse(&self) -> bool {
        self.shortening || self.moving.is_some() || self.entries.is_sparse() || self.runs.is_sparse()
    }

    /// Does a slice of what makes the table smaller, and adds to `moved`, in order, every entry that is in another slot now. Returns
    /// whether there is more to do. A scan that goes on would miss what moves.
    pub(crate) fn settle(&mut self, moved: &mut Vec<Moved>) -> bool {
        if let Some(from) = self.moving {
            return self.move_runs(from);
        }
        if self.entries.is_sparse() || self.shortening {
            self.shortening = true;
            for _ in 0..SLICE {
                if self.entries.drop_last() {
                    continue;
                }
                let Some(moves) = self.entries.move_last() else {
                    self.shortening = false;
                    break;
                };
                self.follow(moves);
                moved.push(moves);
            }
            return true;
        }
        if self.runs.is_sparse() {
            self.moving = Some(0);
            return true;
        }
        false
    }

    /// Makes everything that names the slot of an entry name its new one.
    fn follow(&mut self, moved: Moved) {
        let entry = *self.entries.get(moved.to);
        self.keys.set_owner(entry.key, moved.to);
        if entry.extra != NO_EXTRA {
            self.extras.set_owner(entry.extra, moved.to);
        }
        self.relink(moved.from, moved.to);
    }

    fn move_runs(&mut self, from: Slot) -> bool {
        let slots = self.entries.len();
        let until = slots.min(from.saturating_add(SLICE));
        for slot in from..until {
            let rates = if self.entries.get(slot).id == 0 { 0 } else { self.entries.get(slot).rates };
            for rate in 0..usize::from(rates) {
                self.with_cell(slot, rate, |cell, runs| cell.move_down(runs));
            }
        }
        if until < slots {
            self.moving = Some(until);
            return true;
        }
        let more = self.runs.drop_end(SLICE);
        self.moving = more.then_some(slots);
        more
    }

    /// Bytes of all keys with their states.
    #[cfg(feature = "testing")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.keys.held_bytes() + self.entries.bytes() + self.extras.bytes() + self.runs.bytes() + self.index.bytes()
    }
}
