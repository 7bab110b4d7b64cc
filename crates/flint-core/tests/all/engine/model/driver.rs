//! Runs each step on the engine and on the reference and compares.

use std::collections::BTreeMap;

use flint_core::clock::Clock;
use flint_core::engine::{CounterStatus, Item, OnChange, Outcome, Status, SyncMode};
use flint_core::image::Origin;
use flint_core::limit::Limit;
use flint_core::testing::model::{Choice, choose, redefine};
use flint_core::{Engine, Error, Result};

use super::reference::{Answer, Counter};
use crate::support::engine::{HOUR, World};

const KEYS: [&str; 4] = ["a", "key:b", "ключ", "a\n\0"];

/// The limits that a case uses.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) limits: Vec<Limit>,
}

/// A cost in thousandths of the capacity; 1001 is one more than the capacity.
type Cost = u32;

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Check {
        key: usize,
        cost: Cost,
        limit: Option<usize>,
    },
    Peek {
        key: usize,
        cost: Cost,
        limit: Option<usize>,
    },
    CheckAll(Vec<(usize, Cost, Option<usize>)>),
    Limit {
        key: usize,
        limit: usize,
        reset: bool,
    },
    LimitMany(Vec<(usize, usize, bool)>),
    /// Waits as long as a denied peek says, to the nanosecond.
    Boundary {
        key: usize,
    },
    Burst {
        key: usize,
        count: u32,
        pause_ns: u64,
    },
    Reset {
        key: usize,
    },
    Delete {
        key: usize,
    },
    Advance(u64),
    SetWall {
        hours: i64,
    },
    /// Ends the session, by closing it or by killing the process, and begins another after this time, in which the wall clock
    /// was stepped too.
    Reopen {
        kill: bool,
        ns: u64,
        wall_hours: i64,
    },
    Compact,
    LookBeside,
    Flush,
}

/// What the reference expects of a refused call.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    NotFound,
    Cost,
    TooMany,
}

/// A counter as it is before the call, and what the call says.
struct Decided {
    choice: Choice,
    counter: Counter,
    answer: Answer,
}

/// The items of one call on one key: which counters they use, how many they create.
#[derive(Default)]
struct Busy {
    used: Vec<usize>,
    created: usize,
}

/// What a case really did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    pub(crate) reopenings: u64,
    pub(crate) deaths: u64,
    pub(crate) looks: u64,
    /// Allowed checks on keys with several counters.
    pub(crate) several: u64,
}

pub(crate) struct Driver {
    pub(crate) done: Done,
    world: World,
    engine: Option<Engine>,
    pool: Pool,
    /// The counters of each key, the most recently used first.
    keys: BTreeMap<usize, Vec<Counter>>,
    /// Engine time minus the clock's monotonic reading.
    offset_ns: u64,
    wall_stepped: bool,
}

impl Driver {
    pub(crate) fn new(mode: SyncMode, pool: Pool) -> Self {
        let world = World::new(mode);
        let engine = Some(world.open());
        // A new store's timeline starts at the wall clock.
        let offset_ns = world.clock.wall_ns() - world.clock.monotonic_ns();
        Self { done: Done::default(), world, engine, pool, keys: BTreeMap::new(), offset_ns, wall_stepped: false }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn now(&self) -> u64 {
        self.world.clock.monotonic_ns() + self.offset_ns
    }

    pub(crate) fn run(&mut self, step: &Step) {
        match step {
            Step::Check { key, cost, limit } => self.check(*key, *cost, *limit),
            Step::Peek { key, cost, limit } => self.peek(*key, *cost, *limit),
            Step::CheckAll(items) => self.check_all(items),
            Step::Limit { key, limit, reset } => self.limit(*key, *limit, *reset),
            Step::LimitMany(specs) => self.limit_many(specs),
            Step::Boundary { key } => self.boundary(*key),
            Step::Burst { key, count, pause_ns } => self.burst(*key, *count, *pause_ns),
            Step::Reset { key } => self.reset(*key),
            Step::Delete { key } => self.delete(*key),
            Step::Advance(ns) => self.world.clock.advance_ns(*ns),
            Step::SetWall { hours } => {
                self.step_wall(*hours);
                self.wall_stepped = true;
            }
            Step::Reopen { kill, ns, wall_hours } => self.reopen(*kill, *ns, *wall_hours),
            Step::LookBeside => self.look_beside(),
            Step::Compact => self.engine().compact().unwrap(),
            Step::Flush => self.engine().flush().unwrap(),
        }
        self.compare();
    }

    fn choose(&self, key: usize, limit: Option<&Limit>, busy: &Busy) -> Choice {
        let counters = self.keys.get(&key).map_or(&[][..], |counters| counters);
        let models: Vec<_> = counters.iter().map(|counter| &counter.model).collect();
        choose(&models, limit, self.now(), &busy.used, busy.created)
    }

    /// What the reference says to a call.
    fn decide(&self, key: usize, cost: u64, limit: Option<&Limit>) -> Result<Decided, Refused> {
        self.decide_beside(key, (cost, cost), limit, &Busy::default())
    }

    /// The same, where the counter takes more than this item's cost from all items together.
    fn decide_beside(
        &self,
        key: usize,
        (cost, together): (u64, u64),
        limit: Option<&Limit>,
        busy: &Busy,
    ) -> Result<Decided, Refused> {
        let now = self.now();
        let choice = self.choose(key, limit, busy);
        let counter = match choice {
            Choice::Counter(index) => self.keys[&key][index].clone(),
            Choice::New(_) => Counter::new(limit.unwrap(), Origin::Call, now),
            Choice::Unknown => return Err(Refused::NotFound),
            Choice::TooMany if !(1..=limit.unwrap().capacity()).contains(&cost) => return Err(Refused::Cost),
            Choice::TooMany => return Err(Refused::TooMany),
        };
        if cost == 0 || cost > counter.model.capacity() || together > counter.model.capacity() {
            return Err(Refused::Cost);
        }
        let answer = counter.answer(now, together);
        Ok(Decided { choice, counter, answer })
    }

    /// The cost that a step means, for the limit that decides.
    fn cost(&self, key: usize, limit: Option<&Limit>, cost: Cost) -> u64 {
        let newest = self.keys.get(&key).map(|counters| &counters[0].model);
        let deciding = newest.filter(|model| model.origin == Origin::Explicit || limit.is_none());
        let capacity = match (deciding, limit) {
            (Some(model), _) => model.capacity(),
            (None, Some(limit)) => limit.capacity(),
            (None, None) => 10,
        };
        match cost {
            0 => 0,
            1_001 => capacity.saturating_add(1),
            cost => u64::try_from((u128::from(capacity) * u128::from(cost) / 1_000).max(1)).unwrap(),
        }
    }

    fn pick(&self, limit: Option<usize>) -> Option<Limit> {
        limit.map(|limit| self.pool.limits[limit])
    }

    /// Compares an answer; gives the reference's if the call was not refused.
    fn same(&self, got: Result<Outcome>, expected: Result<Decided, Refused>, cost: u64, what: &str) -> Option<Decided> {
        match (got, expected) {
            (Ok(got), Ok(decided)) => {
                self.same_answer(&got, &decided.answer, cost, what);
                Some(decided)
            }
            (Err(Error::LimitNotFound { .. }), Err(Refused::NotFound))
            | (Err(Error::InvalidCost(_)), Err(Refused::Cost))
            | (Err(Error::InvalidLimit(_)), Err(Refused::TooMany)) => None,
            (got, Err(expected)) => panic!("{what}: {got:?}, not {expected:?}"),
            (Err(got), Ok(decided)) => panic!("{what}: {got:?}, not {:?}", decided.answer),
        }
    }

    fn same_answer(&self, got: &Outcome, answer: &Answer, cost: u64, what: &str) {
        let got_answer = (got.allowed, got.remaining, got.retry_after_ns, got.reset_after_ns, got.limit, got.cost);
        let expected =
            (answer.allowed, answer.remaining, answer.retry_after_ns, answer.reset_after_ns, answer.limit, cost);
        assert_eq!(got_answer, expected, "{what} at {}", self.now());
    }

    fn check(&mut self, key: usize, cost: Cost, limit: Option<usize>) {
        let limit = self.pick(limit);
        let cost = self.cost(key, limit.as_ref(), cost);
        let expected = self.decide(key, cost, limit.as_ref());
        let got = self.engine().check(KEYS[key], cost, limit.as_ref());
        if let Some(decided) = self.same(got, expected, cost, "check") {
            self.apply(key, decided, cost);
        }
    }

    /// What an allowed or denied check leaves.
    fn apply(&mut self, key: usize, decided: Decided, cost: u64) {
        let now = self.now();
        if !decided.answer.allowed {
            self.done.denied += 1;
            let Choice::Counter(index) = decided.choice else { panic!("a new counter has everything left") };
            self.keys.get_mut(&key).unwrap()[index].deny(now, cost);
            return;
        }
        self.done.allowed += 1;
        let counters = self.keys.entry(key).or_default();
        let mut counter = match decided.choice {
            Choice::Counter(index) => counters.remove(index),
            // It takes the place of the other in the totals of the key too.
            Choice::New(Some(index)) => decided.counter.and_totals(&counters.remove(index)),
            _ => decided.counter,
        };
        self.done.several += u64::from(!counters.is_empty());
        counter.take(now, cost);
        counters.insert(0, counter);
    }

    fn peek(&self, key: usize, cost: Cost, limit: Option<usize>) {
        let limit = self.pick(limit);
        let cost = self.cost(key, limit.as_ref(), cost);
        let expected = self.decide(key, cost, limit.as_ref());
        let got = self.engine().peek(KEYS[key], cost, limit.as_ref());
        self.same(got, expected, cost, "peek");
    }

    /// Which items of a call have the same key and the same limit is refused; the rest may name a key several times.
    fn distinct(&self, items: &[(usize, Cost, Option<usize>)]) -> Vec<(usize, Cost, Option<usize>)> {
        let same = |a: &(usize, Cost, Option<usize>), b: &(usize, Cost, Option<usize>)| {
            let rates = |limit: Option<usize>| {
                let mut rates: Vec<String> =
                    self.pick(limit).iter().flat_map(Limit::rates).map(|rate| format!("{rate:?}")).collect();
                rates.sort();
                rates
            };
            a.0 == b.0 && rates(a.2) == rates(b.2)
        };
        let mut kept: Vec<(usize, Cost, Option<usize>)> = Vec::new();
        for item in items {
            if !kept.iter().any(|other| same(other, item)) {
                kept.push(*item);
            }
        }
        kept
    }

    /// What the reference says to each item; those that come to one counter take the sum of their costs from it.
    fn decide_all(&self, calls: &[(usize, u64, Option<Limit>)]) -> Result<Vec<Decided>, Refused> {
        let mut busy: BTreeMap<usize, Busy> = BTreeMap::new();
        let mut costs: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (key, cost, limit) in calls {
            if let Choice::Counter(index) = self.choose(*key, limit.as_ref(), &Busy::default()) {
                busy.entry(*key).or_default().used.push(index);
                let together = costs.entry((*key, index)).or_default();
                *together = together.saturating_add(*cost);
            }
        }
        let mut all = Vec::new();
        for (key, cost, limit) in calls {
            let busy = busy.entry(*key).or_default();
            let together = match self.choose(*key, limit.as_ref(), busy) {
                Choice::Counter(index) => costs[&(*key, index)],
                _ => *cost,
            };
            let decided = self.decide_beside(*key, (*cost, together), limit.as_ref(), busy)?;
            match decided.choice {
                Choice::New(Some(index)) => busy.used.push(index),
                Choice::New(None) => busy.created += 1,
                _ => {}
            }
            all.push(decided);
        }
        Ok(all)
    }

    fn check_all(&mut self, items: &[(usize, Cost, Option<usize>)]) {
        let calls: Vec<(usize, u64, Option<Limit>)> = self
            .distinct(items)
            .into_iter()
            .map(|(key, cost, limit)| {
                let limit = self.pick(limit);
                (key, self.cost(key, limit.as_ref(), cost), limit)
            })
            .collect();
        let items: Vec<Item<'_>> = calls
            .iter()
            .map(|(key, cost, limit)| Item { key: KEYS[*key], cost: *cost, limit: limit.as_ref() })
            .collect();
        let got = self.engine().check_all(&items);
        let expected = self.decide_all(&calls);
        let (got, decided) = match (got, expected) {
            (Ok(got), Ok(decided)) => (got, decided),
            (Err(Error::LimitNotFound { .. }), Err(Refused::NotFound))
            | (Err(Error::InvalidCost(_)), Err(Refused::Cost))
            | (Err(Error::InvalidLimit(_)), Err(Refused::TooMany)) => return,
            (got, expected) => panic!("check_all: {got:?}, not {:?}", expected.err()),
        };
        let denied = decided.iter().position(|decided| !decided.answer.allowed);
        assert_eq!((got.allowed, got.denied), (denied.is_none(), denied));
        let wait = decided.iter().map(|decided| decided.answer.retry_after_ns).max();
        assert_eq!(Some(got.retry_after_ns), wait);
        for ((_, cost, _), (got, decided)) in calls.iter().zip(got.items.iter().zip(&decided)) {
            if decided.answer.allowed && denied.is_some() {
                // Nothing was taken, and that is what is reported.
                let looked = decided.counter.answer(self.now(), 0);
                self.same_answer(got, &looked, *cost, "an item that was not taken");
            } else {
                self.same_answer(got, &decided.answer, *cost, "an item");
            }
        }
        self.apply_all(&calls, decided, denied.is_some());
    }

    fn apply_all(&mut self, calls: &[(usize, u64, Option<Limit>)], decided: Vec<Decided>, denied: bool) {
        if denied {
            for ((key, cost, _), decided) in calls.iter().zip(decided) {
                if !decided.answer.allowed {
                    self.apply(*key, decided, *cost);
                }
            }
            return;
        }
        // Counters are named by their place before the call, which changes with each that is used.
        let before = self.keys.clone();
        let mut taken: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for ((key, cost, _), decided) in calls.iter().zip(&decided) {
            if let Choice::Counter(index) = decided.choice {
                let together = taken.entry((*key, index)).or_default();
                *together = together.saturating_add(*cost);
            }
        }
        let mut moved: BTreeMap<usize, Vec<usize>> =
            before.iter().map(|(key, counters)| (*key, (0..counters.len()).collect())).collect();
        for ((key, cost, _), mut decided) in calls.iter().zip(decided) {
            let places = moved.entry(*key).or_default();
            let place = |places: &[usize], index: usize| places.iter().position(|place| *place == index).unwrap();
            let cost = match decided.choice {
                Choice::Counter(index) => match taken.remove(&(*key, index)) {
                    Some(together) => {
                        let at = place(places, index);
                        decided.choice = Choice::Counter(at);
                        places.remove(at);
                        places.insert(0, index);
                        together
                    }
                    None => continue,
                },
                Choice::New(replaced) => {
                    if let Some(index) = replaced {
                        let at = place(places, index);
                        decided.choice = Choice::New(Some(at));
                        places.remove(at);
                    }
                    places.insert(0, usize::MAX);
                    *cost
                }
                _ => unreachable!("it was decided"),
            };
            self.apply(*key, decided, cost);
        }
    }

    fn define(&mut self, key: usize, limit: usize, reset: bool) {
        let (limit, now) = (self.pool.limits[limit], self.now());
        let counters = self.keys.entry(key).or_default();
        let models: Vec<_> = counters.iter().map(|counter| &counter.model).collect();
        if models.first().is_some_and(|model| model.origin == Origin::Explicit && model.is(&limit)) {
            return;
        }
        let (_, model) = redefine(&models, &limit, reset, now);
        let new = counters.iter().fold(Counter::of(model), |new, old| new.and_totals(old));
        *counters = vec![new];
    }

    fn limit(&mut self, key: usize, limit: usize, reset: bool) {
        let on_change = if reset { OnChange::Reset } else { OnChange::Keep };
        self.engine().limit(KEYS[key], &self.pool.limits[limit], on_change).unwrap();
        self.define(key, limit, reset);
    }

    fn limit_many(&mut self, specs: &[(usize, usize, bool)]) {
        let mut specs = specs.to_vec();
        let mut seen = [false; KEYS.len()];
        specs.retain(|(key, ..)| !std::mem::replace(&mut seen[*key], true));
        let calls: Vec<_> = specs
            .iter()
            .map(|&(key, limit, reset)| {
                (KEYS[key], self.pool.limits[limit], if reset { OnChange::Reset } else { OnChange::Keep })
            })
            .collect();
        self.engine().limit_many(&calls).unwrap();
        for (key, limit, reset) in specs {
            self.define(key, limit, reset);
        }
    }

    fn boundary(&self, key: usize) {
        let Some(counters) = self.keys.get(&key) else { return };
        let cost = counters[0].model.capacity().div_ceil(2);
        let peek = || self.engine().peek(KEYS[key], cost, None).unwrap();
        let denied = peek();
        if denied.allowed {
            return;
        }
        self.world.clock.advance_ns(denied.retry_after_ns - 1);
        let before = peek();
        assert!(!before.allowed && before.retry_after_ns == 1, "a nanosecond early: {before:?} after {denied:?}");
        self.world.clock.advance_ns(1);
        let then = peek();
        assert!(then.allowed, "at the time reported: {then:?} after {denied:?}");
    }

    fn burst(&mut self, key: usize, count: u32, pause_ns: u64) {
        for _ in 0..count {
            let Some(known) = self.keys.get_mut(&key).map(|counters| &mut counters[0]) else { return };
            let now = self.world.clock.monotonic_ns() + self.offset_ns;
            let expected = known.model.allows(now, 1);
            if expected {
                known.take(now, 1)
            } else {
                known.deny(now, 1)
            }
            let got = self.engine().check(KEYS[key], 1, None).unwrap();
            assert_eq!(got.allowed, expected);
            self.world.clock.advance_ns(pause_ns);
        }
    }

    fn reset(&mut self, key: usize) {
        let (got, now) = (self.engine().reset(KEYS[key]), self.now());
        match self.keys.get_mut(&key) {
            Some(counters) => {
                got.unwrap();
                counters.iter_mut().for_each(|counter| counter.reset(now));
            }
            None => assert!(matches!(got, Err(Error::LimitNotFound { .. }))),
        }
    }

    fn delete(&mut self, key: usize) {
        let got = self.engine().delete(KEYS[key]);
        match self.keys.remove(&key) {
            Some(_) => got.unwrap(),
            None => assert!(matches!(got, Err(Error::LimitNotFound { .. }))),
        }
    }

    fn list(&self) -> Vec<Status> {
        self.engine().list(None, None, None).unwrap()
    }

    fn step_wall(&self, hours: i64) {
        let wall = self.world.clock.wall_ns();
        let by = hours.unsigned_abs() * HOUR;
        self.world.clock.set_wall_ns(if hours < 0 { wall - by } else { wall + by });
    }

    /// The wall clock tells how much time passed between two sessions, and never that time went back.
    fn reopen(&mut self, kill: bool, ns: u64, wall_hours: i64) {
        let (now, wall) = (self.now(), self.world.clock.wall_ns());
        // When the clock was stepped and no anchor says so, or when it goes back behind the newest record, a death leaves open
        // how much time passed; that is another test's subject.
        let kill = kill && !self.wall_stepped && wall_hours >= 0;
        if kill {
            let disk = self.world.disk.kill();
            self.engine = None;
            self.world.disk = disk;
        } else {
            self.engine().close().unwrap();
            self.engine = None;
        }
        self.world.clock.advance_ns(ns);
        self.step_wall(wall_hours);
        self.engine = Some(self.world.open());
        assert!(!self.engine().recovery().created);
        assert_eq!(self.engine().recovery().clean, !kill);
        let passed = self.world.clock.wall_ns().saturating_sub(wall);
        *(if kill { &mut self.done.deaths } else { &mut self.done.reopenings }) += 1;
        self.offset_ns = now + passed - self.world.clock.monotonic_ns();
        self.wall_stepped = false;
        if kill {
            for status in self.list() {
                let key = key_of(&status);
                for (index, counter) in status.counters().iter().enumerate() {
                    let (denied, last_denied) = self.denials(key, index, counter);
                    let known = &mut self.keys.get_mut(&key).unwrap()[index];
                    (known.denied, known.last_denied) = (denied, last_denied);
                }
            }
        }
    }

    /// What is left of a counter's denials where the newest may be missing: number and cost, and the time of the newest.
    fn denials(&self, key: usize, index: usize, counter: &CounterStatus) -> ((u64, u64), Option<u64>) {
        let (now, wall) = (self.now(), self.world.clock.wall_ns());
        let last = counter.last_denied_at_ns.map(|at| now - (wall - at));
        let known = &self.keys[&key][index];
        let denied = (counter.total_denied, counter.total_denied_cost);
        assert!(denied.0 <= known.denied.0 && denied.1 <= known.denied.1 && last <= known.last_denied);
        assert!(denied != known.denied || last == known.last_denied);
        assert_eq!(denied.0 == 0, last.is_none());
        (denied, last)
    }

    /// A reader sees what was acknowledged, at the same time, but for denials that only the writer's memory holds.
    fn look_beside(&mut self) {
        if self.wall_stepped {
            // The reader knows the wall clock only from the newest anchor.
            return;
        }
        let reader = self.world.open_read_only();
        let mut seen = reader.list(None, None, None).unwrap();
        let written = self.list();
        for (seen, written) in seen.iter_mut().zip(&written) {
            let key = key_of(seen);
            for (index, counter) in seen.counters().iter().enumerate() {
                self.denials(key, index, counter);
            }
            for (seen, written) in seen.counters.iter_mut().zip(&written.counters) {
                (seen.total_denied, seen.total_denied_cost) = (written.total_denied, written.total_denied_cost);
                seen.last_denied_at_ns = written.last_denied_at_ns;
            }
            (seen.whole.total_denied, seen.whole.total_denied_cost) = (written.total_denied, written.total_denied_cost);
            seen.whole.last_denied_at_ns = written.last_denied_at_ns;
        }
        assert_eq!(seen, written, "beside the writer");
        self.done.looks += 1;
    }

    /// Every key as people see it.
    fn compare(&self) {
        let got = self.list();
        let mut expected: Vec<Status> = self.keys.iter().map(|(key, counters)| self.status(*key, counters)).collect();
        expected.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(got, expected, "at {}", self.now());
    }

    fn counter_status(&self, counter: &Counter) -> CounterStatus {
        let (now, wall) = (self.now(), self.world.clock.wall_ns());
        let looked = counter.answer(now, 0);
        let at = |engine: Option<u64>| engine.map(|engine| wall - (now - engine));
        CounterStatus {
            rates: counter.model.rates.iter().map(|rate| rate.rate).collect(),
            binding: looked.binding,
            remaining: looked.remaining,
            retry_after_ns: counter.answer(now, 1).retry_after_ns,
            reset_at_wall_ns: wall + looked.reset_after_ns,
            total_allowed: counter.allowed.0,
            total_denied: counter.denied.0,
            total_allowed_cost: counter.allowed.1,
            total_denied_cost: counter.denied.1,
            last_allowed_at_ns: at(counter.last_allowed),
            last_denied_at_ns: at(counter.last_denied),
            last_reset_at_ns: at(counter.last_reset),
        }
    }

    /// What is left of the most recently used counter, and the totals of all.
    fn status(&self, key: usize, counters: &[Counter]) -> Status {
        let totals = counters[1..].iter().fold(counters[0].clone(), |sum, other| sum.and_totals(other));
        Status {
            key: KEYS[key].to_owned(),
            origin: counters[0].model.origin,
            out_of_bounds: false,
            whole: self.counter_status(&totals),
            counters: match counters {
                [_] => Vec::new(),
                several => several.iter().map(|counter| self.counter_status(counter)).collect(),
            },
        }
    }
}

fn key_of(status: &Status) -> usize {
    KEYS.iter().position(|name| *name == status.key).unwrap()
}
