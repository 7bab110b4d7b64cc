//! Every crash state of short stories on a simulated disk.

use flint_torture::crash::{Effort, Tally, sweep};
use flint_torture::ledger::tell;
use flint_torture::random::Random;
use flint_torture::stage::MODES;
use flint_torture::story::{self, Story};

fn effort() -> Effort {
    Effort { exhaustive: 6, random: 10, nested_every: 6, twice_every: 30, look_every: 16, seed: Random::seed() }
}

fn sweep_all(stories: &[Story], effort: Effort) -> Tally {
    let tally = Tally::default();
    for story in stories {
        for sync in MODES {
            let ledger = tell(story, sync);
            // Migrating the large sample takes some milliseconds each time: less of it.
            let large = story.before.iter().any(|(_, bytes)| bytes.len() > 100_000);
            let less = Effort { exhaustive: 1, random: 1, nested_every: 300, look_every: 100, ..effort };
            sweep(&story.name, &ledger, if large { less } else { effort }, &tally);
        }
    }
    tally
}

#[test]
fn every_story_does_what_it_is_for() {
    for story in story::all() {
        for sync in MODES {
            let ledger = tell(&story, sync);
            assert!(ledger.disks.len() > 50, "{} has {} operations", story.name, ledger.disks.len());
            assert!(ledger.compactions > 0 || story.name == "calls", "{}", story.name);
            if story.name == "rotation" {
                let removed = ledger.removed_segments();
                assert!(ledger.rotations > 2 && removed > 0, "{sync:?}: {} and {removed}", ledger.rotations);
            }
            let again = tell(&story, sync);
            assert_eq!(again.disks.len(), ledger.disks.len(), "{} makes the same operations every time", story.name);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_in_any_crash_state() {
    let tally = sweep_all(&story::all(), effort());
    tally.record();
    assert!(tally.total() >= 50_000, "{tally:?}");
}

#[test]
fn nothing_acknowledged_is_lost_in_crash_states_of_random_stories() {
    let effort = effort();
    let stories: Vec<_> = (0..4).map(|n| story::random(effort.seed.wrapping_add(n), 40)).collect();
    let tally = sweep_all(&stories, Effort { nested_every: 12, ..effort });
    tally.record();
    assert!(tally.total() >= 4_000, "{tally:?}");
}
