//! Every crash state of short scenarios on a simulated disk.

use flint_torture::crash::{Effort, Tally, sweep};
use flint_torture::expected_states::record;
use flint_torture::harness::MODES;
use flint_torture::random::Random;
use flint_torture::scenario::{self, Scenario};

fn effort() -> Effort {
    Effort { exhaustive: 6, random: 10, nested_every: 6, twice_every: 10, look_every: 16, seed: Random::seed() }
}

fn sweep_all(scenarios: &[Scenario], effort: Effort) -> Tally {
    let tally = Tally::default();
    for scenario in scenarios {
        for sync in MODES {
            let expected = record(scenario, sync);
            // Migrating the large sample takes some milliseconds each time: less of it.
            let large = scenario.before.iter().any(|(_, bytes)| bytes.len() > 100_000);
            let less = Effort { exhaustive: 1, random: 1, nested_every: 300, look_every: 100, ..effort };
            sweep(&scenario.name, &expected, if large { less } else { effort }, &tally);
        }
    }
    tally
}

#[test]
fn every_scenario_does_what_it_is_for() {
    for scenario in scenario::all() {
        for sync in MODES {
            let expected = record(&scenario, sync);
            assert!(expected.disks.len() > 50, "{} has {} operations", scenario.name, expected.disks.len());
            assert!(expected.compactions > 0 || scenario.name.starts_with("calls"), "{}", scenario.name);
            if scenario.name.starts_with("rotation") {
                let removed = expected.removed_segments();
                assert!(expected.rotations > 2 && removed > 0, "{sync:?}: {} and {removed}", expected.rotations);
            }
            let again = record(&scenario, sync);
            assert_eq!(
                again.disks.len(),
                expected.disks.len(),
                "{} makes the same operations every time",
                scenario.name
            );
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_any_crash_state() {
    let tally = sweep_all(&scenario::all(), effort());
    tally.record();
    assert!(tally.total() >= 50_000, "{tally:?}");
}

#[test]
fn nothing_acknowledged_is_lost_in_crash_states_of_random_scenarios() {
    let effort = effort();
    let scenarios: Vec<_> = (0..4).map(|n| scenario::random(effort.seed.wrapping_add(n), 40)).collect();
    let tally = sweep_all(&scenarios, Effort { nested_every: 12, ..effort });
    tally.record();
    assert!(tally.total() >= 4_000, "{tally:?}");
}
