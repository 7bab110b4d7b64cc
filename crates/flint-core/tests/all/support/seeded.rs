//! Random tests that can be run again: the seed is printed (cargo shows it when the test fails) and taken from
//! `FLINT_TEST_SEED` when that is set.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// `cases` cases from a printed seed.
#[expect(clippy::print_stdout, reason = "the seed belongs to the report of a failure")]
pub(crate) fn config(cases: u32) -> Config {
    let seed = match std::env::var("FLINT_TEST_SEED") {
        Ok(text) => text.parse().expect("FLINT_TEST_SEED is a whole number"),
        Err(_) => RandomState::new().hash_one(0),
    };
    println!("FLINT_TEST_SEED={seed}");
    Config { cases, rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..Config::default() }
}

/// Numbers of every magnitude, and the edges.
pub(crate) fn wide() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => (any::<u64>(), 0u32..64).prop_map(|(n, shift)| n >> shift),
        1 => prop::sample::select(vec![0, 1, u64::MAX - 1, u64::MAX]),
    ]
}
