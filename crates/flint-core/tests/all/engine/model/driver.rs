//! Runs each step on the engine and on the reference and compares.

use std::collections::BTreeMap;

use flint_core::clock::Clock;
use flint_core::engine::{Item, OnChange, Outcome, Status, SyncMode};
use flint_core::image::Origin;
use flint_core::limit::Limit;
use flint_core::{Engine, Error, Result};

use super::reference::{Answer, Key};
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
}

/// A key as a call would leave it, and what the call says.
struct Decided {
    key: Key,
    answer: Answer,
}

/// What a case really did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Done {
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    pub(crate) reopenings: u64,
    pub(crate) deaths: u64,
    pub(crate) looks: u64,
}

pub(crate) struct Driver {
    pub(crate) done: Done,
    world: World,
    engine: Option<Engine>,
    pool: Pool,
    keys: BTreeMap<usize, Key>,
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

    /// What the reference says to a call.
    fn decide(&self, key: usize, cost: u64, limit: Option<&Limit>) -> Result<Decided, Refused> {
        let now = self.now();
        let mut known = match (self.keys.get(&key), limit) {
            (Some(known), _) => known.clone(),
            (None, Some(_)) => Key::new(Origin::Call),
            (None, None) => return Err(Refused::NotFound),
        };
        if let Some(limit) = limit.filter(|limit| known.model.origin == Origin::Call && !known.is(limit)) {
            known.model.redefine(limit, Origin::Call, false, now);
        }
        if cost == 0 || cost > known.model.capacity() {
            return Err(Refused::Cost);
        }
        let answer = known.answer(now, cost);
        Ok(Decided { key: known, answer })
    }

    /// The cost that a step means, for the limit that decides.
    fn cost(&self, key: usize, limit: Option<&Limit>, cost: Cost) -> u64 {
        let explicit = self.keys.get(&key).filter(|known| known.model.origin == Origin::Explicit || limit.is_none());
        let capacity = match (explicit, limit) {
            (Some(known), _) => known.model.capacity(),
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
            | (Err(Error::InvalidCost(_)), Err(Refused::Cost)) => None,
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
        if decided.answer.allowed {
            self.done.allowed += 1;
            let mut known = decided.key;
            known.take(now, cost);
            self.keys.insert(key, known);
        } else {
            self.done.denied += 1;
            self.keys.get_mut(&key).expect("a new key has everything left").deny(now, cost);
        }
    }

    fn peek(&self, key: usize, cost: Cost, limit: Option<usize>) {
        let limit = self.pick(limit);
        let cost = self.cost(key, limit.as_ref(), cost);
        let expected = self.decide(key, cost, limit.as_ref());
        let got = self.engine().peek(KEYS[key], cost, limit.as_ref());
        self.same(got, expected, cost, "peek");
    }

    fn check_all(&mut self, items: &[(usize, Cost, Option<usize>)]) {
        let mut items = items.to_vec();
        let mut seen = [false; KEYS.len()];
        items.retain(|(key, ..)| !std::mem::replace(&mut seen[*key], true));
        let limits: Vec<_> = items.iter().map(|(_, _, limit)| self.pick(*limit)).collect();
        let calls: Vec<Item<'_>> = items
            .iter()
            .zip(&limits)
            .map(|((key, cost, _), limit)| Item {
                key: KEYS[*key],
                cost: self.cost(*key, limit.as_ref(), *cost),
                limit: limit.as_ref(),
            })
            .collect();
        let got = self.engine().check_all(&calls);
        let expected: Result<Vec<Decided>, Refused> =
            items.iter().zip(&calls).map(|((key, ..), call)| self.decide(*key, call.cost, call.limit)).collect();
        let (got, decided) = match (got, expected) {
            (Ok(got), Ok(decided)) => (got, decided),
            (Err(Error::LimitNotFound { .. }), Err(Refused::NotFound))
            | (Err(Error::InvalidCost(_)), Err(Refused::Cost)) => return,
            (got, expected) => panic!("check_all: {got:?}, not {:?}", expected.err()),
        };
        let denied = decided.iter().position(|decided| !decided.answer.allowed);
        assert_eq!((got.allowed, got.denied), (denied.is_none(), denied));
        let wait = decided.iter().map(|decided| decided.answer.retry_after_ns).max();
        assert_eq!(Some(got.retry_after_ns), wait);
        for (((key, ..), call), (got, decided)) in items.iter().zip(&calls).zip(got.items.iter().zip(decided)) {
            if decided.answer.allowed && denied.is_some() {
                // Nothing was taken, and that is what is told.
                let looked = decided.key.answer(self.now(), 0);
                self.same_answer(got, &looked, call.cost, "an item that was not taken");
            } else {
                self.same_answer(got, &decided.answer, call.cost, "an item");
                self.apply(*key, decided, call.cost);
            }
        }
    }

    fn define(&mut self, key: usize, limit: usize, reset: bool) {
        let (limit, now) = (self.pool.limits[limit], self.now());
        let known = self.keys.entry(key).or_insert_with(|| Key::new(Origin::Call));
        if known.model.origin == Origin::Call || !known.is(&limit) {
            known.model.redefine(&limit, Origin::Explicit, reset, now);
        }
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
        let Some(known) = self.keys.get(&key) else { return };
        let cost = known.model.capacity().div_ceil(2);
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
        assert!(then.allowed, "at the time told: {then:?} after {denied:?}");
    }

    fn burst(&mut self, key: usize, count: u32, pause_ns: u64) {
        for _ in 0..count {
            let Some(known) = self.keys.get_mut(&key) else { return };
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
            Some(known) => {
                got.unwrap();
                known.reset(now);
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
                let (denied, last_denied) = self.denials(&status);
                let known = self.known_mut(&status.key);
                (known.denied, known.last_denied) = (denied, last_denied);
            }
        }
    }

    fn known_mut(&mut self, key: &str) -> &mut Key {
        let key = KEYS.iter().position(|name| *name == key).unwrap();
        self.keys.get_mut(&key).unwrap()
    }

    /// What is left of a key's denials where the newest may be missing: number and cost, and the time of the newest.
    fn denials(&mut self, status: &Status) -> ((u64, u64), Option<u64>) {
        let (now, wall) = (self.now(), self.world.clock.wall_ns());
        let last = status.last_denied_at_ns.map(|at| now - (wall - at));
        let known = self.known_mut(&status.key);
        let denied = (status.total_denied, status.total_denied_cost);
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
            self.denials(seen);
            (seen.total_denied, seen.total_denied_cost) = (written.total_denied, written.total_denied_cost);
            seen.last_denied_at_ns = written.last_denied_at_ns;
        }
        assert_eq!(seen, written, "beside the writer");
        self.done.looks += 1;
    }

    /// Every key as people see it.
    fn compare(&self) {
        let (now, wall) = (self.now(), self.world.clock.wall_ns());
        let got = self.list();
        let mut expected: Vec<Status> = self
            .keys
            .iter()
            .map(|(key, known)| {
                let looked = known.answer(now, 0);
                let at = |engine: Option<u64>| engine.map(|engine| wall - (now - engine));
                Status {
                    key: KEYS[*key].to_owned(),
                    rates: known.model.rates.iter().map(|rate| rate.rate).collect(),
                    binding: looked.binding,
                    origin: known.model.origin,
                    out_of_bounds: false,
                    remaining: looked.remaining,
                    retry_after_ns: known.answer(now, 1).retry_after_ns,
                    reset_at_wall_ns: wall + looked.reset_after_ns,
                    total_allowed: known.allowed.0,
                    total_denied: known.denied.0,
                    total_allowed_cost: known.allowed.1,
                    total_denied_cost: known.denied.1,
                    last_allowed_at_ns: at(known.last_allowed),
                    last_denied_at_ns: at(known.last_denied),
                    last_reset_at_ns: at(known.last_reset),
                }
            })
            .collect();
        expected.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(got, expected, "at {now}");
    }
}
