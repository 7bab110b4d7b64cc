//! All keys with their counters, that is limits, states and totals, in memory. Knows no clock, lock or file: every change carries the time and
//! the sequence number of the record that describes it, and replaying that record makes the same change.
//!
//! Entries are fixed-size and found by slot, one for each counter; a slot is reused after `remove`, an id never is.

mod captured;
mod cell;
mod counters;
mod entry;
mod export;
mod extras;
mod forecast;
mod index;
mod keys;
pub(crate) mod plan;
mod replay;
mod settle;

pub(crate) use captured::Captured;
pub(crate) use counters::MAX_COUNTERS;
pub(crate) use entry::{BehindGap, Decision, Slot};
use entry::{Entry, NO_EXTRA};
use extras::Extras;
pub(crate) use plan::Change;

use crate::algorithm::{AfterImage, RunArena, Verdict};
use crate::image::{LastUse, Origin, RateChange, Source, Totals};
use crate::limit::{MAX_RATES, Rate, RateVerdict};
use crate::pool::Pool;
use crate::sync::Arc;
use cell::Cell;
use index::Index;
use keys::KeyArena;

/// One rate's verdict in an answer that was `allowed` or not as a whole; `decide` asks the rate.
fn of_rate(allowed: bool, cost: u64, decide: impl Fn(u64) -> Verdict) -> Verdict {
    let verdict = decide(cost);
    if verdict.allowed && !allowed { decide(0) } else { verdict }
}

/// The table of keys.
#[derive(Debug)]
pub(crate) struct Table {
    index: Index,
    keys: KeyArena,
    entries: Pool<Entry>,
    extras: Extras,
    runs: RunArena,
    /// The slot from which on sliding logs have to move away from their arena's end, while it gets shorter.
    moving: Option<Slot>,
    /// Whether the last entries are being moved to free slots.
    shortening: bool,
    /// Number of entries, and of keys in the index.
    live: u64,
    indexed: u64,
    next_id: u64,
    /// The id of the counter that was removed last: only a deliberate defect looks at it.
    #[cfg(feature = "test-hooks")]
    freed_id: u64,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            index: Index::new(),
            keys: KeyArena::default(),
            entries: Pool::new(),
            extras: Extras::default(),
            runs: RunArena::new(),
            moving: None,
            shortening: false,
            live: 0,
            indexed: 0,
            next_id: 1,
            #[cfg(feature = "test-hooks")]
            freed_id: 0,
        }
    }

    /// Number of keys.
    pub(crate) const fn len(&self) -> u64 {
        self.indexed
    }

    /// Number of counters of all keys.
    pub(crate) const fn counters_len(&self) -> u64 {
        self.live
    }

    /// Runs of sliding logs, and blocks of runs, that were visited so far.
    #[cfg(feature = "testing")]
    pub(crate) fn visited_runs(&self) -> u64 {
        self.runs.visited()
    }

    /// Slots are below this number.
    pub(crate) const fn slots(&self) -> u32 {
        self.entries.len()
    }

    /// The id that the next new counter gets.
    pub(crate) fn next_id(&self) -> u64 {
        #[cfg(feature = "test-hooks")]
        if self.freed_id != 0 && crate::hooks::has(crate::hooks::Defect::ReuseKeyIds) {
            return self.freed_id;
        }
        self.next_id
    }

    /// Ids below `next_id` are never given out again.
    pub(crate) fn reserve_ids(&mut self, next_id: u64) {
        self.next_id = self.next_id.max(next_id);
    }

    /// The most recently used counter of a key.
    #[inline]
    pub(crate) fn find(&self, key: &str) -> Option<Slot> {
        let bytes = key.as_bytes();
        self.index.find(self.index.hash(bytes), |&slot| self.keys.bytes(self.entries.get(slot).key) == bytes)
    }

    /// The entry in a slot, unless the slot is free.
    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        let entry = self.entries.get(slot);
        (entry.id != 0).then_some(entry)
    }

    /// The entry in a slot that is known to be taken.
    #[inline]
    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        self.entries.get(slot)
    }

    pub(crate) fn key(&self, slot: Slot) -> &str {
        self.keys.text(self.entries.get(slot).key)
    }

    fn cell(&self, slot: Slot, rate: usize) -> &Cell {
        let entry = self.entries.get(slot);
        if rate == 0 { &entry.first } else { &self.extras.cells(entry.extra)[rate - 1] }
    }

    fn with_cell<R>(&mut self, slot: Slot, rate: usize, f: impl FnOnce(&mut Cell, &mut RunArena) -> R) -> R {
        let entry = self.entries.get_mut(slot);
        let cell = if rate == 0 { &mut entry.first } else { &mut self.extras.cells_mut(entry.extra)[rate - 1] };
        f(cell, &mut self.runs)
    }

    pub(crate) fn rates(&self, slot: Slot) -> impl Iterator<Item = &Rate> {
        (0..usize::from(self.entry(slot).rates)).map(move |rate| self.cell(slot, rate).rate())
    }

    /// The first rate, which most keys have alone.
    #[inline]
    pub(crate) fn first_rate(&self, slot: Slot) -> &Rate {
        self.entry(slot).first.rate()
    }

    /// Whether the key's rates are exactly these.
    pub(crate) fn has_rates(&self, slot: Slot, rates: &[Rate]) -> bool {
        usize::from(self.entry(slot).rates) == rates.len() && self.rates(slot).eq(rates)
    }

    /// The smallest capacity over the rates.
    #[inline]
    pub(crate) fn capacity(&self, slot: Slot) -> u64 {
        let entry = self.entry(slot);
        let first = entry.first.rate().capacity();
        (1..usize::from(entry.rates)).fold(first, |least, rate| least.min(self.cell(slot, rate).rate().capacity()))
    }

    /// Decides about taking `cost`; 0 only looks. Changes nothing.
    #[inline]
    pub(crate) fn decide(&self, slot: Slot, now: u64, cost: u64) -> Decision {
        let entry = self.entries.get(slot);
        let first = Decision::new(entry.first.rate(), entry.first.decide(&self.runs, now, cost));
        (1..usize::from(entry.rates)).fold(first, |binding, rate| {
            let cell = self.cell(slot, rate);
            binding.and(rate, cell.rate(), cell.decide(&self.runs, now, cost))
        })
    }

    /// The verdict of each rate on `cost`, on which all of them together decided `allowed`. When that was no, nothing is taken from
    /// any: a rate that would have allowed it is shown as it is.
    pub(crate) fn verdicts(&self, slot: Slot, now: u64, cost: u64, allowed: bool) -> Arc<[RateVerdict]> {
        (0..usize::from(self.entry(slot).rates))
            .map(|rate| {
                let cell = self.cell(slot, rate);
                RateVerdict {
                    rate: *cell.rate(),
                    verdict: of_rate(allowed, cost, |cost| cell.decide(&self.runs, now, cost)),
                }
            })
            .collect()
    }

    /// Takes `cost` from every rate, as the record says that `used` names; `decide` allowed it at the same `now`.
    #[inline]
    pub(crate) fn consume(&mut self, slot: Slot, now: u64, cost: u64, used: LastUse) {
        let entry = self.entries.get_mut(slot);
        entry.count_allowed(now, cost, used);
        entry.first.consume(&mut self.runs, now, cost);
        let behind = entry.behind;
        for rate in 1..usize::from(entry.rates) {
            self.with_cell(slot, rate, |cell, runs| cell.consume(runs, now, cost));
        }
        if behind {
            self.promote(slot);
        }
    }

    /// What the after-image of one rate will be once `cost` is consumed: for the record, which is written first.
    #[inline]
    pub(crate) fn image_after(&self, slot: Slot, rate: usize, now: u64, cost: u64) -> AfterImage {
        self.cell(slot, rate).image_after(&self.runs, now, cost)
    }

    /// Counts a denial. Returns the totals (denials, cost) before it if this is the first since `mark_denials_saved`.
    pub(crate) fn count_denied(&mut self, slot: Slot, now: u64, cost: u64) -> Option<(u64, u64)> {
        self.entries.get_mut(slot).count_denied(now, cost)
    }

    /// The log does not hold all denials of a slot yet.
    pub(crate) fn mark_denials_unsaved(&mut self, slot: Slot) {
        self.entries.get_mut(slot).denials_unsaved = true;
    }

    /// The denial totals of a slot are now in the log, in record `seq`.
    pub(crate) fn mark_denials_saved(&mut self, slot: Slot, seq: u64) {
        let entry = self.entries.get_mut(slot);
        entry.denials_unsaved = false;
        entry.seq = seq;
    }

    /// The totals of a counter and of others that are about to be removed, together.
    pub(crate) fn merged_totals(&self, slot: Slot, removed: &[Slot]) -> Totals {
        let of = |slot: &Slot| self.entries.get(*slot).totals;
        removed.iter().map(of).fold(of(&slot), Totals::and)
    }

    /// Sets or changes a counter's limit, as record `seq` says. `slot` is the counter's; without it the key gets a new one.
    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    pub(crate) fn configure(
        &mut self,
        slot: Option<Slot>,
        id: u64,
        key: &str,
        origin: Origin,
        plan: &[RateChange],
        now: u64,
        seq: u64,
    ) -> Slot {
        debug_assert!((1..=MAX_RATES).contains(&plan.len()));
        let mut cells: Vec<Cell> = Vec::with_capacity(plan.len());
        let mut kept = 0_u8;
        for change in plan {
            cells.push(match change.source {
                Source::New { carried } => Cell::carried(change.rate, carried, now, &mut self.runs),
                Source::Kept(rate) => {
                    kept |= 1 << rate;
                    *self.cell(slot.expect("only an existing key keeps states"), usize::from(rate))
                }
            });
        }
        if let Some(slot) = slot {
            for rate in 0..usize::from(self.entry(slot).rates) {
                if kept & (1 << rate) == 0 {
                    self.with_cell(slot, rate, Cell::free);
                }
            }
            self.set_cells(slot, &cells);
            let entry = self.entries.get_mut(slot);
            (entry.origin, entry.out_of_bounds, entry.seq) = (origin, false, seq);
            return slot;
        }
        let entry = Entry::new(id, seq, self.keys.insert(key), origin, cells[0]);
        let slot = self.add(entry);
        self.set_cells(slot, &cells);
        self.link(slot);
        slot
    }

    /// Makes the full limit of each of a counter's rates available again.
    pub(crate) fn reset(&mut self, slot: Slot, now: u64, seq: u64) {
        for rate in 0..usize::from(self.entry(slot).rates) {
            self.with_cell(slot, rate, |cell, runs| {
                cell.free(runs);
                *cell = Cell::carried(*cell.rate(), 0, now, runs);
            });
        }
        let entry = self.entries.get_mut(slot);
        entry.totals.last_reset_ns = now;
        entry.seq = seq;
    }

    /// Removes a counter, and the key with its last one.
    pub(crate) fn remove(&mut self, slot: Slot) {
        self.unlink(slot);
        let entry = *self.entries.get(slot);
        for rate in 0..usize::from(entry.rates) {
            self.with_cell(slot, rate, Cell::free);
        }
        if let Some(owner) = self.keys.remove(entry.key) {
            self.entries.get_mut(owner).key = entry.key;
        }
        self.remove_extra(entry.extra);
        #[cfg(feature = "test-hooks")]
        {
            self.freed_id = entry.id;
        }
        self.entries.get_mut(slot).id = 0;
        self.entries.remove(slot);
        self.live -= 1;
    }

    fn add(&mut self, entry: Entry) -> Slot {
        self.live += 1;
        self.next_id = self.next_id.max(entry.id.saturating_add(1));
        let slot = self.entries.insert(entry);
        self.keys.set_owner(entry.key, slot);
        slot
    }

    fn remove_extra(&mut self, extra: u32) {
        if extra != NO_EXTRA
            && let Some(owner) = self.extras.remove(extra)
        {
            self.entries.get_mut(owner).extra = extra;
        }
    }

    fn set_cells(&mut self, slot: Slot, cells: &[Cell]) {
        let mut extra = self.entry(slot).extra;
        if cells.len() == 1 {
            self.remove_extra(extra);
            extra = NO_EXTRA;
        } else {
            if extra == NO_EXTRA {
                extra = self.extras.insert(cells[0], slot);
            }
            self.extras.cells_mut(extra)[..cells.len() - 1].copy_from_slice(&cells[1..]);
        }
        let entry = self.entries.get_mut(slot);
        entry.first = cells[0];
        entry.extra = extra;
        entry.rates = u8::try_from(cells.len()).expect("a limit has at most eight rates");
    }

    fn index_slot(&mut self, slot: Slot) {
        let Self { index, keys, entries, .. } = self;
        let hash = index.hash(keys.bytes(entries.get(slot).key));
        index.insert(hash, slot, |other| keys.bytes(entries.get(other).key));
        self.indexed += 1;
    }
}
