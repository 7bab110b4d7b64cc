//! What recovery does to the table. Slots come from the recovery's own id map; the index of keys is built at the end, by `counters`,
//! because a snapshot taken while checks go on may hold one key under an old and a new id until the log is replayed.

use super::Table;
use super::cell::Cell;
use super::entry::{BehindGap, Entry, Slot};
use crate::algorithm::AFTER_IMAGE_LEN;
use crate::image::{KeyImage, LastUse, Origin, RateChange, Source, Totals};

impl Table {
    /// Adds a key from a snapshot, without indexing it.
    pub(crate) fn import(&mut self, image: &KeyImage) -> Result<Slot, &'static str> {
        if image.id == 0 || image.rates.is_empty() || image.rates.len() != image.states.len() {
            return Err("a key has no id or its rates and states do not match");
        }
        let mut cells = Vec::with_capacity(1);
        for (rate, state) in image.rates.iter().zip(&image.states) {
            cells.push(Cell::import(*rate, state, &mut self.runs)?);
        }
        let mut entry = Entry::new(image.id, image.seq, self.keys.insert(&image.key), image.origin, cells[0]);
        entry.out_of_bounds = image.out_of_bounds;
        (entry.used_seq, entry.used_nth) = (image.used.seq, image.used.nth);
        entry.totals = image.totals;
        let slot = self.add(entry);
        self.set_cells(slot, &cells);
        Ok(slot)
    }

    /// Replays a configure record for a key, new (without indexing it) or existing.
    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    pub(crate) fn replay_configure(
        &mut self,
        slot: Option<Slot>,
        id: u64,
        key: &str,
        origin: Origin,
        plan: &[RateChange],
        now: u64,
        seq: u64,
    ) -> Result<Slot, &'static str> {
        let old = slot.map_or(0, |slot| self.entry(slot).rates);
        let mut taken = 0_u8;
        for change in plan {
            if let Source::Kept(rate) = change.source {
                if rate >= old || taken & (1 << rate) != 0 {
                    return Err("a rate keeps the state of a rate that the key does not have");
                }
                taken |= 1 << rate;
            }
        }
        if let Some(slot) = slot {
            if self.key(slot) != key {
                return Err("a key changes its text");
            }
            return Ok(self.configure(Some(slot), id, key, origin, plan, now, seq));
        }
        let cells: Vec<Cell> = plan
            .iter()
            .map(|change| match change.source {
                Source::New { carried } => Cell::carried(change.rate, carried, now, &mut self.runs),
                Source::Kept(_) => unreachable!("refused above"),
            })
            .collect();
        let entry = Entry::new(id, seq, self.keys.insert(key), origin, cells[0]);
        let slot = self.add(entry);
        self.set_cells(slot, &cells);
        Ok(slot)
    }

    /// Replays an allowed check: sets what the record says, decides nothing.
    pub(crate) fn replay_allow(
        &mut self,
        slot: Slot,
        now: u64,
        cost: u64,
        images: &[u8],
        used: LastUse,
    ) -> Result<(), &'static str> {
        let entry = self.entries.get_mut(slot);
        let (images, rest) = images.as_chunks::<AFTER_IMAGE_LEN>();
        if images.len() != usize::from(entry.rates) || !rest.is_empty() {
            return Err("the number of states differs from the number of rates");
        }
        entry.count_allowed(now, cost, used);
        entry.first.replay(&mut self.runs, images[0], now, cost)?;
        for (rate, image) in images.iter().enumerate().skip(1) {
            self.with_cell(slot, rate, |cell, runs| cell.replay(runs, *image, now, cost))?;
        }
        Ok(())
    }

    /// Replays an allowed check where records before it may be missing.
    pub(crate) fn replay_allow_behind_gap(
        &mut self,
        slot: Slot,
        now: u64,
        cost: u64,
        images: &[u8],
        used: LastUse,
    ) -> BehindGap {
        let entry = self.entries.get_mut(slot);
        entry.count_allowed(now, cost, used);
        let rates = usize::from(entry.rates);
        let (images, _) = images.as_chunks::<AFTER_IMAGE_LEN>();
        if images.len() != rates {
            // The limit was changed by a record that is missing, so that nothing is known of what it counts.
            for rate in 0..rates {
                self.with_cell(slot, rate, |cell, runs| {
                    cell.free(runs);
                    *cell = Cell::carried(*cell.rate(), cell.rate().capacity(), now, runs);
                });
            }
            return BehindGap::UsedUp;
        }
        let mut exact = true;
        for (rate, image) in images.iter().enumerate() {
            exact &= self.with_cell(slot, rate, |cell, runs| cell.replay_behind_gap(runs, *image, now, cost));
        }
        if exact { BehindGap::Exact } else { BehindGap::Inexact }
    }

    /// Makes a key's states and times ones that it could have reached by `now`, with no more quota than before.
    pub(crate) fn bound(&mut self, slot: Slot, now: u64) {
        for rate in 0..usize::from(self.entry(slot).rates) {
            self.with_cell(slot, rate, |cell, runs| cell.bound(runs, now));
        }
        let totals = &mut self.entries.get_mut(slot).totals;
        for at_ns in [&mut totals.last_allowed_ns, &mut totals.last_denied_ns, &mut totals.last_reset_ns] {
            *at_ns = (*at_ns).min(now);
        }
    }

    /// Replays denial totals, which are absolute.
    pub(crate) fn replay_denials(&mut self, slot: Slot, denied: u64, denied_cost: u64, last_denied_ns: u64, seq: u64) {
        let entry = self.entries.get_mut(slot);
        entry.totals.denied = denied;
        entry.totals.denied_cost = denied_cost;
        entry.totals.last_denied_ns = last_denied_ns;
        entry.seq = seq;
    }

    /// Replays the totals that a counter has after those of others were added to them.
    pub(crate) fn replay_totals(&mut self, slot: Slot, totals: Totals, seq: u64) {
        let entry = self.entries.get_mut(slot);
        (entry.totals, entry.seq) = (totals, seq);
    }

    /// Removes a counter that is not indexed yet.
    pub(crate) fn replay_delete(&mut self, slot: Slot) {
        self.remove(slot);
    }
}
