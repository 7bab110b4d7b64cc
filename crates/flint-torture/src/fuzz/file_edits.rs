//! Edits of whole files, and of all of a store.

use flint_core::files;

use super::editable::{EditableDirectory, Segment, decimals_of, rfind, set_decimal};
use super::log_edits;
use super::script::Script;
use super::stores;

/// The whole store at later sequence numbers.
pub(super) fn shift(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let Some(first) = editable.segments.first_mut() else { return };
    let old = first.first_seq.unwrap_or(1);
    let first_seq = if script.chance() { u64::MAX - u64::from(script.byte()) } else { script.number(old) };
    let delta = first_seq.wrapping_sub(old);
    first.first_seq = Some(first_seq);
    let marks = editable.segments.iter_mut().flat_map(|segment| &mut segment.records).filter(|record| record.kind == 8);
    for word in marks.flat_map(|record| record.body.chunks_exact_mut(8).skip(1)) {
        let moved = u64::from_le_bytes(word.try_into().unwrap_or_default()).wrapping_add(delta);
        word.copy_from_slice(&moved.to_le_bytes());
    }
    for snapshot in &mut editable.snapshots {
        snapshot.named = snapshot.named.wrapping_add(delta);
        let last = snapshot.lines.len().saturating_sub(1);
        for (number, line) in snapshot.lines.iter_mut().enumerate() {
            let field: &[u8] = if number == 0 { b"\"start\":" } else { b"\"seq\":" };
            let at = if number == last { Some(0) } else { rfind(line, field) };
            let numbers = decimals_of(line);
            if let Some(index) = at.and_then(|at| numbers.iter().position(|(range, _)| range.start >= at)) {
                set_decimal(line, index, numbers[index].1.wrapping_add(delta));
            }
        }
    }
}

/// Whole files: away, twice, under another name, too long, too short.
pub(super) fn file_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let what = script.byte() % 12;
    let (a, b) = (script.below(editable.segments.len()), script.below(editable.segments.len()));
    match what {
        0 if a < editable.segments.len() => drop(editable.segments.remove(a)),
        1 if a < editable.segments.len() => {
            let mut copy = editable.segments[a].clone();
            copy.named = Some(script.number(40));
            editable.segments.push(copy);
        }
        2 if a < editable.segments.len() => editable.segments[a].named = Some(script.number(40)),
        3 if !editable.segments.is_empty() => editable.segments.swap(a, b),
        4 if a < editable.segments.len() => editable.segments[a].migrating ^= true,
        5 if a < editable.segments.len() => {
            let bytes = [-1, -64, -4096, 8, 4096, -8192, -16_383, -16_384][script.below(8)];
            editable.segments[a].cut = bytes;
        }
        6 => drop(editable.snapshots.pop()),
        7 => {
            if let Some(mut copy) = editable.snapshots.first().cloned() {
                copy.named = script.number(copy.named);
                editable.snapshots.push(copy);
            }
        }
        8 => editable.old_log = None,
        9 => editable.old_state = None,
        10 => {
            // An empty segment behind the last one.
            if let Some(last) = editable.segments.last() {
                let store_id = last.store_id;
                editable.segments.push(Segment { version: 1, store_id, len: 16 << 10, ..Segment::default() });
            }
        }
        _ => {
            editable.segments.truncate(a);
        }
    }
}

pub(super) fn other_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    const NAMES: [&str; 8] = [
        files::LOCK,
        files::SPARE,
        files::SNAPSHOT_TMP,
        files::LEGACY_AOF,
        files::LEGACY_SNAPSHOT,
        "flint-1.aof",
        "flint-00000000000000000000.snapshot",
        "flint-18446744073709551615.aof",
    ];
    const CONTENTS: [&[u8]; 7] = [
        b"",
        b"1\nstore 0123456789abcdef\n",
        b"1\nstore ffffffffffffffff\n",
        b"\xff\xfe\n",
        b"{}\n",
        files::TOMBSTONE.as_bytes(),
        &[0; 4096],
    ];
    let name = NAMES[script.below(NAMES.len())];
    let content = CONTENTS[script.below(CONTENTS.len())];
    if script.chance() {
        editable.other.remove(name);
    } else {
        editable.other.insert(name.to_owned(), content.to_vec());
    }
}

/// A part of another store.
pub(super) fn take_over(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let all = stores::all();
    let other = &all[script.below(all.len())];
    match script.byte() % 5 {
        0 => {
            let (from, to) = (script.below(other.segments.len()), script.below(editable.segments.len() + 1));
            if let Some(segment) = other.segments.get(from) {
                editable.segments.insert(to, segment.clone());
            }
        }
        1 => {
            let Some(segment) = other.segments.get(script.below(other.segments.len())) else { return };
            let record = segment.records.get(script.below(segment.records.len())).cloned();
            let Some(to) = log_edits::segment(editable, script) else { return };
            let at = script.below(to.records.len() + 1);
            to.records.splice(at..at, record);
        }
        2 => editable.snapshots.clone_from(&other.snapshots),
        3 => {
            editable.old_log.clone_from(&other.old_log);
            editable.old_state.clone_from(&other.old_state);
        }
        _ => {
            let line = other.snapshots.first().and_then(|from| from.lines.get(script.below(from.lines.len()))).cloned();
            if let (Some(line), Some(to)) = (line, editable.snapshots.first_mut()) {
                let at = script.below(to.lines.len() + 1);
                to.lines.insert(at, line);
            }
        }
    }
}
