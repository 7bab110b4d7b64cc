//! Every storage operation of short scenarios fails once, and from then on.

use flint_torture::expected_states::record;
use flint_torture::faults::{FAULTS, Tally, sweep};
use flint_torture::harness::MODES;
use flint_torture::random::Random;
use flint_torture::scenario::{self, Scenario};

fn sweep_all(scenarios: &[Scenario]) {
    let tally = Tally::default();
    for scenario in scenarios {
        for sync in MODES {
            let expected = record(scenario, sync);
            for fault in FAULTS {
                for sticky in [false, true] {
                    sweep(scenario, &expected, fault, sticky, &tally);
                }
            }
        }
    }
    tally.record();
}

#[test]
fn a_fault_at_any_operation_breaks_no_promise() {
    let mut scenarios = scenario::all();
    // Migrating the large sample takes some milliseconds each time; the small one with a snapshot makes the same kinds of
    // operations.
    scenarios.retain(|scenario| scenario.before.iter().all(|(_, bytes)| bytes.len() <= 100_000));
    sweep_all(&scenarios);
}

#[test]
fn a_fault_at_any_operation_of_a_random_scenario_breaks_no_promise() {
    let seed = Random::seed();
    // The first one has a death after a set wall clock, for whose anchor there is no room.
    let seeds = [16_322_291_722_680_708_839, seed, seed.wrapping_add(1), seed.wrapping_add(2)];
    let scenarios: Vec<_> = seeds.map(|seed| scenario::random(seed, 40)).into();
    sweep_all(&scenarios);
}
