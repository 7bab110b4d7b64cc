//! Changes of limits under the lock: set, reset, deleted. What concerns several counters is one record, a group.

use crate::image::Origin;
use crate::item::OnChange;
use crate::limit::Limit;
use crate::log::frame::{Kind, MIN_RECORD_LEN};
use crate::log::record::{
    ConfigureOp, GroupWriter, Purpose, TOTALS_LEN, push_configure, push_delete, push_reset, push_totals,
};
use crate::table::{Change, Slot, Table};
use crate::writer::Blocked;

use super::core::{Core, Dirty, configure_len, take_id};
use super::view::View;

/// Bytes of an operation in a group before its body.
const OP_LEN: usize = 8;
/// Bytes of a reset or a deletion.
const ID_LEN: usize = 8;

/// Bytes of a group before its operations.
const GROUP_LEN: usize = MIN_RECORD_LEN + 8;

/// A key, its new limit, and what happens to consumption.
pub(crate) type Spec<'a> = (&'a str, &'a Limit, OnChange);

impl Core {
    /// Sets limits, all in one record. Unchanged ones are left out; when nothing is left, nothing is written. Gives the
    /// sequence number after which all of them are durable.
    pub(crate) fn configure(&mut self, specs: &[Spec<'_>], many: bool) -> Result<u64, Blocked> {
        let now = self.view.time.now();
        let mut changes = Vec::new();
        let mut unchanged_seq = 0;
        let mut len = GROUP_LEN;
        for &(key, limit, on_change) in specs {
            let head = self.view.table.find(key);
            if let Some(slot) = head.filter(|&slot| has_limit(&self.view.table, slot, limit)) {
                unchanged_seq = unchanged_seq.max(self.view.table.entry(slot).seq);
                continue;
            }
            let change = self.view.table.change(head, key, limit.rates(), on_change == OnChange::Reset, now);
            len += change_len(key, change.plan.len(), change.replaced.len());
            changes.push(change);
        }
        let [first, ..] = &changes[..] else { return Ok(unchanged_seq) };
        let alone = !many && first.replaced.is_empty();
        self.reserve(len)?;
        let Self { view, writer, .. } = self;
        let table = &view.table;
        let mut next_id = table.next_id();
        let ids: Vec<u64> = changes
            .iter()
            .map(|change| change.slot.map_or_else(|| take_id(&mut next_id), |slot| table.entry(slot).id))
            .collect();
        let seq = if alone {
            writer.push(Kind::Configure, now, |buf| push_limit(buf, first, ids[0]))?
        } else {
            writer.push(Kind::Group, now, |buf| {
                let mut group = GroupWriter::begin(buf, if many { Purpose::LimitMany } else { Purpose::Limit });
                for (change, &id) in changes.iter().zip(&ids) {
                    group.op(buf, Kind::Configure, |buf| push_limit(buf, change, id));
                    push_replaced(table, change, &mut group, buf);
                }
                group.finish(buf);
            })?
        };
        for (change, id) in changes.iter().zip(ids) {
            if let Some(slot) = change.slot.filter(|_| !change.replaced.is_empty()) {
                self.keep_denials(slot, &change.replaced);
            }
            set_limit(&mut self.view, change, id, now, seq);
            self.queues.touch(change.key);
        }
        self.unsynced_events += 1;
        Ok(seq)
    }

    /// Bytes of the record that sets these limits now; 0 if all of them are set already.
    pub(super) fn configure_bytes(&self, specs: &[Spec<'_>]) -> usize {
        let table = &self.view.table;
        let mut len = 0;
        for &(key, limit, _) in specs {
            let head = table.find(key);
            if head.is_some_and(|slot| has_limit(table, slot, limit)) {
                continue;
            }
            let counters = head.map_or(1, |head| table.counters(head).count());
            len += change_len(key, limit.rates().len(), counters - 1);
        }
        if len == 0 { 0 } else { GROUP_LEN + len }
    }

    /// The denials of counters that are about to be removed, and that the log does not hold yet, become those of another.
    fn keep_denials(&mut self, slot: Slot, removed: &[Slot]) {
        let table = &self.view.table;
        let mut kept = Dirty { slot, id: table.entry(slot).id, denied: 0, denied_cost: 0 };
        let mut is_dirty = false;
        for &slot in std::iter::once(&slot).chain(removed) {
            let entry = table.entry(slot);
            let dirty = self.dirty.iter().find(|dirty| (dirty.slot, dirty.id) == (slot, entry.id));
            is_dirty |= dirty.is_some();
            let saved = dirty.map_or((entry.totals.denied, entry.totals.denied_cost), |d| (d.denied, d.denied_cost));
            kept.denied = kept.denied.saturating_add(saved.0);
            kept.denied_cost = kept.denied_cost.saturating_add(saved.1);
        }
        if is_dirty {
            self.dirty.retain(|dirty| dirty.slot != slot && !removed.contains(&dirty.slot));
            self.dirty.push(kept);
            self.view.table.mark_denials_unsaved(slot);
        }
    }

    /// Gives a key's counters their full limits back.
    pub(crate) fn reset(&mut self, key: &str) -> Result<u64, Blocked> {
        let seq = self.change_all(key, (Kind::Reset, Purpose::Reset), push_reset, |table, slot, now, seq| {
            table.reset(slot, now, seq);
        })?;
        self.queues.touch(key);
        Ok(seq)
    }

    /// Forgets a key.
    pub(crate) fn delete(&mut self, key: &str) -> Result<u64, Blocked> {
        let deletion = (Kind::Delete, Purpose::Delete);
        let seq = self.change_all(key, deletion, push_delete, |table, slot, _, _| table.remove(slot))?;
        self.queues.delete(key);
        Ok(seq)
    }

    /// Changes all counters of a key, in one record: a group if there are several.
    fn change_all(
        &mut self,
        key: &str,
        (kind, purpose): (Kind, Purpose),
        push: fn(&mut Vec<u8>, u64),
        change: fn(&mut Table, Slot, u64, u64),
    ) -> Result<u64, Blocked> {
        let now = self.view.time.now();
        let table = &self.view.table;
        let counters: Vec<(Slot, u64)> =
            table.counters(self.view.known(key)?).map(|slot| (slot, table.entry(slot).id)).collect();
        let seq = if let [(_, id)] = counters[..] {
            self.reserve(MIN_RECORD_LEN + ID_LEN)?;
            self.writer.push(kind, now, |buf| push(buf, id))?
        } else {
            self.reserve(GROUP_LEN + counters.len() * (OP_LEN + ID_LEN))?;
            self.writer.push(Kind::Group, now, |buf| {
                let mut group = GroupWriter::begin(buf, purpose);
                for &(_, id) in &counters {
                    group.op(buf, kind, |buf| push(buf, id));
                }
                group.finish(buf);
            })?
        };
        for (slot, _) in counters {
            change(&mut self.view.table, slot, now, seq);
        }
        self.unsynced_events += 1;
        Ok(seq)
    }
}

/// Whether a key has exactly this limit, set explicitly.
fn has_limit(table: &Table, slot: Slot, limit: &Limit) -> bool {
    let entry = table.entry(slot);
    entry.origin == Origin::Explicit && table.has_rates(slot, limit.rates()) && !entry.out_of_bounds
}

/// Bytes of the operations that set a limit and remove so many other counters of the key.
fn change_len(key: &str, rates: usize, replaced: usize) -> usize {
    let others = if replaced == 0 { 0 } else { OP_LEN + TOTALS_LEN + replaced * (OP_LEN + ID_LEN) };
    OP_LEN + configure_len(key, rates) + others
}

/// Appends the body of the operation that sets the limit of a key.
fn push_limit(buf: &mut Vec<u8>, change: &Change<'_>, id: u64) {
    push_configure(buf, &ConfigureOp { id, key: change.key, origin: Origin::Explicit, rates: &change.plan });
}

/// Appends the operations that remove the counters which a limit replaces, and add their totals to those of the one that has it.
fn push_replaced(table: &Table, change: &Change<'_>, group: &mut GroupWriter, buf: &mut Vec<u8>) {
    let Some(slot) = change.slot.filter(|_| !change.replaced.is_empty()) else { return };
    let (id, totals) = (table.entry(slot).id, table.merged_totals(slot, &change.replaced));
    group.op(buf, Kind::Totals, |buf| push_totals(buf, id, &totals));
    for &replaced in &change.replaced {
        let id = table.entry(replaced).id;
        group.op(buf, Kind::Delete, |buf| push_delete(buf, id));
    }
}

/// Sets the limit of a key, and removes the counters that it replaces.
fn set_limit(view: &mut View, change: &Change<'_>, id: u64, now: u64, seq: u64) {
    let View { table, listings, .. } = view;
    let Change { slot, key, plan, replaced, .. } = change;
    let configured = table.configure(*slot, id, key, Origin::Explicit, plan, now, seq);
    let Some(slot) = slot else {
        listings.created().push(configured, id);
        return;
    };
    if !replaced.is_empty() {
        table.replay_totals(*slot, table.merged_totals(*slot, replaced), seq);
        for &replaced in replaced {
            table.remove(replaced);
        }
    }
}
