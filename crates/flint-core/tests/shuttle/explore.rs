//! Running a scenario under many schedules and counting them.
//!
//! Half of the schedules choose the next thread at random, half follow PCT (random priorities that change at a few random
//! points), which finds what needs long stretches of one thread. A failure prints its schedule, for `shuttle::replay`, and
//! the seed; `FLINT_TEST_SEED` sets it.

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};

/// Points at which PCT changes a priority.
const DEPTH: usize = 4;
/// Many times what a scenario takes. A livelock takes more.
const MAX_STEPS: usize = 50_000;
/// Bytes: recovery and hashing need more than shuttle's 60 KiB.
const STACK: usize = 512 << 10;

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = STACK;
    config.max_steps = MaxSteps::FailAfter(MAX_STEPS);
    // What it warns of is said in CONTRIBUTING.md: atomics are sequentially consistent here.
    config.silence_warnings = true;
    config
}

fn run(scheduler: impl Scheduler + 'static, test: &Arc<impl Fn() + Send + Sync + 'static>) -> usize {
    let test = test.clone();
    Runner::new(scheduler, config()).run(move || test())
}

/// Runs `test` under exactly `schedules` schedules.
#[expect(clippy::print_stdout, reason = "the seed belongs to the report of a failure, the count to the evidence")]
pub(crate) fn explore(schedules: usize, test: impl Fn() + Send + Sync + 'static) {
    let seed = match std::env::var("FLINT_TEST_SEED") {
        Ok(text) => text.parse().expect("FLINT_TEST_SEED is a whole number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("FLINT_TEST_SEED={seed}");
    let test = Arc::new(test);
    let half = schedules / 2;
    let done = run(RandomScheduler::new_from_seed(seed, schedules - half), &test)
        + run(PctScheduler::new_from_seed(seed, DEPTH, half), &test);
    assert_eq!(done, schedules, "schedules that were run");
    println!("evidence: shuttle_schedules {done}");
    if let Some(path) = std::env::var_os("FLINT_EVIDENCE") {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        // One write, so that lines of parallel tests do not mix.
        let line = format!("shuttle_schedules {done}\n");
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the evidence file can be written");
    }
}
