//! Applying old events under the old releases' rules.

use std::collections::HashMap;

use super::event::{Config, What};
use super::{Problem, corrupt};
use crate::algorithm::{OldEntry, RunArena, State};
use crate::image::{EventKind, KeyImage, LastUse, Origin, PastEvent, Totals};
use crate::limit::{Key, MAX_OLD_KEY_BYTES, Rate};

/// The store so far. Every key has one rate.
#[derive(Debug, Default)]
pub(super) struct Replay {
    ids: HashMap<String, usize>,
    /// Complete but for the states, which are exported at the end.
    images: Vec<KeyImage>,
    /// The state of each image's rate.
    states: Vec<State>,
    runs: RunArena,
    events: Vec<PastEvent>,
    /// Time of the newest event.
    now_ns: u64,
    /// The newest time of any kind.
    newest_ns: u64,
}

impl Replay {
    /// A time that is in the files without an event of its own.
    pub(super) fn note_time(&mut self, ns: u64) {
        self.newest_ns = self.newest_ns.max(ns);
    }

    /// Takes over one key of a snapshot; without a state nothing of its limit is used.
    pub(super) fn restore(
        &mut self,
        config: Config,
        state: Option<&dyn OldEntry>,
        totals: Totals,
    ) -> Result<(), Problem> {
        let rate = config.rate;
        let index = self.add(config.key, rate)?;
        if let Some(entry) = state {
            let imported = State::import_old(rate.algorithm(), rate.quota(), entry, &mut self.runs);
            let (state, newest_ns) = imported.map_err(Problem::Corrupt)?;
            self.states[index] = state;
            self.advance(newest_ns);
        }
        for at_ns in [totals.last_allowed_ns, totals.last_denied_ns, totals.last_reset_ns] {
            self.advance(at_ns);
        }
        self.images[index].totals = totals;
        Ok(())
    }

    /// Adds to the history alone.
    pub(super) fn record(&mut self, what: &What, at_ns: u64) -> Result<(), Problem> {
        match what {
            What::Configured(config) => fits(&config.key)?,
            What::Checked(_, items) => items.iter().try_for_each(|(key, _)| fits(key))?,
            What::Reset(key) => fits(key)?,
        }
        let at_ns = self.advance(at_ns);
        let mut push = |kind, key: &str, cost| {
            self.events.push(PastEvent { kind, key: key.to_owned(), at_ns, cost, count: 1 });
        };
        match what {
            What::Configured(config) => push(EventKind::LimitConfigured, &config.key, 0),
            What::Checked(kind, items) => items.iter().for_each(|(key, cost)| push(*kind, key, *cost)),
            What::Reset(key) => push(EventKind::Reset, key, 0),
        }
        Ok(())
    }

    /// Adds to the history and to the state.
    pub(super) fn apply(&mut self, what: What, at_ns: u64) -> Result<(), Problem> {
        self.record(&what, at_ns)?;
        let now = self.now_ns;
        match what {
            What::Configured(config) => self.configure(config, now),
            What::Checked(kind, items) => {
                for (key, cost) in items {
                    let index = self.find(&key)?;
                    count(&mut self.images[index].totals, kind, cost, now);
                    if kind != EventKind::Deny {
                        let rate = &self.images[index].rates[0];
                        self.states[index].consume_old(rate.quota(), &mut self.runs, now, cost);
                    }
                }
                Ok(())
            }
            What::Reset(key) => {
                let index = self.find(&key)?;
                let image = &mut self.images[index];
                image.totals.last_reset_ns = now;
                self.states[index].free(&mut self.runs);
                self.states[index] = unused(&image.rates[0], now, &mut self.runs);
                Ok(())
            }
        }
    }

    /// The images, the history and the newest time. Each state becomes one that today's release could have reached; the
    /// answer to no check changes.
    pub(super) fn finish(mut self) -> (Vec<KeyImage>, Vec<PastEvent>, u64) {
        for (image, state) in self.images.iter_mut().zip(&mut self.states) {
            state.bound(image.rates[0].quota(), &mut self.runs, self.newest_ns);
            image.states = vec![Vec::new()];
            state.export(&self.runs, &mut image.states[0]);
            state.free(&mut self.runs);
        }
        (self.images, self.events, self.newest_ns)
    }

    fn advance(&mut self, at_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(at_ns);
        self.note_time(at_ns);
        self.now_ns
    }

    fn find(&self, key: &str) -> Result<usize, Problem> {
        match self.ids.get(key) {
            Some(&index) => Ok(index),
            None => corrupt(format!("an event of key {key:?}, which was never configured")),
        }
    }

    /// Sets a limit, or puts it in the place of the key's old one. With the same algorithm the state stays as far as the old
    /// releases kept it; across algorithms what is used is carried over, rounded up.
    fn configure(&mut self, config: Config, now: u64) -> Result<(), Problem> {
        let Some(&index) = self.ids.get(&config.key) else {
            self.add(config.key, config.rate)?;
            return Ok(());
        };
        let (image, state, new) = (&mut self.images[index], &mut self.states[index], config.rate);
        let old = std::mem::replace(&mut image.rates[0], new);
        image.out_of_bounds = is_out_of_bounds(&image.key, &new);
        if old.algorithm() == new.algorithm() {
            state.redefine_old(old.quota(), new.quota(), now);
        } else {
            let used = state.used_tokens(old.quota(), &self.runs, now);
            state.free(&mut self.runs);
            *state = State::carried(new.algorithm(), new.quota(), used, now, &mut self.runs);
        }
        Ok(())
    }

    fn add(&mut self, key: String, rate: Rate) -> Result<usize, Problem> {
        fits(&key)?;
        let index = self.images.len();
        self.images.push(KeyImage {
            id: index as u64 + 1,
            seq: 1,
            key: key.clone(),
            // The old releases' decorator and middleware set limits, too, and which of them did was not written down. A limit
            // that a call brings goes before the old one, as it did there; until then the old one holds.
            origin: Origin::Call,
            used: LastUse { seq: 1, nth: 0 },
            out_of_bounds: is_out_of_bounds(&key, &rate),
            rates: vec![rate],
            ..KeyImage::default()
        });
        self.states.push(unused(&rate, 0, &mut self.runs));
        self.ids.insert(key, index);
        Ok(index)
    }
}

/// Refuses a key that no record and no line of today's files can hold.
fn fits(key: &str) -> Result<(), Problem> {
    if key.len() > MAX_OLD_KEY_BYTES {
        return corrupt(format!(
            "a key of {} bytes, which is longer than any file of this release can hold",
            key.len()
        ));
    }
    Ok(())
}

fn is_out_of_bounds(key: &str, rate: &Rate) -> bool {
    !rate.is_valid() || Key::new(key).is_err()
}

/// The state in which nothing is used.
fn unused(rate: &Rate, now: u64, runs: &mut RunArena) -> State {
    State::carried(rate.algorithm(), rate.quota(), 0, now, runs)
}

/// Adds one check to the totals.
pub(super) fn count(totals: &mut Totals, kind: EventKind, cost: u64, now: u64) {
    let (checks, costs, last_ns) = if kind == EventKind::Deny {
        (&mut totals.denied, &mut totals.denied_cost, &mut totals.last_denied_ns)
    } else {
        (&mut totals.allowed, &mut totals.allowed_cost, &mut totals.last_allowed_ns)
    };
    *checks = checks.saturating_add(1);
    *costs = costs.saturating_add(cost);
    *last_ns = now;
}
