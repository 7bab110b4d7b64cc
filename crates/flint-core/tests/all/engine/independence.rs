//! No sequence of calls with limits A and B admits more under A than calls with A alone would: a store that gets both answers calls
//! with A as one that gets those alone, through restarts, deaths, compaction and repair.

use crate::support::engine::{HOUR, MINUTE, MS, World};
use crate::support::{evidence, seeded};
use flint_core::engine::{Engine, Item, Outcome, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::repair::repair_in;
use flint_core::testing::sim::SimDisk;
use flint_core::{Error, Result, files};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

const CASES: u32 = 400;

/// The first is A; the next two share rates with it, and have it in other orders or spellings of other limits.
fn pool(algorithm: Algorithm) -> Vec<Limit> {
    let texts = [
        "7/minute; 20/hour",
        "7/minute",
        "7/minute; 20/hour; 20/hour",
        "1000000/second",
        "20/hour",
        "3/minute; 9/day",
        "8/minute; 20/hour",
        "5/10s",
        "4/ms",
        "70/10m; 20/hour",
    ];
    let mut limits: Vec<Limit> = texts.iter().map(|text| parse_limit(text, algorithm).unwrap()).collect();
    let other =
        if algorithm == Algorithm::TokenBucket { Algorithm::FixedWindowCounter } else { Algorithm::TokenBucket };
    limits.push(parse_limit(texts[0], other).unwrap());
    limits
}

#[derive(Debug, Clone)]
enum Step {
    Check {
        limit: usize,
        cost: u64,
    },
    /// The same limit with its rates in another order.
    Reversed {
        cost: u64,
    },
    CheckAll {
        limits: Vec<usize>,
        cost: u64,
    },
    Peek {
        limit: usize,
    },
    Advance(u64),
    Reopen {
        kill: bool,
    },
    Compact,
    /// The newest snapshot is damaged, and the repaired copy is what goes on.
    Repair,
}

fn step() -> impl Strategy<Value = Step> {
    let limit = prop_oneof![2 => Just(0), 3 => 0..11_usize];
    let cost = prop_oneof![4 => Just(1), 1 => 1..=3_u64];
    prop_oneof![
        12 => (limit.clone(), cost.clone()).prop_map(|(limit, cost)| Step::Check { limit, cost }),
        2 => cost.clone().prop_map(|cost| Step::Reversed { cost }),
        3 => (prop::collection::btree_set(0..11_usize, 1..4), cost)
            .prop_map(|(limits, cost)| Step::CheckAll { limits: limits.into_iter().collect(), cost }),
        2 => limit.prop_map(|limit| Step::Peek { limit }),
        6 => prop_oneof![1..=20 * MS, 1..=MINUTE, 1..=HOUR].prop_map(Step::Advance),
        1 => any::<bool>().prop_map(|kill| Step::Reopen { kill }),
        1 => Just(Step::Compact),
        1 => Just(Step::Repair),
    ]
}

/// A store and what runs on it.
struct Side {
    world: World,
    engine: Option<Engine>,
    is_copy: bool,
}

impl Side {
    fn new(world: World) -> Self {
        let engine = Some(world.open());
        Self { world, engine, is_copy: false }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn reopen(&mut self, kill: bool) {
        let disk = if kill { self.world.disk.kill() } else { self.world.disk.clone() };
        let engine = self.engine.take().unwrap();
        if !kill {
            engine.close().unwrap();
        }
        drop(engine);
        self.world.disk = disk;
        self.engine = Some(self.world.open());
    }

    /// Goes on with the repaired copy of the store with a damaged snapshot. Returns whether there was one: the log of a copy starts
    /// with a snapshot, so that a copy of it could not have everything.
    fn repair(&mut self) -> bool {
        if self.is_copy || self.engine().counters().keys == 0 {
            return false;
        }
        self.engine().compact().unwrap();
        self.engine.take().unwrap().close().unwrap();
        let names = self.world.disk.dir().list().unwrap();
        let newest = names.iter().filter_map(|name| files::parse_snapshot_name(name)).max().unwrap();
        let mut bytes = self.world.disk.read_file(&files::snapshot_name(newest)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.world.disk.write_file(&files::snapshot_name(newest), &bytes);
        let copy = SimDisk::new();
        let report = repair_in(&*self.world.disk.dir(), &*copy.dir()).unwrap();
        if report.written {
            assert!(report.is_complete(), "the log has everything: {report:?}");
            self.world.disk = copy;
            self.is_copy = true;
        }
        self.engine = Some(self.world.open());
        report.written
    }
}

/// What does not depend on the order of the rates, which is that of the call that made the counter.
fn shown(outcome: &Outcome) -> (bool, u64, u64) {
    let remaining = if outcome.allowed { outcome.remaining } else { 0 };
    (outcome.allowed, remaining, outcome.retry_after_ns)
}

/// The answer, unless the key has too many limits.
fn accepted<T>(answer: Result<T>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(Error::InvalidLimit(_)) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_limit_admits_what_it_would_admit_alone() {
    let (compared, denied, repaired) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(0_u64));
    let algorithm = prop::sample::select(Algorithm::ALL.to_vec());
    let input = (algorithm, prop::collection::vec(step(), 1..80));
    let mut runner = TestRunner::new(seeded::config(CASES));
    let result = runner.run(&input, |(algorithm, steps)| {
        let limits = pool(algorithm);
        let reversed = {
            let mut rates = limits[0].rates().to_vec();
            rates.reverse();
            Limit::new(&rates).unwrap()
        };
        let mut both = Side::new(World::new(SyncMode::Always));
        // One clock for both.
        let mut alone = Side::new(World { disk: SimDisk::new(), ..both.world.clone() });
        let compare = |both: &Outcome, alone: &Outcome| {
            compared.set(compared.get() + 1);
            denied.set(denied.get() + u64::from(!both.allowed));
            assert_eq!(shown(both), shown(alone));
        };
        for step in &steps {
            match step {
                Step::Check { limit, cost } => {
                    let got = both.engine().check("k", *cost, Some(&limits[*limit]));
                    // With eight others in use, A is refused if its own has given way: that admits less.
                    if let (0, Some(got)) = (limit, accepted(got)) {
                        compare(&got, &alone.engine().check("k", *cost, Some(&limits[0])).unwrap());
                    }
                }
                Step::Reversed { cost } => {
                    let Some(got) = accepted(both.engine().check("k", *cost, Some(&reversed))) else { continue };
                    compare(&got, &alone.engine().check("k", *cost, Some(&limits[0])).unwrap());
                }
                Step::CheckAll { limits: named, cost } => {
                    let items: Vec<_> = named
                        .iter()
                        .map(|limit| Item { key: "k", cost: *cost, limit: Some(&limits[*limit]) })
                        .collect();
                    let Some(got) = accepted(both.engine().check_all(&items)) else { continue };
                    if let Some(at) = named.iter().position(|limit| *limit == 0) {
                        let alone_would = alone.engine().peek("k", *cost, Some(&limits[0])).unwrap();
                        assert_eq!(got.items[at].allowed, alone_would.allowed);
                        if got.allowed {
                            compare(&got.items[at], &alone.engine().check("k", *cost, Some(&limits[0])).unwrap());
                        }
                    }
                }
                Step::Peek { limit } => {
                    let got = both.engine().peek("k", 1, Some(&limits[*limit]));
                    if let (0, Some(got)) = (limit, accepted(got)) {
                        assert_eq!(shown(&got), shown(&alone.engine().peek("k", 1, Some(&limits[0])).unwrap()));
                    }
                }
                Step::Advance(ns) => both.world.clock.advance_ns(*ns),
                Step::Reopen { kill } => {
                    both.reopen(*kill);
                    alone.reopen(*kill);
                }
                Step::Compact => both.engine().compact().unwrap(),
                Step::Repair => repaired.set(repaired.get() + u64::from(both.repair())),
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    for (name, count) in [
        ("independence_compared", compared.get()),
        ("independence_denied", denied.get()),
        ("independence_repaired", repaired.get()),
    ] {
        evidence::record(name, count);
        assert!(count >= u64::from(CASES) / 2, "the cases missed what they are for: {name} {count}");
    }
}
