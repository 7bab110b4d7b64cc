//! Edits of a log: segments, their records, headers and seals.

use super::editable::{EditableDirectory, Record, Seal, Segment};
use super::script::Script;

pub(super) fn segment<'a>(editable: &'a mut EditableDirectory, script: &mut Script<'_>) -> Option<&'a mut Segment> {
    let index = script.below(editable.segments.len());
    editable.segments.get_mut(index)
}

/// A field of one record.
pub(super) fn record_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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
pub(super) fn list_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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

pub(super) fn header_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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

pub(super) fn seal_step(editable: &mut EditableDirectory, script: &mut Script<'_>) {
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
