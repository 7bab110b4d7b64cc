//! Applying old events under the old releases' rules.

use std::collections::HashMap;

use super::event::{Config, What};
use super::{LegacyEvent, Problem, corrupt};
use crate::algorithm::{fixed_window_counter as fixed, sliding_window_log as sliding, token_bucket as bucket};
use crate::image::EventKind;
use crate::image::{KeyImage, Origin, RateState, Run, Totals};
use crate::limit::{Algorithm, Key, Rate};

/// The longest key that a log record can name.
const MAX_STORED_KEY_BYTES: usize = u16::MAX as usize;

/// The store so far. Every key has one rate.
#[derive(Debug, Default)]
pub(super) struct Replay {
    ids: HashMap<String, usize>,
    images: Vec<KeyImage>,
    events: Vec<LegacyEvent>,
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

    /// Takes over one key of a snapshot; `state_ns` is the newest time in its state.
    pub(super) fn restore(
        &mut self,
        config: Config,
        state: RateState,
        state_ns: u64,
        totals: Totals,
    ) -> Result<(), Problem> {
        let index = self.add(config.key, config.rate)?;
        for at_ns in [state_ns, totals.last_allowed_ns, totals.last_denied_ns, totals.last_reset_ns] {
            self.advance(at_ns);
        }
        let image = &mut self.images[index];
        image.states = vec![state];
        image.totals = totals;
        Ok(())
    }

    /// Adds to the history alone.
    pub(super) fn record(&mut self, what: &What, at_ns: u64) {
        let at_ns = self.advance(at_ns);
        let mut push = |kind, key: &str, cost| {
            self.events.push(LegacyEvent { kind, key: key.to_owned(), at_ns, cost, count: 1 });
        };
        match what {
            What::Configured(config) => push(EventKind::LimitConfigured, &config.key, 0),
            What::Checked(kind, items) => items.iter().for_each(|(key, cost)| push(*kind, key, *cost)),
            What::Reset(key) => push(EventKind::Reset, key, 0),
        }
    }

    /// Adds to the history and to the state.
    pub(super) fn apply(&mut self, what: What, at_ns: u64) -> Result<(), Problem> {
        self.record(&what, at_ns);
        let now = self.now_ns;
        match what {
            What::Configured(config) => self.configure(config, now),
            What::Checked(kind, items) => {
                for (key, cost) in items {
                    let image = self.image(&key)?;
                    count(&mut image.totals, kind, cost, now);
                    if kind != EventKind::Deny {
                        consume(&image.rates[0], &mut image.states[0], now, cost);
                    }
                }
                Ok(())
            }
            What::Reset(key) => {
                let image = self.image(&key)?;
                image.states[0] = full(image.rates[0].algorithm(), now);
                image.totals.last_reset_ns = now;
                Ok(())
            }
        }
    }

    /// The images, the history and the newest time.
    pub(super) fn finish(mut self) -> (Vec<KeyImage>, Vec<LegacyEvent>, u64) {
        for image in &mut self.images {
            settle(&image.rates[0], &mut image.states[0], self.newest_ns);
        }
        (self.images, self.events, self.newest_ns)
    }

    fn advance(&mut self, at_ns: u64) -> u64 {
        self.now_ns = self.now_ns.max(at_ns);
        self.note_time(at_ns);
        self.now_ns
    }

    fn image(&mut self, key: &str) -> Result<&mut KeyImage, Problem> {
        match self.ids.get(key) {
            Some(&index) => Ok(&mut self.images[index]),
            None => corrupt(format!("an event of key {key:?}, which was never configured")),
        }
    }

    fn configure(&mut self, config: Config, now: u64) -> Result<(), Problem> {
        let Some(&index) = self.ids.get(&config.key) else {
            self.add(config.key, config.rate)?;
            return Ok(());
        };
        let image = &mut self.images[index];
        let old_rate = std::mem::replace(&mut image.rates[0], config.rate);
        image.out_of_bounds = is_out_of_bounds(&image.key, &config.rate);
        redefine(&old_rate, &config.rate, &mut image.states[0], now);
        Ok(())
    }

    fn add(&mut self, key: String, rate: Rate) -> Result<usize, Problem> {
        if key.len() > MAX_STORED_KEY_BYTES {
            return corrupt(format!(
                "a key of {} bytes, which is longer than any file of this release can hold",
                key.len()
            ));
        }
        let index = self.images.len();
        self.images.push(KeyImage {
            id: index as u64 + 1,
            seq: 1,
            key: key.clone(),
            // The old releases' decorator and middleware set limits, too, and which of them did was not written down. A limit
            // that a call brings goes before the old one, as it did there; until then the old one holds.
            origin: Origin::Call,
            out_of_bounds: is_out_of_bounds(&key, &rate),
            rates: vec![rate],
            states: vec![full(rate.algorithm(), 0)],
            ..KeyImage::default()
        });
        self.ids.insert(key, index);
        Ok(index)
    }
}

fn is_out_of_bounds(key: &str, rate: &Rate) -> bool {
    !rate.is_valid() || Key::new(key).is_err()
}

/// The state in which nothing is used.
pub(super) fn full(algorithm: Algorithm, now: u64) -> RateState {
    match algorithm {
        Algorithm::TokenBucket => RateState::TokenBucket { used: 0, at_ns: now },
        Algorithm::FixedWindowCounter => RateState::FixedWindow { start_ns: 0, used: 0 },
        Algorithm::SlidingWindowLog => RateState::SlidingLog { runs: Vec::new() },
    }
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

/// Units of token x nanosecond of period in a full bucket.
fn capacity_units(rate: &Rate) -> u128 {
    u128::from(rate.capacity()) * u128::from(rate.per_ns())
}

/// Consumes what an old release allowed, whatever today's arithmetic says of it.
fn consume(rate: &Rate, state: &mut RateState, now: u64, cost: u64) {
    match state {
        RateState::TokenBucket { used, at_ns } => {
            let after = bucket::consume(rate, bucket::State { used: *used, at_ns: *at_ns }, now, cost);
            // The old release counted in floats: it may have allowed what is a fraction of a token short.
            (*used, *at_ns) = (after.used.min(capacity_units(rate)), after.at_ns);
        }
        RateState::FixedWindow { start_ns, used } => {
            let after = fixed::consume(rate, fixed::State { start_ns: *start_ns, used: *used }, now, cost);
            (*start_ns, *used) = (after.start_ns, after.used);
        }
        RateState::SlidingLog { runs } => {
            drop_expired(rate, runs, now);
            push_run(runs, sliding::ceil_ms(now), cost);
        }
    }
}

/// Adds a cost to the newest run or as a new one. Runs stay in order whatever `ms` says.
pub(super) fn push_run(runs: &mut Vec<Run>, ms: u64, cost: u64) {
    match runs.last_mut() {
        Some(last) if last.ms >= ms => last.cost = last.cost.saturating_add(cost),
        _ if cost > 0 => runs.push(Run { ms, cost }),
        _ => {}
    }
}

fn drop_expired(rate: &Rate, runs: &mut Vec<Run>, now: u64) {
    let (expired, _) = sliding::live(rate, 0, runs.iter().copied(), now);
    runs.drain(..expired);
}

/// Puts a new rate in the place of an old one. A bucket keeps its tokens up to the new burst, a window its start and its
/// entries; across algorithms what was used is carried, rounded up.
fn redefine(old: &Rate, new: &Rate, state: &mut RateState, now: u64) {
    if old.algorithm() == new.algorithm() {
        if let RateState::TokenBucket { used, at_ns } = state {
            let used_then = bucket::used_at(old, bucket::State { used: *used, at_ns: *at_ns }, now);
            let left = capacity_units(old).saturating_sub(used_then);
            *used = capacity_units(new).saturating_sub(rescaled(left, old.per_ns(), new.per_ns()));
            *at_ns = now.max(*at_ns);
        }
        return;
    }
    let used = match state {
        RateState::TokenBucket { used, at_ns } => {
            bucket::used_tokens_ceil(old, bucket::State { used: *used, at_ns: *at_ns }, now)
        }
        RateState::FixedWindow { start_ns, used } => {
            fixed::used_tokens_ceil(old, fixed::State { start_ns: *start_ns, used: *used }, now)
        }
        RateState::SlidingLog { runs } => {
            let total = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.cost));
            sliding::live(old, total, runs.iter().copied(), now).1
        }
    };
    *state = match new.algorithm() {
        Algorithm::TokenBucket => {
            let carried = bucket::carried(new, used, now);
            RateState::TokenBucket { used: carried.used, at_ns: carried.at_ns }
        }
        Algorithm::FixedWindowCounter => {
            let carried = fixed::carried(new, used, now);
            RateState::FixedWindow { start_ns: carried.start_ns, used: carried.used }
        }
        Algorithm::SlidingWindowLog => {
            RateState::SlidingLog { runs: sliding::carried(new, used, now).into_iter().collect() }
        }
    };
}

/// `units` tokens x `from` as tokens x `to`, rounded down. A period of zero has no tokens left to keep.
fn rescaled(units: u128, from: u64, to: u64) -> u128 {
    let (from, to) = (u128::from(from), u128::from(to));
    let Some(whole) = units.checked_div(from) else { return 0 };
    whole.saturating_mul(to).saturating_add(units % from * to / from)
}

/// Makes a state one that today's release could have reached: no more used than there is, nothing expired. The answer to no
/// check changes.
fn settle(rate: &Rate, state: &mut RateState, now: u64) {
    match state {
        RateState::TokenBucket { used, .. } => *used = (*used).min(capacity_units(rate)),
        RateState::FixedWindow { used, .. } => *used = (*used).min(rate.limit()),
        RateState::SlidingLog { runs } => {
            drop_expired(rate, runs, now);
            // More than the limit is left by a redefinition. The oldest entries make no difference: when they expire, those
            // that follow still fill the limit.
            let mut room = rate.limit();
            let mut first = runs.len();
            while first > 0 && room > 0 {
                first -= 1;
                runs[first].cost = runs[first].cost.min(room);
                room -= runs[first].cost;
            }
            runs.drain(..first);
        }
    }
}
