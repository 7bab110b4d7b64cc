//! Makes the data directories of `tests/golden`: `golden_store DIRECTORY` writes one of each kind into it and prints the wall
//! time, in nanoseconds, at which it left them. Run it through `scripts/make_golden_store.py`, which adds what is to be found
//! in them.
//!
//! The engine runs on a simulated disk with small segments and a clock that does not advance, so that the same version makes the
//! same directories but for the store's number and the process id.

#![expect(clippy::print_stdout, reason = "the script reads it")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use flint_core::Engine;
use flint_core::clock::{Clock, ManualClock};
use flint_core::engine::{CallId, Check, CheckAll, Idempotent, Item, OnChange, Options, SyncMode};
use flint_core::files::parse_segment_name;
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::SimDisk;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const MS: u64 = 1_000_000;
const START_NS: u64 = 1_750_000_000_000 * MS;

struct World {
    disk: SimDisk,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self { disk: SimDisk::new(), clock: Arc::new(ManualClock::new(START_NS)) }
    }

    fn open(&self) -> Result<Engine> {
        let options = Options {
            sync: SyncMode::Batch,
            segment_bytes: 16 << 10,
            threads: false,
            clock: self.clock.clone(),
            ..Options::default()
        };
        Ok(Engine::open_in(self.disk.dir(), options)?)
    }

    /// Fails unless another process would find what this one knows.
    fn compare(&self, live: &Engine) -> Result {
        let found = Self { disk: self.disk.kill(), clock: self.clock.clone() };
        let found = found.open()?;
        let statuses = live.list(None, None, None)?;
        if found.list(None, None, None)? != statuses || found.images()? != live.images()? {
            return Err("the store does not hold what the engine knows".into());
        }
        for status in statuses {
            if found.history(&status.key, usize::MAX)? != live.history(&status.key, usize::MAX)? {
                return Err(format!("the history of {:?} differs", status.key).into());
            }
        }
        Ok(())
    }

    fn write(&self, to: &Path) -> Result {
        std::fs::create_dir_all(to)?;
        for name in self.disk.dir().list()? {
            let content = self.disk.read_file(&name).ok_or("a listed file is missing")?;
            std::fs::write(to.join(name), content)?;
        }
        Ok(())
    }
}

fn limit(text: &str, algorithm: Algorithm) -> Result<Limit> {
    Ok(parse_limit(text, algorithm)?)
}

fn item(key: &str, cost: u64) -> Item<'_> {
    Item { key, cost, limit: None }
}

fn long_key() -> String {
    "k".repeat(512)
}

const UNUSUAL: [&str; 5] = ["ключ:ü/日本語", "with space", "quote\"back\\slash", "tab\tline\nfeed", "🔑"];

/// Every kind of record.
fn first_half(engine: &Engine, clock: &ManualClock) -> Result {
    use Algorithm::{FixedWindowCounter, SlidingWindowLog, TokenBucket};
    for (key, text, algorithm) in [
        ("bucket", "10/minute burst 25", TokenBucket),
        ("window", "10/minute", FixedWindowCounter),
        ("sliding", "10/minute", SlidingWindowLog),
        ("both", "5/s; 40/hour; 200/week", TokenBucket),
        ("windows", "7/10s; 30/hour", FixedWindowCounter),
        ("slidings", "7/10s; 30/hour", SlidingWindowLog),
        ("eight", "8/s; 70/m; 600/h; 9/2s; 80/2m; 700/2h; 9000/d; 90000/w", TokenBucket),
        ("changed", "10/minute", TokenBucket),
        ("refilled", "10/hour", FixedWindowCounter),
        ("forgotten", "10/hour", SlidingWindowLog),
        ("largest", "9223372036854775807/day", FixedWindowCounter),
    ] {
        engine.limit(key, &limit(text, algorithm)?, OnChange::Keep)?;
        clock.advance_ns(MS);
    }
    let long = long_key();
    let many: Vec<(&str, Limit, OnChange)> = UNUSUAL
        .iter()
        .copied()
        .chain([long.as_str()])
        .map(|key| Ok((key, limit("3/day", TokenBucket)?, OnChange::Keep)))
        .collect::<Result<_>>()?;
    engine.limit_many(&many)?;
    for key in
        ["bucket", "window", "sliding", "windows", "slidings", "both", "eight", "changed", "refilled", "forgotten"]
    {
        for cost in [1, 2, 3, 4, 1] {
            clock.advance_ns(37 * MS + 5_000);
            engine.check(key, cost, None)?;
        }
    }
    engine.check("largest", 1 << 62, None)?;
    for (key, ..) in &many {
        engine.check(key, 2, None)?;
        engine.check(key, 2, None)?;
    }
    engine.check_all(&[item("bucket", 2), item("both", 1), item(&long, 1)])?;
    engine.check_all(&[item("bucket", 1), item(&long, 3), item("largest", 7)])?;
    let brought = limit("4/hour; 6/day", SlidingWindowLog)?;
    for cost in [3, 2, 1] {
        engine.check("brought", cost, Some(&brought))?;
    }
    engine.check_all(&[Item { key: "brought together", cost: 2, limit: Some(&brought) }, item("window", 1)])?;
    engine.limit("changed", &limit("20/minute; 10/minute", TokenBucket)?, OnChange::Keep)?;
    engine.reset("refilled")?;
    engine.delete("forgotten")?;
    engine.limit("forgotten", &limit("2/hour", TokenBucket)?, OnChange::Keep)?;
    engine.check("forgotten", 2, None)?;
    several(engine, clock)?;
    // After a minute the totals of what was denied go into the log.
    clock.advance_ns(61_000 * MS);
    Ok(engine.turn()?)
}

/// Limits of one key that calls bring, each with a counter of its own.
fn several(engine: &Engine, clock: &ManualClock) -> Result {
    use Algorithm::{FixedWindowCounter, SlidingWindowLog, TokenBucket};
    let (daily, burst) = (limit("20/day", FixedWindowCounter)?, limit("5/minute; 9/hour", TokenBucket)?);
    let together = limit("7/hour", SlidingWindowLog)?;
    for key in ["several", "several replaced", "several refilled", "several forgotten"] {
        clock.advance_ns(3 * MS);
        engine.check(key, 2, Some(&daily))?;
        engine.check(key, 3, Some(&burst))?;
        engine.check(key, 3, Some(&burst))?;
    }
    let item = |limit, cost| Item { key: "several", cost, limit: Some(limit) };
    engine.check_all(&[item(&together, 1), item(&daily, 4), item(&burst, 1)])?;
    engine.check_all(&[item(&together, 2), item(&daily, 1)])?;
    engine.limit("several replaced", &limit("9/hour; 30/day", TokenBucket)?, OnChange::Keep)?;
    engine.reset("several refilled")?;
    engine.delete("several forgotten")?;
    // The ninth takes the place of the first, which is full again.
    for count in 1..=9 {
        clock.advance_ns(1_100 * MS);
        engine.check("crowded", 1, Some(&limit(&format!("{count}/{count}s"), TokenBucket)?))?;
    }
    Ok(())
}

/// Enough to fill segments.
fn rotate(engine: &Engine, clock: &ManualClock, key: &str) -> Result {
    engine.limit(key, &limit("200/s; 100000/day", Algorithm::TokenBucket)?, OnChange::Keep)?;
    let before = engine.counters().rotations;
    while engine.counters().rotations < before + 1 {
        clock.advance_ns(11 * MS);
        engine.check(key, 1, None)?;
    }
    Ok(engine.turn()?)
}

/// What the log holds behind the snapshot: the same keys again, and some that the snapshot does not have.
fn second_half(engine: &Engine, clock: &ManualClock) -> Result {
    let limited = limit("6/hour", Algorithm::FixedWindowCounter)?;
    engine.limit("changed", &limit("30/minute", Algorithm::SlidingWindowLog)?, OnChange::Keep)?;
    engine.limit("window", &limit("10/minute; 50/hour", Algorithm::FixedWindowCounter)?, OnChange::Reset)?;
    engine.delete("both")?;
    for (key, cost) in [("bucket", 5), ("window", 4), ("sliding", 6), ("changed", 3), ("slidings", 2), ("eight", 1)] {
        clock.advance_ns(5 * MS);
        engine.check(key, cost, None)?;
    }
    engine.check("brought late", 6, Some(&limited))?;
    engine.check("brought late", 1, None)?;
    engine.check_all(&[item("bucket", 1), item("sliding", 1), item("🔑", 1)])?;
    engine.reset("windows")?;
    engine.check("several", 2, Some(&limit("20/day", Algorithm::FixedWindowCounter)?))?;
    engine.check("crowded", 1, Some(&limit("7/7s", Algorithm::TokenBucket)?))?;
    clock.advance_ns(61_000 * MS);
    engine.turn()?;
    engine.check("bucket", 1, None)?;
    engine.check("sliding", 3, None)?;
    Ok(())
}

/// Calls that may be repeated, the `from`th and the following: one key, one that brings its limit, several.
fn repeatable(engine: &Engine, clock: &ManualClock, from: u8) -> Result {
    let call = |number: u8| CallId { id: [from + number; 16], fingerprint: [0xf0 | number; 8] };
    let brought = limit("50/minute; 70/hour", Algorithm::TokenBucket)?;
    let with_limit = Item { key: "brought once", cost: 3, limit: Some(&brought) };
    for (item, number) in [item("busy", 2), with_limit].iter().zip(0..) {
        clock.advance_ns(3 * MS + 1_000);
        engine.run(&Idempotent { operation: Check::new(*item), call: call(number) })?;
    }
    let items = [item("busy", 1), with_limit, item("largest", 5)];
    engine.run(&Idempotent { operation: CheckAll { items: &items }, call: call(3) })?;
    Ok(())
}

fn filled(world: &World, with_repeatable: bool) -> Result<Engine> {
    let engine = world.open()?;
    first_half(&engine, &world.clock)?;
    rotate(&engine, &world.clock, "busy")?;
    if with_repeatable {
        repeatable(&engine, &world.clock, 0x10)?;
        // A denial leaves nothing in the files but the key's totals.
        let denied = CallId { id: [0x1f; 16], fingerprint: [0xff; 8] };
        engine.run(&Idempotent { operation: Check::new(item("forgotten", 1)), call: denied })?;
    }
    engine.compact()?;
    rotate(&engine, &world.clock, "busy later")?;
    second_half(&engine, &world.clock)?;
    if with_repeatable {
        repeatable(&engine, &world.clock, 0x20)?;
    }
    Ok(engine)
}

/// Takes the last 8 bytes of the newest record away, as when its page reached the disk too early.
fn tear(disk: &SimDisk) -> Result {
    let names = disk.dir().list()?;
    let newest = names.iter().filter(|name| parse_segment_name(name).is_some()).max().ok_or("there is no segment")?;
    let mut content = disk.read_file(newest).ok_or("a listed file is missing")?;
    let end = content.iter().rposition(|byte| *byte != 0).ok_or("an empty segment")? + 1;
    content[end.next_multiple_of(8) - 8..].fill(0);
    disk.write_file(newest, &content);
    Ok(())
}

fn main() -> Result {
    let to = std::env::args_os().nth(1).ok_or("usage: golden_store DIRECTORY")?;
    let to = Path::new(&to);

    let world = World::new();
    let engine = filled(&world, false)?;
    world.compare(&engine)?;
    let crashed = World { disk: world.disk.kill(), clock: world.clock.clone() };
    crashed.write(&to.join("crashed"))?;
    tear(&crashed.disk)?;
    crashed.write(&to.join("torn"))?;
    engine.close()?;
    world.write(&to.join("closed"))?;
    let moment = world.clock.wall_ns();

    let world = World::new();
    let engine = filled(&world, true)?;
    world.compare(&engine)?;
    let killed = World { disk: world.disk.kill(), clock: world.clock.clone() };
    killed.write(&to.join("repeatable"))?;
    println!("{}", moment.max(killed.clock.wall_ns()));
    Ok(())
}
