//! The long run: `soak [--states N] [--kills N]`. A million crash states, faults in random scenarios, a thousand deaths of real
//! processes, and everything that can happen to the bytes of a store at rest. `make soak` runs it, then the fuzzers, for a
//! minute each.

use std::process::ExitCode;
use std::time::Instant;

use flint_torture::crash::{self, Effort};
use flint_torture::expected_states::record;
use flint_torture::faults::{self, FAULTS};
use flint_torture::harness::MODES;
use flint_torture::random::Random;
use flint_torture::{corruption, evidence, kill, scenario};

/// Random scenarios that get a fault at every operation.
const FAULTY_SCENARIOS: u64 = 20;
/// Seeds of damaged stores.
const DAMAGED: u64 = 2;

fn main() -> ExitCode {
    let (mut states, mut kills) = (1_000_000, 1_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = arguments.next().and_then(|text| text.parse().ok());
        match (argument.as_str(), number) {
            ("--states", Some(number)) => states = number,
            ("--kills", Some(number)) => kills = number,
            _ => {
                say("soak: [--states N] [--kills N]");
                return ExitCode::from(2);
            }
        }
    }
    let seed = Random::seed();
    timed("crash states", || crash_states(states, seed));
    timed("faults", || faulty_scenarios(seed));
    timed("kills", || {
        let report = kill::run(usize::try_from(kills).unwrap_or(usize::MAX), seed);
        evidence::record("kill_points", report.stores + report.calls);
        evidence::record("kill_points_nested", report.nested);
    });
    timed("damage", || {
        let mut counts = corruption::old_directories();
        for n in 0..DAMAGED {
            counts += corruption::every_kind(seed.wrapping_add(n));
        }
        counts.record();
    });
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "a program")]
fn say(text: &str) {
    eprintln!("{text}");
}

fn timed(what: &str, run: impl FnOnce()) {
    let began = Instant::now();
    run();
    say(&format!("{what}: {} s", began.elapsed().as_secs()));
}

/// The scenarios of the tests with more of each kind of outcome, then random scenarios until there are enough states.
fn crash_states(states: u64, seed: u64) {
    let effort = Effort { exhaustive: 8, random: 30, nested_every: 4, twice_every: 30, look_every: 16, seed };
    let tally = crash::Tally::default();
    let mut executed = 0;
    for scenario in scenario::all() {
        // Migrating the large sample takes some milliseconds each time: less of it.
        let large = scenario.before.iter().any(|(_, bytes)| bytes.len() > 100_000);
        let effort = if large { Effort { exhaustive: 3, random: 4, nested_every: 100, ..effort } } else { effort };
        for sync in MODES {
            crash::sweep(&scenario.name, &record(&scenario, sync), effort, &tally);
            executed += 1;
        }
    }
    let effort = Effort { exhaustive: 6, random: 12, nested_every: 8, ..effort };
    for n in 0.. {
        if tally.total() >= states {
            break;
        }
        let scenario = scenario::random(seed.wrapping_add(n), 60);
        for sync in MODES {
            crash::sweep(&scenario.name, &record(&scenario, sync), effort, &tally);
            executed += 1;
        }
    }
    evidence::record("scenarios", executed);
    evidence::record("crash_states_in_all", tally.total());
    tally.record();
}

fn faulty_scenarios(seed: u64) {
    let tally = faults::Tally::default();
    for n in 0..FAULTY_SCENARIOS {
        let scenario = scenario::random(seed.wrapping_add(n), 40);
        for sync in MODES {
            let expected = record(&scenario, sync);
            for fault in FAULTS {
                for sticky in [false, true] {
                    faults::sweep(&scenario, &expected, fault, sticky, &tally);
                }
            }
        }
    }
    tally.record();
}
