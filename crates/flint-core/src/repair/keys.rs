//! The counters of keys while the records that are left are applied to them, and what can be said about each.
//!
//! Recovery applies the records. Behind a gap a state that a record has whole counts as exact again, one that it only adds to
//! does not, and what is not known is taken for used up: no key comes back with quota that it did not have.

use std::collections::BTreeMap;
use std::convert::Infallible;

use hashbrown::HashMap;

use crate::image::{KeyImage, LastUse, Origin, RateChange, Source};
use crate::limit::{self, Rate, same_rates};
use crate::log::record::{AllowOp, ConfigureRef};
use crate::recovery::replay::{Place, Replayed, Target};
use crate::table::{BehindGap, MAX_COUNTERS, Slot};

use super::losses::Gap;
use super::report::{KeyDoubt, UnknownId};
use super::sources::Snapshot;

/// A counter, and how much of it is exact.
#[derive(Clone, Copy)]
struct Key {
    slot: Slot,
    /// The limit, the states, the totals are exact as of these records: a gap behind one puts that in doubt.
    limit_at: u64,
    states_at: u64,
    totals_at: u64,
    used_up: bool,
    unverified: bool,
}

impl Key {
    fn is_exact(&self, last_missing: u64) -> bool {
        !self.used_up && !self.unverified && last_missing <= self.limit_at.min(self.states_at).min(self.totals_at)
    }
}

/// All keys.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) replayed: Replayed,
    keys: BTreeMap<u64, Key>,
    /// The ids of each text, in order.
    pub(super) texts: HashMap<String, Vec<u64>>,
    /// Ids below this may have been introduced by a missing record.
    new_below: u64,
    /// The newest record that is missing, 0 for none.
    last_missing: u64,
    /// Operations on ids that no record introduced.
    unknown: BTreeMap<u64, u64>,
    pub(super) notes: Vec<String>,
}

impl Keys {
    /// The keys of an intact snapshot, or none.
    pub(super) fn new(base: Option<&Snapshot>) -> Self {
        let mut keys = Self::default();
        let Some(base) = base else { return keys };
        base.left.images.iter().for_each(|image| _ = keys.import(image, base.start, false));
        if let (Some(header), Some(trailer)) = (&base.left.header, &base.left.trailer) {
            keys.replayed.table.reserve_ids(trailer.next_id);
            keys.replayed.anchored(header.engine_ns, header.wall_ns);
        }
        base.left.idempotency.for_each(0, &mut |record| keys.replayed.idempotency.remember(record));
        keys
    }

    /// Takes over the lines of a damaged snapshot, where records before it are missing.
    pub(super) fn import_lines(&mut self, Snapshot { name, start, left, .. }: &Snapshot) {
        if self.last_missing > 0 {
            let next_id = self.replayed.table.next_id();
            let taken = left.images.iter().filter(|image| self.import(image, *start, true)).count();
            // A gap that reaches beyond the snapshot may have introduced keys with ids above those of the lines.
            self.new_below = self.new_below.saturating_add(self.replayed.table.next_id() - next_id);
            self.notes
                .push(format!("{name}: records before it are missing: {taken} key(s) are from lines nothing verifies"));
        }
    }

    /// Takes over a line of a snapshot that starts at `start`. What nothing verifies replaces nothing that is verified.
    fn import(&mut self, image: &KeyImage, start: u64, unverified: bool) -> bool {
        let known = self.keys.get(&image.id).copied();
        let table = &self.replayed.table;
        let exact = known.is_some_and(|key| key.is_exact(self.last_missing) || table.key(key.slot) != image.key);
        let (rates, origin) = (&image.rates[..], image.origin);
        let taken = self.others(&image.key, image.id).any(|other| !self.fits(other, origin, rates));
        if unverified && (exact || taken) || !self.claim(&image.key, image.id, origin, rates) {
            return false;
        }
        if let Some(key) = known {
            self.replayed.table.remove(key.slot);
        }
        let Ok(slot) = self.replayed.table.import(image) else { return false };
        self.unknown.remove(&image.id);
        let at = start.max(image.seq);
        let key = Key { slot, limit_at: at, states_at: at, totals_at: at, used_up: false, unverified };
        self.keys.insert(image.id, key);
        true
    }

    /// Notes that these records are missing.
    pub(super) fn skip(&mut self, gap: &Gap) {
        self.last_missing = self.last_missing.max(gap.last);
        self.new_below = self.new_below.max(self.replayed.table.next_id().saturating_add(gap.new_keys));
    }

    /// The other ids of a text.
    fn others(&self, text: &str, id: u64) -> impl Iterator<Item = u64> {
        self.texts.get(text).into_iter().flatten().copied().filter(move |&other| other != id)
    }

    /// Whether a counter can be one of the same key as another with this limit: calls brought both, and they differ.
    fn fits(&self, id: u64, origin: Origin, rates: &[Rate]) -> bool {
        let Some(key) = self.keys.get(&id) else { return true };
        let table = &self.replayed.table;
        let found: Vec<Rate> = table.rates(key.slot).copied().collect();
        (origin, table.entry(key.slot).origin) == (Origin::Call, Origin::Call)
            && !same_rates(found.iter(), rates.iter())
    }

    /// Assigns a text to an id. A counter that cannot be of the same key was deleted by a record that is missing.
    fn claim(&mut self, text: &str, id: u64, origin: Origin, rates: &[Rate]) -> bool {
        let mut deleted: Vec<u64> = self.others(text, id).filter(|&other| !self.fits(other, origin, rates)).collect();
        if deleted.iter().any(|&other| other > id) {
            return false;
        }
        if deleted.is_empty() && self.others(text, id).count() >= MAX_COUNTERS {
            let use_of = |id: &u64| self.keys.get(id).map(|key| self.replayed.table.last_use(key.slot));
            deleted.extend(self.others(text, id).min_by_key(use_of));
        }
        for other in deleted {
            self.remove_deleted(other, id);
        }
        let ids = self.texts.entry(text.to_owned()).or_default();
        if let Err(at) = ids.binary_search(&id) {
            ids.insert(at, id);
        }
        true
    }

    /// Removes a counter that was deleted by a record that is missing, before another of the key was made or changed.
    fn remove_deleted(&mut self, id: u64, newer: u64) {
        let text = self.keys.get(&id).map_or("", |key| self.replayed.table.key(key.slot));
        let ids = format!("deleted and made again (its ids are {id} and {newer})");
        self.notes.push(format!("key {text:?} was {ids}, and the record that deleted it is missing"));
        self.remove(id);
    }

    /// Removes what is left of counters that a missing record removed when it set the limit of another one of the key.
    fn reconcile(&mut self) {
        let several: Vec<Vec<u64>> = self.texts.values().filter(|ids| ids.len() > 1).cloned().collect();
        for mut ids in several {
            // The newest change is the truth.
            ids.sort_by_key(|id| self.keys.get(id).map(|key| (key.limit_at, *id)));
            let mut kept: Vec<u64> = Vec::new();
            for id in ids.into_iter().rev() {
                let Some(slot) = self.keys.get(&id).map(|key| key.slot) else { continue };
                let table = &self.replayed.table;
                let (origin, rates) = (table.entry(slot).origin, table.rates(slot).copied().collect::<Vec<_>>());
                match kept.iter().find(|&&other| !self.fits(other, origin, &rates)) {
                    Some(&newer) => self.remove_deleted(id, newer),
                    None => kept.push(id),
                }
            }
        }
    }

    /// Removes a counter.
    fn remove(&mut self, id: u64) {
        let Some(key) = self.keys.remove(&id) else { return };
        let text = self.replayed.table.key(key.slot);
        if let Some(ids) = self.texts.get_mut(text) {
            ids.retain(|&other| other != id);
        }
        if self.texts.get(text).is_some_and(Vec::is_empty) {
            self.texts.remove(text);
        }
        self.replayed.table.remove(key.slot);
    }

    /// The images for the copy, with what is in doubt bounded; the doubts; the ids without a key.
    pub(super) fn finish(&mut self) -> (Vec<KeyImage>, Vec<KeyDoubt>, Vec<UnknownId>) {
        self.reconcile();
        let (mut images, mut doubts) = (Vec::with_capacity(self.keys.len()), Vec::new());
        for key in self.keys.values() {
            let mut image = KeyImage::default();
            if !key.is_exact(self.last_missing) {
                self.replayed.table.bound(key.slot, self.replayed.newest_ns);
                doubts.push(KeyDoubt {
                    key: self.replayed.table.key(key.slot).to_owned(),
                    limit: self.last_missing > key.limit_at,
                    state: self.last_missing > key.states_at || key.used_up,
                    totals: self.last_missing > key.totals_at,
                    used_up: key.used_up,
                    unverified: key.unverified,
                });
            }
            self.replayed.table.export(key.slot, &mut image);
            images.push(image);
        }
        renumber(&mut images);
        doubts.sort_by(|a, b| a.key.cmp(&b.key));
        doubts.dedup_by(|other, doubt| {
            other.key == doubt.key && {
                doubt.add(other);
                true
            }
        });
        let unknown = self.unknown.iter().map(|(&id, &operations)| UnknownId { id, operations }).collect();
        (images, doubts, unknown)
    }
}

/// The new log starts with the copy, which includes everything. Of the records that used the counters of a key, their order remains.
fn renumber(images: &mut [KeyImage]) {
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&images[a], &images[b]);
        a.key.cmp(&b.key).then(b.used.cmp(&a.used)).then(b.id.cmp(&a.id))
    });
    let mut before: Option<(usize, u16)> = None;
    for index in order {
        let newer = before.filter(|(other, _)| images[*other].key == images[index].key);
        let nth = newer.map_or(u16::MAX, |(_, nth)| nth - 1);
        let image = &mut images[index];
        image.seq = 1;
        image.used = match (image.origin, newer) {
            (Origin::Explicit, _) => LastUse::default(),
            (Origin::Call, None) => LastUse { seq: 1, nth: 0 },
            (Origin::Call, Some(_)) => LastUse { seq: 0, nth },
        };
        before = Some((index, nth));
    }
}

/// Nothing that a record says stops a repair.
impl Target for Keys {
    type Refusal = Infallible;

    fn replayed(&mut self) -> &mut Replayed {
        &mut self.replayed
    }

    fn slot(&self, id: u64) -> Option<Slot> {
        self.keys.get(&id).map(|key| key.slot)
    }

    fn due(&mut self, place: &Place<'_>, id: u64) -> Result<Option<Slot>, Infallible> {
        let slot = self.slot(id);
        if slot.is_none() {
            *self.unknown.entry(id).or_default() += 1;
        }
        Ok(slot.filter(|&slot| self.replayed.table.entry(slot).seq < place.seq))
    }

    fn allow(&mut self, place: &Place<'_>, slot: Slot, op: &AllowOp<'_>, nth: u16) -> Result<(), Infallible> {
        let (table, used) = (&mut self.replayed.table, LastUse { seq: place.seq, nth });
        let found = table.replay_allow_behind_gap(slot, place.now_ns, op.cost, op.images, used);
        if let Some(key) = self.keys.get_mut(&op.id) {
            match found {
                BehindGap::Exact => (key.states_at, key.used_up) = (place.seq, false),
                BehindGap::Inexact => {}
                BehindGap::UsedUp => (key.states_at, key.used_up) = (0, true),
            }
        }
        Ok(())
    }

    fn configure(&mut self, place: &Place<'_>, op: &ConfigureRef<'_>) -> Result<bool, Infallible> {
        // No writer wrote it, and no snapshot could hold it.
        if limit::Key::new(op.key).is_err() {
            return Ok(false);
        }
        let known = self.keys.get(&op.id).copied();
        let table = &self.replayed.table;
        let rates: Vec<Rate> = op.rates().map(|change| change.rate).collect();
        // The counters that a limit that was set replaces are removed by later operations of the same record.
        let due = match known {
            Some(key) => table.entry(key.slot).seq < place.seq && table.key(key.slot) == op.key,
            None => self.claim(op.key, op.id, op.origin, &rates),
        };
        if !due {
            return Ok(false);
        }
        // A rate that keeps a state which is not there counts as used up.
        let (mut all_new, mut used_up, mut taken) = (true, false, 0_u8);
        let mut changes: Vec<RateChange> = op.rates().collect();
        for change in &mut changes {
            let Source::Kept(index) = change.source else { continue };
            let mut rates = known.map(|key| self.replayed.table.rates(key.slot)).into_iter().flatten();
            let is_there = rates.nth(usize::from(index)) == Some(&change.rate) && taken & (1 << index) == 0;
            all_new = false;
            taken |= 1 << index;
            used_up |= !is_there || known.is_some_and(|key| key.used_up);
            if !is_there {
                change.source = Source::New { carried: change.rate.capacity() };
            }
        }
        let totals_at = if op.id >= self.new_below { place.seq } else { 0 };
        let (table, slot) = (&mut self.replayed.table, known.map(|key| key.slot));
        let configured = table.replay_configure(slot, op.id, op.key, op.origin, &changes, place.now_ns, place.seq);
        let Ok(slot) = configured else { return Ok(false) };
        self.unknown.remove(&op.id);
        let fresh = Key { slot, limit_at: 0, states_at: 0, totals_at, used_up, unverified: false };
        let key = self.keys.entry(op.id).or_insert(fresh);
        (key.limit_at, key.used_up) = (place.seq, used_up);
        if all_new {
            key.states_at = place.seq;
        }
        Ok(true)
    }

    fn was_reset(&mut self, place: &Place<'_>, id: u64) {
        if let Some(key) = self.keys.get_mut(&id) {
            (key.states_at, key.used_up) = (place.seq, false);
        }
    }

    fn had_totals(&mut self, place: &Place<'_>, id: u64) {
        if let Some(key) = self.keys.get_mut(&id) {
            key.totals_at = place.seq;
        }
    }

    fn was_deleted(&mut self, id: u64, slot: Option<Slot>) {
        self.unknown.remove(&id);
        if slot.is_some() {
            self.remove(id);
        }
    }
}
