//! The counters of a key. A limit that was set has one. Each limit that calls bring has one of its own, an entry like any other; those
//! of one key are linked, the most recently used first, and the index has that one.

use super::Table;
use super::entry::{NO_SLOT, Slot};
use crate::image::{LastUse, Origin, Totals};
use crate::limit::{Rate, same_rates};

/// Most counters of one key.
pub(crate) const MAX_COUNTERS: usize = 8;

impl Table {
    /// The counters of the key whose most recently used one is `head`, in the order of their last use, newest first.
    pub(crate) fn counters(&self, head: Slot) -> impl Iterator<Item = Slot> + Clone {
        std::iter::successors(Some(head), |&slot| self.next(slot))
    }

    fn next(&self, slot: Slot) -> Option<Slot> {
        let next = self.entry(slot).next;
        (next != NO_SLOT).then_some(next)
    }

    /// The most recently used counter of the same key.
    pub(crate) fn head(&self, slot: Slot) -> Slot {
        if !self.entry(slot).behind {
            return slot;
        }
        self.find(self.key(slot)).expect("a counter behind another belongs to an indexed key")
    }

    /// Whether the key of this counter has others.
    pub(crate) fn has_several(&self, slot: Slot) -> bool {
        let entry = self.entry(slot);
        entry.behind || entry.next != NO_SLOT
    }

    /// Whether it is the one of its key's counters that represents the key in a scan: the oldest one, which stays the same while
    /// the counters are used.
    pub(crate) fn represents_key(&self, slot: Slot) -> bool {
        !self.has_several(slot)
            || self.counters(self.head(slot)).all(|other| self.entry(other).id >= self.entry(slot).id)
    }

    /// The counter of a limit, of those that calls brought.
    pub(crate) fn counter_of(&self, head: Slot, rates: &[Rate]) -> Option<Slot> {
        self.counters(head).find(|&slot| {
            let entry = self.entry(slot);
            let found = (0..usize::from(entry.rates)).map(|rate| self.cell(slot, rate).rate());
            entry.origin == Origin::Call && usize::from(entry.rates) == rates.len() && same_rates(found, rates.iter())
        })
    }

    /// A counter's newest consumption.
    pub(crate) fn last_use(&self, slot: Slot) -> LastUse {
        self.entry(slot).last_use()
    }

    /// Whether nothing of a counter is in use, so that a new one would decide the same.
    pub(crate) fn is_refilled(&self, slot: Slot, now: u64) -> bool {
        (0..usize::from(self.entry(slot).rates)).all(|rate| self.cell(slot, rate).used_tokens(&self.runs, now) == 0)
    }

    /// The sums over the counters of a key, and the newest of their times.
    pub(crate) fn key_totals(&self, head: Slot) -> Totals {
        self.counters(head).map(|slot| self.entry(slot).totals).reduce(Totals::and).unwrap_or_default()
    }

    /// Puts a counter that was just used before the others of its key.
    #[cold]
    pub(super) fn promote(&mut self, slot: Slot) {
        let head = self.head(slot);
        self.take_from_behind(head, slot);
        self.put_before(slot, head);
    }

    /// Links a new counter, which is in no index, before the others of its key or as the only one.
    pub(super) fn link(&mut self, slot: Slot) {
        let head = self.find(self.key(slot));
        match head {
            Some(head) => self.put_before(slot, head),
            None => self.index_slot(slot),
        }
    }

    /// Makes what leads to a counter, the one before it or the index, lead to its new slot.
    pub(super) fn relink(&mut self, from: Slot, to: Slot) {
        if self.entry(to).behind {
            let before = self.counters(self.head(to)).find(|&other| self.entry(other).next == from);
            self.entries.get_mut(before.expect("a counter behind another is linked")).next = to;
        } else {
            let hash = self.index.hash(self.keys.bytes(self.entries.get(to).key));
            self.index.replace(hash, from, to);
        }
    }

    /// Takes a counter away from the others of its key, and from the index.
    pub(super) fn unlink(&mut self, slot: Slot) {
        if self.entry(slot).behind {
            let head = self.head(slot);
            self.take_from_behind(head, slot);
            return;
        }
        let hash = self.index.hash(self.keys.bytes(self.entries.get(slot).key));
        match self.next(slot) {
            Some(next) => {
                self.index.replace(hash, slot, next);
                self.entries.get_mut(next).behind = false;
            }
            None => {
                let Self { index, keys, entries, indexed, .. } = self;
                if index.remove(hash, slot, |other| keys.bytes(entries.get(other).key)) {
                    *indexed -= 1;
                }
            }
        }
    }

    fn take_from_behind(&mut self, head: Slot, slot: Slot) {
        let before = self.counters(head).find(|&other| self.entry(other).next == slot);
        let next = self.entry(slot).next;
        self.entries.get_mut(before.expect("a counter behind another is linked")).next = next;
        let entry = self.entries.get_mut(slot);
        (entry.next, entry.behind) = (NO_SLOT, false);
    }

    fn put_before(&mut self, slot: Slot, head: Slot) {
        let hash = self.index.hash(self.keys.bytes(self.entries.get(head).key));
        self.index.replace(hash, head, slot);
        self.entries.get_mut(head).behind = true;
        self.entries.get_mut(slot).next = head;
    }

    /// Indexes every key of a table that was filled without its index, and links the counters of each.
    ///
    /// # Errors
    /// The text of a key whose counters cannot all be of one key.
    pub(crate) fn build_index(&mut self) -> Result<(), String> {
        self.index.reserve(self.live);
        for slot in 0..self.entries.len() {
            if self.entries.get(slot).id == 0 {
                continue;
            }
            let Self { index, keys, entries, .. } = self;
            let key_of = |slot: Slot| keys.bytes(entries.get(slot).key);
            let hash = index.hash(key_of(slot));
            match index.find(hash, |&other| key_of(other) == key_of(slot)) {
                None => {
                    index.insert(hash, slot, key_of);
                    self.indexed += 1;
                }
                Some(head) => self.insert_by_use(slot, head)?,
            }
        }
        Ok(())
    }

    /// Links a counter where its last use belongs.
    fn insert_by_use(&mut self, slot: Slot, head: Slot) -> Result<(), String> {
        let entry = self.entry(slot);
        let rates: Vec<Rate> = self.rates(slot).copied().collect();
        let is_one_more = entry.origin == Origin::Call
            && self.entry(head).origin == Origin::Call
            && self.counters(head).count() < MAX_COUNTERS
            && self.counter_of(head, &rates).is_none();
        if !is_one_more {
            return Err(self.key(slot).to_owned());
        }
        let order = |slot: Slot| (self.last_use(slot), self.entry(slot).id);
        let newer = self.counters(head).take_while(|&other| order(other) > order(slot)).last();
        match newer {
            None => self.put_before(slot, head),
            Some(newer) => {
                let next = self.entry(newer).next;
                let entry = self.entries.get_mut(slot);
                (entry.next, entry.behind) = (next, true);
                self.entries.get_mut(newer).next = slot;
            }
        }
        Ok(())
    }
}
