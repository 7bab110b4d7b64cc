//! From key id to slot while a log is replayed. Ids are given out in order, so most are found by position; those that lie far
//! beyond all others, which takes a store with many deleted keys (or a forged one), by hash.

use hashbrown::HashMap;

use crate::table::Slot;

/// Ids below this may be found by position.
const DENSE: usize = 1 << 24;
/// How far beyond twice the positions that are there an id may lie to get one: what is allocated follows from how many ids
/// there are, not from what one record says.
const MAX_GAP: usize = 1 << 12;
const ABSENT: Slot = Slot::MAX;

#[derive(Default)]
pub(super) struct IdMap {
    dense: Vec<Slot>,
    /// Ids that had no position when they came.
    sparse: HashMap<u64, Slot>,
}

impl IdMap {
    fn position(&self, id: u64) -> Option<usize> {
        usize::try_from(id).ok().filter(|&id| id < self.dense.len())
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<Slot> {
        match self.position(id).map(|position| self.dense[position]) {
            Some(slot) if slot != ABSENT => Some(slot),
            _ if self.sparse.is_empty() => None,
            _ => self.sparse.get(&id).copied(),
        }
    }

    pub(super) fn insert(&mut self, id: u64, slot: Slot) {
        self.remove(id);
        match usize::try_from(id) {
            Ok(position) if position < DENSE && position < 2 * self.dense.len() + MAX_GAP => {
                if self.dense.len() <= position {
                    self.dense.resize(position + 1, ABSENT);
                }
                self.dense[position] = slot;
            }
            _ => drop(self.sparse.insert(id, slot)),
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(position) = self.position(id) {
            self.dense[position] = ABSENT;
        }
        if !self.sparse.is_empty() {
            self.sparse.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_and_high_ids_come_and_go() {
        let mut ids = IdMap::default();
        for id in [1, 7, DENSE as u64 - 1, DENSE as u64, u64::MAX] {
            assert_eq!(ids.get(id), None);
            ids.insert(id, 3);
            assert_eq!(ids.get(id), Some(3));
            ids.remove(id);
            assert_eq!(ids.get(id), None);
        }
    }

    #[test]
    fn an_id_that_got_a_position_later_is_still_one_id() {
        let mut ids = IdMap::default();
        ids.insert(100_000, 1);
        for id in 0..60_000 {
            ids.insert(id, 2);
        }
        assert_eq!(ids.get(100_000), Some(1), "by hash");
        ids.insert(110_000, 3);
        assert_eq!((ids.get(100_000), ids.get(110_000)), (Some(1), Some(3)), "positions reach beyond it");
        ids.insert(100_000, 4);
        assert_eq!(ids.get(100_000), Some(4));
        ids.remove(100_000);
        assert_eq!(ids.get(100_000), None);
    }

    #[test]
    fn one_high_id_does_not_take_the_memory_of_all_below() {
        let mut ids = IdMap::default();
        ids.insert(DENSE as u64 - 1, 3);
        assert_eq!(ids.get(DENSE as u64 - 1), Some(3));
        assert!(ids.dense.capacity() < 2 * MAX_GAP, "{}", ids.dense.capacity());
    }
}
