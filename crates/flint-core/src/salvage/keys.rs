//! The keys while the records that are left are applied to them, and what can be said about each.
//!
//! Applying is that of recovery where nothing is missing: a record carries the state that it led to. Behind a gap a state that
//! a record gives whole counts as exact again; one that a record only adds to does not. What is not known is taken for used
//! up: nobody gets fresh quota from a repair.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::algorithm::{AFTER_IMAGE_LEN, RunArena, State};
use crate::image::{KeyImage, Origin, Source, Totals};
use crate::limit::Rate;
use crate::log::record::{ConfigureRef, GroupRef, Op};
use crate::time::Anchor;

use super::losses::Gap;
use super::report::{KeyDoubt, UnknownId};

/// One key.
#[derive(Debug, Clone)]
struct Key {
    text: String,
    origin: Origin,
    out_of_bounds: bool,
    rates: Vec<Rate>,
    states: Vec<State>,
    totals: Totals,
    /// The newest record included.
    seq: u64,
    /// The limit, the states, the totals are exact as of these records: a gap behind one puts that in doubt.
    limit_at: u64,
    states_at: u64,
    totals_at: u64,
    used_up: bool,
    unverified: bool,
}

impl Key {
    fn import(image: &KeyImage, at: u64, unverified: bool, runs: &mut RunArena) -> Self {
        let states = image.rates.iter().zip(&image.states);
        let states =
            states.map(|(rate, numbers)| State::import(rate.algorithm(), numbers, runs).expect("imported before"));
        Self {
            text: image.key.clone(),
            origin: image.origin,
            out_of_bounds: image.out_of_bounds,
            rates: image.rates.clone(),
            states: states.collect(),
            totals: image.totals,
            seq: image.seq,
            limit_at: at,
            states_at: at,
            totals_at: at,
            used_up: false,
            unverified,
        }
    }

    fn doubt(&self, last_missing: u64) -> Option<KeyDoubt> {
        let doubt = KeyDoubt {
            key: self.text.clone(),
            limit: last_missing > self.limit_at,
            state: last_missing > self.states_at || self.used_up,
            totals: last_missing > self.totals_at,
            used_up: self.used_up,
            unverified: self.unverified,
        };
        (doubt.limit || doubt.state || doubt.totals || doubt.unverified).then_some(doubt)
    }

    fn is_exact(&self, last_missing: u64) -> bool {
        !self.used_up && !self.unverified && last_missing <= self.limit_at.min(self.states_at).min(self.totals_at)
    }

    fn allow(&mut self, runs: &mut RunArena, now: u64, cost: u64, images: &[u8], seq: u64) {
        self.seq = seq;
        self.totals.allowed = self.totals.allowed.saturating_add(1);
        self.totals.allowed_cost = self.totals.allowed_cost.saturating_add(cost);
        self.totals.last_allowed_ns = now;
        let (images, _) = images.as_chunks::<AFTER_IMAGE_LEN>();
        if images.len() != self.rates.len() {
            // The limit was changed by a record that is missing, so that nothing is known of what it counts.
            for (rate, state) in self.rates.iter().zip(&mut self.states) {
                state.free(runs);
                *state = State::carried(rate.algorithm(), rate.quota(), rate.capacity(), now, runs);
            }
            (self.used_up, self.states_at) = (true, 0);
            return;
        }
        let mut whole = true;
        for ((rate, state), image) in self.rates.iter().zip(&mut self.states).zip(images) {
            whole &= state.replay_behind_gap(rate.quota(), runs, *image, now, cost);
        }
        if whole {
            (self.states_at, self.used_up) = (seq, false);
        }
    }

    fn configure(&mut self, runs: &mut RunArena, op: &ConfigureRef<'_>, now: u64, seq: u64) {
        let mut taken = 0_u8;
        let (mut rates, mut states) = (Vec::new(), Vec::new());
        let (mut all_new, mut used_up) = (true, false);
        for change in op.rates() {
            let state = match change.source {
                Source::New { carried } => {
                    State::carried(change.rate.algorithm(), change.rate.quota(), carried, now, runs)
                }
                Source::Kept(index) => {
                    all_new = false;
                    let old = self.rates.get(usize::from(index)).filter(|old| **old == change.rate);
                    if old.is_some() && taken & (1 << index) == 0 {
                        taken |= 1 << index;
                        used_up |= self.used_up;
                        self.states[usize::from(index)]
                    } else {
                        used_up = true;
                        State::carried(change.rate.algorithm(), change.rate.quota(), change.rate.capacity(), now, runs)
                    }
                }
            };
            rates.push(change.rate);
            states.push(state);
        }
        (self.rates, self.states, self.origin, self.out_of_bounds) = (rates, states, op.origin, false);
        (self.seq, self.limit_at, self.used_up) = (seq, seq, used_up);
        if all_new {
            self.states_at = seq;
        }
    }

    fn reset(&mut self, runs: &mut RunArena, now: u64, seq: u64) {
        for (rate, state) in self.rates.iter().zip(&mut self.states) {
            state.free(runs);
            *state = State::carried(rate.algorithm(), rate.quota(), 0, now, runs);
        }
        self.totals.last_reset_ns = now;
        (self.seq, self.states_at, self.used_up) = (seq, seq, false);
    }
}

/// All keys.
pub(super) struct Keys {
    runs: RunArena,
    by_id: HashMap<u64, Key>,
    by_text: HashMap<String, u64>,
    next_id: u64,
    /// Ids below this may have been introduced by a missing record.
    new_below: u64,
    /// The newest record that is missing, 0 for none.
    last_missing: u64,
    unknown: BTreeMap<u64, u64>,
    pub(super) newest_ns: u64,
    pub(super) anchor: Option<Anchor>,
    pub(super) notes: Vec<String>,
}

/// The keys as they go into the copy.
pub(super) struct Finished {
    pub(super) images: Vec<KeyImage>,
    pub(super) next_id: u64,
    pub(super) doubts: Vec<KeyDoubt>,
    pub(super) unknown_ids: Vec<UnknownId>,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self {
            runs: RunArena::new(),
            by_id: HashMap::new(),
            by_text: HashMap::new(),
            next_id: 1,
            new_below: 0,
            last_missing: 0,
            unknown: BTreeMap::new(),
            newest_ns: 0,
            anchor: None,
            notes: Vec::new(),
        }
    }

    pub(super) fn anchored(&mut self, anchor: Anchor) {
        self.anchor = Some(anchor);
        self.newest_ns = self.newest_ns.max(anchor.engine_ns);
    }

    pub(super) fn reserve_ids(&mut self, next_id: u64) {
        self.next_id = self.next_id.max(next_id);
    }

    /// Whether a record that matters is missing so far.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.last_missing > 0
    }

    /// Takes over a line of a snapshot that starts at `start`. An unverified one only where the log does not say it all.
    pub(super) fn import(&mut self, image: &KeyImage, start: u64, unverified: bool) -> bool {
        // What nothing verifies takes nothing from what is.
        let known = self.by_id.get(&image.id);
        let exact = known.is_some_and(|key| key.is_exact(self.last_missing) || key.text != image.key);
        let taken = self.by_text.get(&image.key).is_some_and(|&id| id != image.id);
        if unverified && (exact || taken) {
            return false;
        }
        if !self.claim(&image.key, image.id) {
            return false;
        }
        self.reserve_ids(image.id.saturating_add(1));
        self.unknown.remove(&image.id);
        self.by_id.insert(image.id, Key::import(image, start.max(image.seq), unverified, &mut self.runs));
        true
    }

    /// Notes that these records are missing.
    pub(super) fn skip(&mut self, gap: &Gap, last: u64) {
        self.last_missing = self.last_missing.max(last);
        self.new_below = self.new_below.max(self.next_id.saturating_add(gap.new_keys));
    }

    /// Applies a record, as far as it goes.
    pub(super) fn apply(&mut self, op: &Op<'_>, now: u64, seq: u64) {
        self.newest_ns = self.newest_ns.max(now);
        match *op {
            Op::Allow { id, cost, images } => self.on(id, seq, |key, runs| key.allow(runs, now, cost, images, seq)),
            Op::Configure(ref configure) => drop(self.configure(configure, now, seq)),
            Op::Reset { id } => self.on(id, seq, |key, runs| key.reset(runs, now, seq)),
            Op::Delete { id } => self.delete(id, seq),
            Op::Denials(denials) => {
                for denial in denials {
                    self.on(denial.id, seq, |key, _| {
                        key.totals.denied = denial.denied;
                        key.totals.denied_cost = denial.denied_cost;
                        key.totals.last_denied_ns = denial.last_denied_ns;
                        key.seq = seq;
                    });
                }
            }
            Op::Group(ref group) => self.group(group, now, seq),
            Op::Anchor { wall_ns } => self.anchor = Some(Anchor { engine_ns: now, wall_ns }),
            // What was told is kept elsewhere.
            Op::SnapshotMark { .. } | Op::Close | Op::Event(_) | Op::Idempotency(_) => {}
        }
    }

    fn on(&mut self, id: u64, seq: u64, change: impl FnOnce(&mut Key, &mut RunArena)) {
        match self.by_id.get_mut(&id) {
            Some(key) if key.seq < seq => change(key, &mut self.runs),
            Some(_) => {}
            None => *self.unknown.entry(id).or_default() += 1,
        }
    }

    /// As in recovery, an operation of a group may speak of a key that the one before it configured.
    fn group(&mut self, group: &GroupRef<'_>, now: u64, seq: u64) {
        let mut configured: Option<(u64, bool)> = None;
        for op in group.ops() {
            match op {
                Op::Configure(ref configure) => {
                    configured = Some((configure.id, self.configure(configure, now, seq)));
                }
                Op::Allow { id, cost, images } => match (configured, self.by_id.get_mut(&id)) {
                    (Some((configured_id, true)), Some(key)) if configured_id == id => {
                        key.allow(&mut self.runs, now, cost, images, seq)
                    }
                    (Some((configured_id, false)), _) if configured_id == id => {}
                    _ => self.on(id, seq, |key, runs| key.allow(runs, now, cost, images, seq)),
                },
                _ => {}
            }
        }
    }

    /// Whether it was applied.
    fn configure(&mut self, op: &ConfigureRef<'_>, now: u64, seq: u64) -> bool {
        if let Some(key) = self.by_id.get_mut(&op.id) {
            let due = key.seq < seq && key.text == op.key;
            if due {
                key.configure(&mut self.runs, op, now, seq);
            }
            return due;
        }
        if !self.claim(op.key, op.id) {
            return false;
        }
        self.unknown.remove(&op.id);
        let is_new = op.id >= self.new_below;
        self.reserve_ids(op.id.saturating_add(1));
        let mut key = Key {
            text: op.key.to_owned(),
            origin: op.origin,
            out_of_bounds: false,
            rates: Vec::new(),
            states: Vec::new(),
            totals: Totals::default(),
            seq,
            limit_at: seq,
            states_at: 0,
            totals_at: if is_new { seq } else { 0 },
            used_up: false,
            unverified: false,
        };
        key.configure(&mut self.runs, op, now, seq);
        self.by_id.insert(op.id, key);
        true
    }

    /// Gives a text to an id. The key that had it before was deleted by a record that is missing.
    fn claim(&mut self, text: &str, id: u64) -> bool {
        match self.by_text.get(text).copied() {
            Some(other) if other == id => true,
            Some(other) if other > id => false,
            Some(other) => {
                self.notes.push(format!(
                    "key {text:?} was deleted and made again (its ids are {other} and {id}), and the record that deleted it \
                     is missing"
                ));
                self.by_id.remove(&other);
                self.by_text.insert(text.to_owned(), id);
                true
            }
            None => {
                self.by_text.insert(text.to_owned(), id);
                true
            }
        }
    }

    fn delete(&mut self, id: u64, seq: u64) {
        self.unknown.remove(&id);
        if self.by_id.get(&id).is_some_and(|key| key.seq < seq)
            && let Some(key) = self.by_id.remove(&id)
        {
            self.by_text.remove(&key.text);
        }
    }

    pub(super) fn knows(&self, text: &str) -> bool {
        self.by_text.contains_key(text)
    }

    pub(super) fn finish(mut self) -> Finished {
        let mut ids: Vec<u64> = self.by_id.keys().copied().collect();
        ids.sort_unstable();
        let (mut images, mut doubts) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            let Some(mut key) = self.by_id.remove(&id) else { continue };
            if let Some(doubt) = key.doubt(self.last_missing) {
                for (rate, state) in key.rates.iter().zip(&mut key.states) {
                    state.bound(rate.quota(), &mut self.runs, self.newest_ns);
                }
                for at_ns in
                    [&mut key.totals.last_allowed_ns, &mut key.totals.last_denied_ns, &mut key.totals.last_reset_ns]
                {
                    *at_ns = (*at_ns).min(self.newest_ns);
                }
                doubts.push(doubt);
            }
            let exported = key.states.iter().map(|state| {
                let mut numbers = Vec::new();
                state.export(&self.runs, &mut numbers);
                numbers
            });
            images.push(KeyImage {
                id,
                // The new log starts with the copy, which includes everything.
                seq: 1,
                key: key.text,
                origin: key.origin,
                out_of_bounds: key.out_of_bounds,
                states: exported.collect(),
                rates: key.rates,
                totals: key.totals,
            });
        }
        doubts.sort_by(|a, b| a.key.cmp(&b.key));
        let next_id = images.last().map_or(self.next_id, |image| self.next_id.max(image.id.saturating_add(1)));
        let unknown_ids = self.unknown.into_iter().map(|(id, operations)| UnknownId { id, operations }).collect();
        Finished { images, next_id, doubts, unknown_ids }
    }
}
