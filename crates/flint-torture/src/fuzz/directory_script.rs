//! An input of the directories target: a store to start from and the edits that are made to it.

use super::editable::EditableDirectory;
use super::file_edits::{file_step, other_step, shift, take_over};
use super::log_edits::{header_step, list_step, record_step, seal_step};
use super::script::Script;
use super::stores;
use super::text_edits::{old_step, snapshot_step};

/// Changes in one script at most.
const MAX_STEPS: usize = 24;

/// The directory that a script makes.
pub(super) fn run(script: &[u8]) -> EditableDirectory {
    let mut script = Script(script);
    let all = stores::all();
    let mut editable = all[script.below(all.len())].clone();
    for _ in 0..MAX_STEPS {
        if script.0.is_empty() {
            break;
        }
        step(&mut editable, &mut script);
    }
    editable
}

fn step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    match script.byte() % 32 {
        0..=7 => record_step(editable, script),
        8..=11 => list_step(editable, script),
        12..=14 => header_step(editable, script),
        15 | 16 => seal_step(editable, script),
        17..=22 => snapshot_step(editable, script),
        23..=26 => old_step(editable, script),
        27..=29 => file_step(editable, script),
        30 => other_step(editable, script),
        _ if script.chance() => shift(editable, script),
        _ => take_over(editable, script),
    }
}

/// One script for each store as it is, and some that damage it in common ways.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let bases = u8::try_from(stores::all().len()).unwrap_or(u8::MAX);
    let mut seeds: Vec<Vec<u8>> = (0..bases).map(|base| vec![base]).collect();
    for base in 0..bases {
        for step in (0..32).step_by(3) {
            seeds.push(vec![base, step, 0, step, step / 2, 20, 1, 8, 0, 3, 0]);
        }
    }
    for base in 0..bases {
        // The edges of 64 bits, in the sequence numbers and in the ids to come.
        for edge in [22, 23, 24, 26, 27] {
            seeds.push(vec![base, 31, 1, 0, edge]);
            seeds.push(vec![base, 31, 1, 1, edge]);
            seeds.push(vec![base, 17, 0, 0, 255, 0, 0, 1, edge]);
            seeds.push(vec![base, 15, 0, 2, edge]);
            seeds.push(vec![base, 15, 0, 3, edge]);
            for line in 0..4 {
                seeds.push(vec![base, 17, 0, 0, line, 0, 0, 0, edge]);
                seeds.push(vec![base, 17, 0, 0, line, 0, 0, 3, edge]);
            }
        }
    }
    seeds
}
