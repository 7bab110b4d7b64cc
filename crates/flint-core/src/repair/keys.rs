//! The keys while the records that are left are applied to them, and what can be said about each.
//!
//! Recovery applies the records. Behind a gap a state that a record has whole counts as exact again, one that it only adds to
//! does not, and what is not known is taken for used up: no key comes back with quota that it did not have.

use std::collections::BTreeMap;
use std::convert::Infallible;

use hashbrown::HashMap;

use crate::image::{KeyImage, RateChange, Source};
use crate::log::record::{AllowOp, ConfigureRef};
use crate::recovery::replay::{Place, Replayed, Target};
use crate::table::{BehindGap, Slot};

use super::losses::Gap;
use super::report::{KeyDoubt, UnknownId};
use super::sources::Snapshot;

/// A key, and how much of it is exact.
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
    /// The id of each text.
    pub(super) texts: HashMap<String, u64>,
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
        let taken = self.texts.get(&image.key).is_some_and(|&id| id != image.id);
        if unverified && (exact || taken) || !self.claim(&image.key, image.id) {
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

    /// Assigns a text to an id. The key that had it before was deleted by a record that is missing.
    fn claim(&mut self, text: &str, id: u64) -> bool {
        let other = *self.texts.entry(text.to_owned()).or_insert(id);
        if other < id {
            let ids = format!("deleted and made again (its ids are {other} and {id})");
            self.notes.push(format!("key {text:?} was {ids}, and the record that deleted it is missing"));
            self.texts.insert(text.to_owned(), id);
            self.keys.remove(&other).into_iter().for_each(|key| self.replayed.table.remove(key.slot));
        }
        other <= id
    }

    /// The images for the copy, with what is in doubt bounded; the doubts; the ids without a key.
    pub(super) fn finish(&mut self) -> (Vec<KeyImage>, Vec<KeyDoubt>, Vec<UnknownId>) {
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
            // The new log starts with the copy, which includes everything.
            image.seq = 1;
            images.push(image);
        }
        doubts.sort_by(|a, b| a.key.cmp(&b.key));
        let unknown = self.unknown.iter().map(|(&id, &operations)| UnknownId { id, operations }).collect();
        (images, doubts, unknown)
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

    fn allow(&mut self, place: &Place<'_>, slot: Slot, op: &AllowOp<'_>) -> Result<(), Infallible> {
        let table = &mut self.replayed.table;
        let found = table.replay_allow_behind_gap(slot, place.now_ns, op.cost, op.images, place.seq);
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
        let known = self.keys.get(&op.id).copied();
        let table = &self.replayed.table;
        let due = match known {
            Some(key) => table.entry(key.slot).seq < place.seq && table.key(key.slot) == op.key,
            None => self.claim(op.key, op.id),
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

    fn was_deleted(&mut self, id: u64, slot: Option<Slot>) {
        self.unknown.remove(&id);
        if let Some(slot) = slot {
            self.texts.remove(self.replayed.table.key(slot));
            self.keys.remove(&id);
            self.replayed.table.remove(slot);
        }
    }
}
