//! An input of the directories target: a store to start from and what is done to it, as bytes. Any bytes are a script.

use flint_core::files;

use super::editable::{EditableDirectory, Record, Seal, Segment, decimals_of, set_decimal};
use super::mutate::EDGES;
use super::stores;

/// Changes in one script at most.
const MAX_STEPS: usize = 24;

/// Reads a script; zeros follow its end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { usize::from(self.byte()) % bound }
    }

    fn chance(&mut self) -> bool {
        self.byte() & 1 != 0
    }

    /// A number: near the old one, an edge, or any.
    fn number(&mut self, old: u64) -> u64 {
        match self.byte() {
            0 => old.wrapping_add(1),
            1 => old.wrapping_sub(1),
            2 => old.wrapping_mul(2),
            3 => old / 2,
            4 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            5 => old ^ 1 << self.below(64),
            6 => stores::LATER,
            7..=15 => old.wrapping_add(u64::from(self.byte())),
            code => {
                let edge = EDGES[usize::from(code) % EDGES.len()];
                match code / 86 {
                    1 => edge.wrapping_add(1),
                    2 => edge.wrapping_sub(1),
                    _ => edge,
                }
            }
        }
    }
}

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

/// The whole store at later sequence numbers.
fn shift(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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
            let at = if number == last { Some(0) } else { super::editable::rfind(line, field) };
            let numbers = decimals_of(line);
            if let Some(index) = at.and_then(|at| numbers.iter().position(|(range, _)| range.start >= at)) {
                set_decimal(line, index, numbers[index].1.wrapping_add(delta));
            }
        }
    }
}

fn segment<'a>(editable: &'a mut EditableDirectory, script: &mut Script<'_>) -> Option<&'a mut Segment> {
    let index = script.below(editable.segments.len());
    editable.segments.get_mut(index)
}

/// A field of one record.
fn record_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let Some(segment) = segment(editable, script) else { return };
    let index = script.below(segment.records.len());
    let Some(record) = segment.records.get_mut(index) else { return };
    match script.byte() % 12 {
        0..=4 => {
            // Most records are short; the words in front tell the most.
            let words = record.body.len() / 8;
            let at = script.below(words.min(24)) * 8;
            if let Some(word) = record.body.get_mut(at..at + 8) {
                let old = u64::from_le_bytes(word.try_into().unwrap_or_default());
                word.copy_from_slice(&script.number(old).to_le_bytes());
            }
        }
        5 => {
            let at = script.below(record.body.len().min(256));
            if let Some(byte) = record.body.get_mut(at) {
                *byte = script.byte();
            }
        }
        6 => record.kind = script.byte() % 40,
        7 => {
            let words = script.below(40);
            record.body.resize(8 + words * 8, 0);
        }
        8 => record.lag = u32::try_from(script.number(u64::from(record.lag)) & 0xff_ffff).unwrap_or(0),
        9 => record.flags = script.byte(),
        10 => match script.byte() % 4 {
            0 => record.torn = true,
            1 => record.words = Some(u32::from(script.byte())),
            2 => record.prev_crc = Some(7),
            _ => record.seq = Some(script.number(record.seq.unwrap_or(index as u64))),
        },
        _ => {
            let words = record.body.len() / 8;
            let (from, to) = (script.below(words) * 8, script.below(words) * 8);
            if words > 0 {
                record.body.copy_within(from..from + 8, to);
            }
        }
    }
}

/// The list of records of one segment.
fn list_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let Some(segment) = segment(editable, script) else { return };
    let records = &mut segment.records;
    let (a, b) = (script.below(records.len()), script.below(records.len() + 1));
    if records.is_empty() {
        return;
    }
    match script.byte() % 7 {
        0 => drop(records.remove(a)),
        1 => {
            let copy = records[a].clone();
            records.insert(b, copy);
        }
        2 => {
            let last = records.len() - 1;
            records.swap(a, b.min(last));
        }
        3 => records.truncate(a),
        4 => drop(records.drain(..a)),
        5 => {
            let mut body = vec![0; 8 * (1 + script.below(8))];
            // The time of another record, so that it fits in.
            if let (Some(time), Some(place)) = (records[a].body.first_chunk::<8>(), body.first_chunk_mut()) {
                *place = *time;
            }
            records.insert(b, Record { kind: script.byte() % 12, body, ..Record::default() });
        }
        _ => {
            let mut tail: Vec<u8> = (0..script.below(80)).map(|_| script.byte()).collect();
            std::mem::swap(&mut segment.tail, &mut tail);
        }
    }
}

fn header_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let index = script.below(editable.segments.len());
    let Some(segment) = editable.segments.get_mut(index) else { return };
    match script.byte() % 12 {
        0 => segment.version = u32::from(script.byte() % 4),
        1 => segment.features = script.number(0),
        2 => segment.store_id = script.number(segment.store_id),
        3 | 4 => {
            let first_seq = script.number(segment.first_seq.unwrap_or(40));
            segment.first_seq = Some(first_seq);
            segment.named = script.chance().then_some(first_seq);
        }
        5 => segment.prev_crc = Some(u32::from(script.byte())),
        6 => segment.segment_len = Some(script.number(segment.len as u64)),
        7 => segment.reserved = script.byte(),
        8 => segment.no_header = true,
        9 => segment.torn_header = true,
        10 => {
            // The whole store under another id.
            let id = script.number(segment.store_id);
            editable.segments.iter_mut().for_each(|segment| segment.store_id = id);
            let digits = format!("{id:016x}");
            for header in editable.snapshots.iter_mut().filter_map(|snapshot| snapshot.lines.first_mut()) {
                if let Some(at) = super::editable::rfind(header, b"\"store\":\"").filter(|at| header.len() > at + 25) {
                    header[at + 9..at + 25].copy_from_slice(digits.as_bytes());
                }
            }
        }
        _ => segment.len = 4096 * (1 + script.below(8)),
    }
}

fn seal_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
    let Some(segment) = segment(editable, script) else { return };
    match script.byte() % 8 {
        0 => segment.seal = None,
        1 => drop(segment.seal.get_or_insert_default()),
        2 => segment.seal = Some(Seal { end_offset: Some(script.number(4096)), ..Seal::default() }),
        3 => segment.seal = Some(Seal { last_seq: Some(script.number(40)), ..Seal::default() }),
        4 => segment.seal = Some(Seal { last_crc: Some(7), ..Seal::default() }),
        5 => segment.seal = Some(Seal { wrong_sha256: true, ..Seal::default() }),
        6 => segment.seal = Some(Seal { torn: true, ..Seal::default() }),
        _ => {
            let seal =
                Seal { end_offset: Some(script.number(4096)), last_seq: Some(script.number(40)), ..Seal::default() };
            segment.seal = Some(seal);
        }
    }
}

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
        10 => drop(text.splice(at..at, WORDS[script.below(WORDS.len())].iter().copied())),
        _ => {
            // A word of the format in place of another.
            let (old, new) = (WORDS[script.below(3)], WORDS[script.below(3)]);
            if let Some(at) = super::editable::rfind(text, old) {
                text.splice(at..at + old.len(), new.iter().copied());
            }
        }
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

fn snapshot_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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
                let at = super::editable::rfind(header, b"\"start\":").unwrap_or(0);
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

fn old_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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

/// Whole files: away, twice, under another name, too long, too short.
fn file_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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

fn other_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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
fn take_over(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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
            let Some(to) = self::segment(editable, script) else { return };
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
