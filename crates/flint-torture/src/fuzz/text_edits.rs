//! Edits of text: snapshots, and the files of old releases.

use super::editable::{EditableDirectory, decimals_of, rfind, set_decimal};
use super::script::Script;

/// A change to a text: a number, some bytes, or a word of the format.
fn text_step(text: &mut Vec<u8>, script: &mut Script<'_>) {
    const WORDS: [&[u8]; 12] = [
        b"token_bucket",
        b"sliding_window_log",
        b"fixed_window_counter",
        b",\"origin\":\"call\"",
        b",\"out_of_bounds\":true",
        b",\"totals\":[1,2,3,4,5,6,7]",
        b"ALLOW",
        b"RESET",
        b"per_seconds",
        b"null",
        b"[]",
        b",",
    ];
    let at = usize::from(script.byte()) * text.len() / 256;
    match script.byte() % 12 {
        0..=7 => {
            let numbers = decimals_of(text);
            let index = script.below(numbers.len());
            if let Some(&(_, old)) = numbers.get(index) {
                set_decimal(text, index, script.number(old));
            }
        }
        8 => {
            if let Some(byte) = text.get_mut(at) {
                *byte = script.byte();
            }
        }
        9 => {
            let end = (at + script.below(24)).min(text.len());
            text.drain(at..end);
        }
        10 if script.chance() => key_of_length(text, script),
        10 => drop(text.splice(at..at, WORDS[script.below(WORDS.len())].iter().copied())),
        _ => {
            // A word of the format in place of another.
            let (old, new) = (WORDS[script.below(3)], WORDS[script.below(3)]);
            if let Some(at) = rfind(text, old) {
                text.splice(at..at + old.len(), new.iter().copied());
            }
        }
    }
}

/// A key at one of the bounds on its length.
fn key_of_length(text: &mut Vec<u8>, script: &mut Script<'_>) {
    const FIELD: &[u8] = b"\"key\":\"";
    const LENGTHS: [usize; 6] = [0, 1, 512, 513, 65_535, 65_536];
    let Some(start) = rfind(text, FIELD).map(|at| at + FIELD.len()) else { return };
    let Some(len) = text[start..].iter().position(|&byte| byte == b'"') else { return };
    text.splice(start..start + len, std::iter::repeat_n(b'k', LENGTHS[script.below(LENGTHS.len())]));
    if script.chance() {
        let end = start + text[start..].iter().position(|&byte| byte == b'"').unwrap_or(0) + 1;
        text.splice(end..end, b",\"out_of_bounds\":true".iter().copied());
    }
}

/// Deletes, copies or swaps lines.
fn lines_step(lines: &mut Vec<Vec<u8>>, script: &mut Script<'_>) {
    let (a, b) = (script.below(lines.len()), script.below(lines.len()));
    if lines.is_empty() {
        return;
    }
    match script.byte() % 3 {
        0 => drop(lines.remove(a)),
        1 => {
            let copy = lines[a].clone();
            lines.insert(b, copy);
        }
        _ => lines.swap(a, b),
    }
}

pub(super) fn snapshot_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let index = script.below(editable.snapshots.len());
    let Some(snapshot) = editable.snapshots.get_mut(index) else { return };
    match script.byte() % 10 {
        0..=4 => {
            let last = snapshot.lines.len().saturating_sub(1);
            let line = usize::from(script.byte());
            let line = if line == 255 { last } else { line % (last + 1) };
            if let Some(line) = snapshot.lines.get_mut(line) {
                text_step(line, script);
            }
        }
        5 | 6 => {
            lines_step(&mut snapshot.lines, script);
            // The number of lines in the trailer: the first after the one of ids.
            let keys = snapshot.lines.len().saturating_sub(2) as u64;
            if let Some(trailer) = snapshot.lines.last_mut().filter(|line| line.starts_with(b"{\"end\"")) {
                set_decimal(trailer, 2, keys);
            }
        }
        7 => {
            // Start and end, in all places that name them.
            let start = script.number(snapshot.named);
            let end = if script.chance() { start } else { script.number(start) };
            snapshot.named = start;
            if let Some(header) = snapshot.lines.first_mut() {
                let at = rfind(header, b"\"start\":").unwrap_or(0);
                if let Some(index) = decimals_of(header).iter().position(|(range, _)| range.start > at) {
                    set_decimal(header, index, start);
                }
            }
            if let Some(trailer) = snapshot.lines.last_mut() {
                set_decimal(trailer, 0, end);
            }
        }
        8 => snapshot.named = script.number(snapshot.named),
        _ => snapshot.wrong_sha256 = true,
    }
}

pub(super) fn old_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    match (script.byte() % 8, &mut editable.old_log, &mut editable.old_state) {
        (0..=2, _, Some(state)) => text_step(state, script),
        (0..=5, Some(log), _) => {
            let line = script.below(log.len());
            if let Some(line) = log.get_mut(line) {
                text_step(line, script);
            }
        }
        (6, Some(log), _) => lines_step(log, script),
        (_, Some(log), _) if script.chance() => {
            // A key of a length that no test of a call would let through.
            let len = usize::from(script.byte()) * 300;
            let name = "k".repeat(len);
            let line = format!(
                "{{\"ts\":\"2027-01-01T00:00:15Z\",\"event\":{{\"type\":\"LIMIT_CONFIGURED\",\"config\":{{\"key\":\"{name}\",\
                 \"rate\":7,\"per_seconds\":60,\"algorithm\":\"token_bucket\"}}}}}}"
            );
            log.push(line.into_bytes());
        }
        _ => editable.old_wrong = true,
    }
}
