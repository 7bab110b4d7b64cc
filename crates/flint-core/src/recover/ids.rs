//! From key id to slot while a log is replayed. Ids are given out in order, so low ones, which most stores never leave, are
//! found by position; the rest by hash.

use hashbrown::HashMap;

use crate::table::Slot;

/// Ids below this are found by position.
const DENSE: u64 = 1 << 24;
const ABSENT: Slot = Slot::MAX;

#[derive(Default)]
pub(super) struct IdMap {
    dense: Vec<Slot>,
    sparse: HashMap<u64, Slot>,
}

impl IdMap {
    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<Slot> {
        if id < DENSE {
            let slot = usize::try_from(id).ok().and_then(|id| self.dense.get(id)).copied();
            return slot.filter(|&slot| slot != ABSENT);
        }
        self.sparse.get(&id).copied()
    }

    pub(super) fn insert(&mut self, id: u64, slot: Slot) {
        match usize::try_from(id) {
            Ok(index) if id < DENSE => {
                if self.dense.len() <= index {
                    self.dense.resize(index + 1, ABSENT);
                }
                self.dense[index] = slot;
            }
            _ => drop(self.sparse.insert(id, slot)),
        }
    }

    pub(super) fn remove(&mut self, id: u64) {
        match usize::try_from(id) {
            Ok(index) if id < DENSE => {
                if let Some(slot) = self.dense.get_mut(index) {
                    *slot = ABSENT;
                }
            }
            _ => drop(self.sparse.remove(&id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_and_high_ids_come_and_go() {
        let mut ids = IdMap::default();
        for id in [1, 7, DENSE - 1, DENSE, u64::MAX] {
            assert_eq!(ids.get(id), None);
            ids.insert(id, 3);
            assert_eq!(ids.get(id), Some(3));
            ids.remove(id);
            assert_eq!(ids.get(id), None);
        }
    }
}
