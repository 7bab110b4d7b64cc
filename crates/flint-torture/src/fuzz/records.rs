//! The codec of the log: whatever the bytes, walking and decoding end, stay within them, and what is understood is written
//! again as the same bytes.
//!
//! The first byte of an input says which checksums are put right before it is read: without that, hardly a change would get
//! past them. The rest is a segment.

use flint_core::log::frame::{self, Head, Kind};
use flint_core::log::reader::{Frame, Step, Walker, find_proof, has_nonzero};
use flint_core::log::record::{
    AllowOp, ConfigureOp, ConfigureRef, Denial, GroupOp, GroupWriter, Op, decode, push_allow, push_anchor,
    push_configure, push_delete, push_denials, push_event, push_idempotency, push_reset, push_snapshot_mark,
    push_totals,
};
use flint_core::log::segment::{HEADER_LEN, HeaderProblem, SEAL_LEN, Seal, SegmentHeader};

use super::features::Features;
use super::stores;

pub(super) const MAX_LEN: usize = 12_000;

const FIX_RECORDS: u8 = 1;
const FIX_NUMBERS: u8 = 2;
const FIX_HEADER: u8 = 4;
const FIX_SEAL: u8 = 8;
/// The shortest record.
const MIN_RECORD: usize = 32;

pub(super) const WORDS: [&[u8]; 12] = [
    b"FLINTSEG",
    b"FLINTEND",
    &[1, 8, 0, 0],
    &[2, 12, 0, 0],
    &[5, 11, 0, 0],
    &[6, 20, 0, 0],
    &[10, 9, 0, 0],
    &[1, 4, 0, 0, 0, 0, 0, 0],
    &[2, 8, 0, 0, 0, 0, 0, 0],
    &[0xff; 8],
    &[0; 16],
    &[1, 0, 0, 0, 0, 0, 0, 0],
];

/// Segments cut to a few records each, the seal kept.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for editable in stores::all() {
        let mut short = editable.clone();
        for segment in &mut short.segments {
            segment.len = 0;
            let records = std::mem::take(&mut segment.records);
            for part in records.chunks(12).take(3) {
                segment.records = part.to_vec();
                segment.records.iter_mut().for_each(|record| record.body.truncate(800));
                let alone =
                    super::editable::EditableDirectory { segments: vec![segment.clone()], ..Default::default() };
                let bytes = alone.write().into_values().next().unwrap_or_default();
                let used =
                    bytes[..bytes.len() - SEAL_LEN].iter().rposition(|&byte| byte != 0).unwrap_or(0) / 8 * 8 + 64;
                let used = used.min(bytes.len() - SEAL_LEN);
                let flags = FIX_RECORDS | FIX_NUMBERS | FIX_HEADER | FIX_SEAL;
                seeds.push([&[flags], &bytes[..used], &bytes[bytes.len() - SEAL_LEN..]].concat());
            }
        }
    }
    seeds.extend([vec![], vec![0], vec![15; 130], vec![0; 200]]);
    seeds
}

fn put_crc(bytes: &mut [u8], seed: u32) {
    let crc = crc32c::crc32c_append(seed, &bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Corrects the checksums; returns the seed, the number of the first record, and the checksum before it.
fn fix(flags: u8, bytes: &mut [u8]) -> (u32, u64, u32) {
    let mut header = [0; HEADER_LEN];
    let known = bytes.len().min(HEADER_LEN);
    header[..known].copy_from_slice(&bytes[..known]);
    let word = |at: usize| u64::from(u32_at(&header, at)) | u64::from(u32_at(&header, at + 4)) << 32;
    let (store_id, first_seq, prev_crc) = (word(24), word(32), u32_at(&header, 12));
    let seed = frame::seed(store_id, first_seq);
    let end = bytes.len().saturating_sub(SEAL_LEN) / 8 * 8;
    let (mut at, mut seq, mut crc) = (HEADER_LEN, first_seq, prev_crc);
    while flags & FIX_RECORDS != 0 && at + MIN_RECORD <= end {
        let len = (u32_at(bytes, at + 16) >> 8) as usize * 8;
        if len < MIN_RECORD || len > end - at {
            break;
        }
        let record = &mut bytes[at..at + len];
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        if flags & FIX_NUMBERS != 0 {
            record[8..16].copy_from_slice(&seq.to_le_bytes());
        }
        crc = crc32c::crc32c_append(seed, &record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        (at, seq) = (at + len, seq.wrapping_add(1));
    }
    if flags & FIX_HEADER != 0 && bytes.len() >= HEADER_LEN {
        put_crc(&mut bytes[..HEADER_LEN], 0);
    }
    if flags & FIX_SEAL != 0 && bytes.len() >= HEADER_LEN + SEAL_LEN {
        let at = bytes.len() - SEAL_LEN;
        put_crc(&mut bytes[at..], seed);
    }
    (seed, first_seq, prev_crc)
}

pub(super) fn execute(input: &[u8], features: &mut Features) {
    let Some((&flags, rest)) = input.split_first() else { return };
    let mut bytes = rest.to_vec();
    let (seed, first_seq, prev_crc) = fix(flags, &mut bytes);
    let area_end = bytes.len().saturating_sub(SEAL_LEN) / 8 * 8;
    let mut walker = Walker::new(&bytes, seed, first_seq, prev_crc);
    let (mut records, mut previous) = (0, "start".to_owned());
    let stop = loop {
        let before = walker.clone();
        match walker.next() {
            Step::Record(frame) => {
                assert!(frame.end() <= area_end && frame.offset == before.offset());
                assert!(frame.end() == walker.offset() && walker.offset() > before.offset());
                assert_eq!((frame.prev_crc, frame.crc), (before.prev_crc(), walker.prev_crc()));
                reframed(&frame, &bytes, seed);
                let kind = format!("{:?}", frame.kind);
                body(frame.kind, frame.body, features);
                features.note("pair", format_args!("{previous} {kind}"));
                previous = kind;
                records += 1;
            }
            step => {
                assert_eq!(walker.next(), step, "a walker stays where it stopped");
                let again = Walker::resume(&bytes, seed, walker.offset(), walker.next_seq(), walker.prev_crc()).next();
                assert_eq!(again, step, "resuming says the same");
                match step {
                    Step::Invalid { reason, .. } => features.note("stop", reason),
                    Step::End { .. } => features.note("stop", format_args!("end after {previous}")),
                    Step::Unsupported { .. } | Step::Record(_) => features.note("stop", "unsupported"),
                }
                break walker.offset();
            }
        }
    };
    features.count("records", records);
    proof(&bytes, stop, seed, walker.next_seq(), features);
    has_nonzero(&bytes, stop, bytes.len() + 1);
    for kind in (0..=u8::MAX).filter_map(Kind::from_code) {
        // The same bytes as the body of every kind.
        body(kind, &rest[..rest.len() / 8 * 8], features);
    }
    if let Some(header) = bytes.first_chunk() {
        self::header(header, features);
    }
    if let Some(seal) = bytes.last_chunk() {
        match Seal::decode(seal, seed) {
            Ok(Some(found)) => assert_eq!(found.encode(seed), *seal),
            Ok(None) => assert_eq!(*seal, [0; SEAL_LEN]),
            Err(reason) => features.note("seal", reason),
        }
    }
}

fn header(bytes: &[u8; HEADER_LEN], features: &mut Features) {
    match SegmentHeader::decode(bytes) {
        Ok(header) => assert_eq!(header.encode(), *bytes),
        Err(HeaderProblem::Zero) => assert_eq!(*bytes, [0; HEADER_LEN]),
        Err(HeaderProblem::Corrupt(reason)) => features.note("header", reason),
        Err(HeaderProblem::NewerVersion(_)) => features.note("header", "version"),
        Err(HeaderProblem::UnknownFeatures(_)) => features.note("header", "features"),
    }
}

/// A record is its header's fields and its body, and nothing else.
fn reframed(frame: &Frame<'_>, bytes: &[u8], seed: u32) {
    let original = &bytes[frame.offset..frame.end()];
    let mut again = Vec::new();
    frame::begin(&mut again, frame.now_ns);
    again.extend_from_slice(frame.body);
    let Frame { seq, prev_crc, durable_seq, kind, flags, .. } = *frame;
    frame::finish(&mut again, seed, &Head { seq, prev_crc, durable_seq, kind, flags });
    // Every lag that reaches back to before the first record says the same: nothing is known.
    if durable_seq == 0 {
        assert_eq!(again[4..20], original[4..20]);
        assert_eq!(again[24..], original[24..]);
    } else {
        assert_eq!(again, original);
    }
}

/// The same answer as trying every offset.
fn proof(bytes: &[u8], from: usize, seed: u32, min_seq: u64, features: &mut Features) {
    let found = find_proof(bytes, from, seed, min_seq);
    features.note("proof", found.is_some());
    let end = bytes.len().saturating_sub(SEAL_LEN) / 8 * 8;
    let holds = |&at: &usize| {
        let len = (u32_at(bytes, at + 16) >> 8) as usize * 8;
        let seq = u64::from(u32_at(bytes, at + 8)) | u64::from(u32_at(bytes, at + 12)) << 32;
        let lag = u64::from(u32_at(bytes, at + 20) >> 8);
        let durable = if lag == (1 << 24) - 1 { 0 } else { seq.saturating_sub(lag) };
        (MIN_RECORD..=end - at).contains(&len)
            && seq > 0
            && durable >= min_seq
            && seq.wrapping_sub(min_seq) < 1 << 40
            && crc32c::crc32c_append(seed, &bytes[at + 4..at + len]) == u32_at(bytes, at)
    };
    let start = from.max(HEADER_LEN.min(end)).next_multiple_of(8);
    let expected = (start..end.saturating_sub(23)).step_by(8).find(holds);
    assert_eq!(found.map(|proof| proof.offset), expected);
}

fn body(kind: Kind, bytes: &[u8], features: &mut Features) {
    match decode(kind, bytes) {
        Err(reason) => features.note("body", format_args!("{kind:?}: {reason}")),
        Ok(op) => {
            let mut again = Vec::new();
            push(&op, &mut again);
            assert_eq!(again, bytes, "{kind:?} is written differently");
            features.note("body", format_args!("{kind:?}"));
            match op {
                Op::Allow(allow) => features.count("images", allow.images.len() as u64),
                Op::Configure(configure) => {
                    features.count("rates", configure.rates().len() as u64);
                    for change in configure.rates() {
                        features.note(
                            "rate",
                            format_args!("{:?} {:?}", change.rate.algorithm(), std::mem::discriminant(&change.source)),
                        );
                    }
                }
                Op::Denials(denials) => features.count("denials", denials.len() as u64),
                Op::Group(group) => {
                    features.note("purpose", format_args!("{:?}", group.purpose));
                    features.count("group", u64::from(group.count));
                    features.note("idempotency", group.has_idempotency);
                }
                _ => {}
            }
        }
    }
}

fn push_allowed(allow: &AllowOp<'_>, buf: &mut Vec<u8>) {
    let (images, rest) = allow.images.as_chunks();
    assert!(rest.is_empty());
    push_allow(buf, allow.id, allow.cost, images);
}

fn push_configured(configure: &ConfigureRef<'_>, buf: &mut Vec<u8>) {
    let rates: Vec<_> = configure.rates().collect();
    assert_eq!(rates.len(), configure.rates().len());
    push_configure(buf, &ConfigureOp { id: configure.id, key: configure.key, origin: configure.origin, rates: &rates });
}

fn push(op: &Op<'_>, buf: &mut Vec<u8>) {
    match op {
        Op::Allow(allow) => push_allowed(allow, buf),
        Op::Configure(configure) => push_configured(configure, buf),
        Op::Reset { id } => push_reset(buf, *id),
        Op::Delete { id } => push_delete(buf, *id),
        Op::Denials(denials) => {
            let all: Vec<Denial> = denials.collect();
            assert_eq!(all.len(), denials.len());
            push_denials(buf, &all);
        }
        Op::Group(group) => {
            let mut writer = GroupWriter::begin(buf, group.purpose);
            for op in group.ops() {
                match op {
                    GroupOp::Allow(allow) => writer.op(buf, Kind::Allow, |buf| push_allowed(&allow, buf)),
                    GroupOp::Configure(op) => writer.op(buf, Kind::Configure, |buf| push_configured(&op, buf)),
                    GroupOp::Reset { id } => writer.op(buf, Kind::Reset, |buf| push_reset(buf, id)),
                    GroupOp::Delete { id } => writer.op(buf, Kind::Delete, |buf| push_delete(buf, id)),
                    GroupOp::Totals(op) => writer.op(buf, Kind::Totals, |buf| push_totals(buf, op.id, &op.totals)),
                    GroupOp::Idempotency(op) => writer.op(buf, Kind::Idempotency, |buf| push_idempotency(buf, &op)),
                }
            }
            assert_eq!(writer.count(), group.count);
            writer.finish(buf);
        }
        Op::Anchor { wall_ns } => push_anchor(buf, *wall_ns),
        Op::SnapshotMark { start, end } => push_snapshot_mark(buf, *start, *end),
        Op::Close => {}
        Op::Event(event) => push_event(buf, event),
    }
}
