//! The log's codec as properties: what is written is read back, flipped bits are noticed, no bytes make it panic.
//! A failing run prints its seed; proptest keeps it next to this file.

use flint_core::algorithm::Verdict;
use flint_core::engine::{CallId, MultiOutcome, Outcome, RateVerdicts};
use flint_core::files;
use flint_core::idempotency::{push_multi, push_one};
use flint_core::image::{Origin, RateChange, Source, Totals};
use flint_core::limit::{Algorithm, Rate, RateVerdict};
use flint_core::log::frame::{self, Head, Kind};
use flint_core::log::reader::{Step, Walker, find_proof, has_nonzero};
use flint_core::log::record::{
    AllowOp, ConfigureOp, ConfigureRef, Denial, EVENT_KINDS, EventOp, GroupOp, GroupWriter, IdempotencyOp, Op, Purpose,
    decode, push_allow, push_anchor, push_configure, push_delete, push_denials, push_event, push_idempotency,
    push_reset, push_snapshot_mark, push_totals,
};
use flint_core::log::segment::{HEADER_LEN, HeaderProblem, MAX_SEGMENT_LEN, SEAL_LEN, Seal, SegmentHeader};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// An operation that owns what it holds.
#[derive(Debug, Clone, PartialEq)]
enum Owned {
    Allow(u64, u64, Vec<[u8; 16]>),
    Configure(u64, String, Origin, Vec<RateChange>),
    Reset(u64),
    Delete(u64),
    Denials(Vec<Denial>),
    Group(Purpose, Vec<Owned>),
    Anchor(u64),
    SnapshotMark(u64, u64),
    Close,
    Event(u8, String, u64, u64),
    Idempotency(CallId, Vec<u8>),
    Totals(u64, Totals),
}

impl Owned {
    fn kind(&self) -> Kind {
        match self {
            Self::Allow(..) => Kind::Allow,
            Self::Configure(..) => Kind::Configure,
            Self::Reset(_) => Kind::Reset,
            Self::Delete(_) => Kind::Delete,
            Self::Denials(_) => Kind::Denials,
            Self::Group(..) => Kind::Group,
            Self::Anchor(_) => Kind::Anchor,
            Self::SnapshotMark(..) => Kind::SnapshotMark,
            Self::Close => Kind::Close,
            Self::Event(..) => Kind::Event,
            Self::Idempotency(..) => Kind::Idempotency,
            Self::Totals(..) => Kind::Totals,
        }
    }

    fn push(&self, buf: &mut Vec<u8>) {
        match self {
            Self::Allow(id, cost, images) => push_allow(buf, *id, *cost, images),
            Self::Configure(id, key, origin, rates) => {
                push_configure(buf, &ConfigureOp { id: *id, key, origin: *origin, rates });
            }
            Self::Reset(id) => push_reset(buf, *id),
            Self::Delete(id) => push_delete(buf, *id),
            Self::Denials(denials) => push_denials(buf, denials),
            Self::Group(purpose, ops) => {
                let mut group = GroupWriter::begin(buf, *purpose);
                for op in ops {
                    group.op(buf, op.kind(), |buf| op.push(buf));
                }
                group.finish(buf);
            }
            Self::Anchor(wall_ns) => push_anchor(buf, *wall_ns),
            Self::SnapshotMark(start, end) => push_snapshot_mark(buf, *start, *end),
            Self::Close => {}
            Self::Event(kind, key, cost, count) => {
                push_event(buf, &EventOp { kind: *kind, key, cost: *cost, count: *count });
            }
            Self::Idempotency(call, answer) => push_idempotency(buf, &IdempotencyOp { call: *call, answer }),
            Self::Totals(id, totals) => push_totals(buf, *id, totals),
        }
    }

    fn of(op: Op<'_>) -> Self {
        match op {
            Op::Allow(allow) => Self::of_allow(allow),
            Op::Configure(configure) => Self::of_configure(configure),
            Op::Reset { id } => Self::Reset(id),
            Op::Delete { id } => Self::Delete(id),
            Op::Denials(denials) => {
                assert_eq!(denials.len(), denials.count());
                Self::Denials(denials.collect())
            }
            Op::Group(group) => {
                let of = |op| match op {
                    GroupOp::Allow(allow) => Self::of_allow(allow),
                    GroupOp::Configure(configure) => Self::of_configure(configure),
                    GroupOp::Reset { id } => Self::Reset(id),
                    GroupOp::Delete { id } => Self::Delete(id),
                    GroupOp::Totals(op) => Self::Totals(op.id, op.totals),
                    GroupOp::Idempotency(record) => Self::Idempotency(record.call, record.answer.to_vec()),
                };
                let ops: Vec<_> = group.ops().map(of).collect();
                assert_eq!(ops.len(), group.count as usize);
                assert_eq!(group.has_idempotency, matches!(ops.last(), Some(Self::Idempotency(..))));
                Self::Group(group.purpose, ops)
            }
            Op::Anchor { wall_ns } => Self::Anchor(wall_ns),
            Op::SnapshotMark { start, end } => Self::SnapshotMark(start, end),
            Op::Close => Self::Close,
            Op::Event(e) => Self::Event(e.kind, e.key.to_owned(), e.cost, e.count),
        }
    }

    fn of_allow(op: AllowOp<'_>) -> Self {
        Self::Allow(op.id, op.cost, op.images.as_chunks().0.to_vec())
    }

    fn of_configure(op: ConfigureRef<'_>) -> Self {
        assert_eq!(op.rates().len(), op.rates().count());
        Self::Configure(op.id, op.key.to_owned(), op.origin, op.rates().collect())
    }
}

fn any_allow() -> impl Strategy<Value = Owned> {
    (any::<u64>(), any::<u64>(), vec(any::<[u8; 16]>(), 1..=8)).prop_map(|(id, cost, i)| Owned::Allow(id, cost, i))
}

fn any_totals() -> impl Strategy<Value = Owned> {
    any::<[u64; 8]>().prop_map(|[id, allowed, allowed_cost, denied, denied_cost, a, b, c]| {
        let (last_allowed_ns, last_denied_ns, last_reset_ns) = (a, b, c);
        let totals =
            Totals { allowed, allowed_cost, denied, denied_cost, last_allowed_ns, last_denied_ns, last_reset_ns };
        Owned::Totals(id, totals)
    })
}

fn any_configure() -> impl Strategy<Value = Owned> {
    let algorithm = prop_oneof![
        Just(Algorithm::TokenBucket),
        Just(Algorithm::SlidingWindowLog),
        Just(Algorithm::FixedWindowCounter)
    ];
    let rate =
        (1..=u64::MAX, 1..=u64::MAX, 1..=u64::MAX, algorithm).prop_map(|(l, p, b, a)| Rate::unchecked(l, p, b, a));
    let source =
        prop_oneof![any::<u64>().prop_map(|carried| Source::New { carried }), (0..8_u8).prop_map(Source::Kept)];
    let change = (rate, source).prop_map(|(rate, source)| RateChange { rate, source });
    let origin = prop_oneof![Just(Origin::Explicit), Just(Origin::Call)];
    (any::<u64>(), ".{0,40}", origin, vec(change, 1..=8)).prop_map(|(id, key, o, r)| Owned::Configure(id, key, o, r))
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    (any::<[u64; 4]>(), 1..1_000_u64, option::of(2..=8_usize)).prop_map(|(numbers, limit, rates)| {
        let [cost, remaining, reset_after_ns, reset_at_wall_ns] = numbers;
        let rate = |limit| Rate::new(limit, 60_000, None, Algorithm::ALL[usize::try_from(limit % 3).unwrap()]).unwrap();
        let verdict = Verdict { allowed: true, remaining: cost, retry_after_ns: 0, reset_after_ns: remaining };
        let each = |rates: usize| (limit..).take(rates).map(|limit| RateVerdict { rate: rate(limit), verdict });
        let verdicts = match rates {
            None => RateVerdicts::One(rate(limit)),
            Some(rates) => RateVerdicts::Each(each(rates).collect()),
        };
        let (allowed, retry_after_ns, seq) = (true, 0, 0);
        Outcome { allowed, cost, limit, remaining, retry_after_ns, reset_after_ns, reset_at_wall_ns, verdicts, seq }
    })
}

fn any_op() -> impl Strategy<Value = Owned> {
    let denial = any::<[u64; 6]>().prop_map(|[id, denied, denied_cost, last_denied_ns, delta, delta_cost]| Denial {
        id,
        denied,
        denied_cost,
        last_denied_ns,
        delta,
        delta_cost,
    });
    let checks = prop_oneof![Just(Purpose::CheckAll), Just(Purpose::CheckWithLimit), Just(Purpose::Check)];
    let of_checks = (checks, vec(prop_oneof![any_allow(), any_configure()], 0..6));
    let limits = prop_oneof![Just(Purpose::LimitMany), Just(Purpose::Limit)];
    let (any_reset, any_delete) = (any::<u64>().prop_map(Owned::Reset), any::<u64>().prop_map(Owned::Delete));
    let of_limits = (limits, vec(prop_oneof![any_configure(), any_totals(), any_delete.clone()], 0..6));
    let of_keys =
        prop_oneof![(Just(Purpose::Reset), vec(any_reset, 0..6)), (Just(Purpose::Delete), vec(any_delete, 0..6)),];
    let call = option::of((any::<([u8; 16], [u8; 8])>(), vec(any_outcome(), 1..4)));
    let group = (prop_oneof![of_checks, of_limits, of_keys], call).prop_map(|((purpose, mut ops), call)| {
        let repeatable = matches!(purpose, Purpose::CheckAll | Purpose::CheckWithLimit | Purpose::Check);
        if let Some(((id, fingerprint), mut items)) = call.filter(|_| repeatable) {
            let mut answer = Vec::new();
            if purpose == Purpose::CheckAll {
                let of_all = MultiOutcome { allowed: true, denied: None, retry_after_ns: 0, items, seq: 0 };
                push_multi(&mut answer, &of_all);
            } else {
                push_one(&mut answer, &items.remove(0));
            }
            ops.push(Owned::Idempotency(CallId { id, fingerprint }, answer));
        }
        Owned::Group(purpose, ops)
    });
    prop_oneof![
        4 => any_allow(),
        3 => any_configure(),
        1 => any::<u64>().prop_map(Owned::Reset),
        1 => any::<u64>().prop_map(Owned::Delete),
        2 => vec(denial, 0..5).prop_map(Owned::Denials),
        3 => group,
        1 => any::<u64>().prop_map(Owned::Anchor),
        1 => (any::<u64>(), any::<u64>()).prop_map(|(a, b)| Owned::SnapshotMark(a.min(b), a.max(b))),
        1 => Just(Owned::Close),
        2 => (0..EVENT_KINDS, ".{0,40}", any::<u64>(), any::<u64>()).prop_map(|(k, key, a, b)| Owned::Event(k, key, a, b)),
    ]
}

const SEED: u32 = 0x5eed;
const FIRST_SEQ: u64 = 77;
const PREV_CRC: u32 = 0x1234;

/// A segment with these operations, of `durable_seq` each, and where its records end.
fn segment(ops: &[Owned], durable: impl Fn(u64) -> u64) -> (Vec<u8>, usize) {
    let mut bytes = vec![0xff; HEADER_LEN];
    let (mut record, mut prev_crc) = (Vec::new(), PREV_CRC);
    for (seq, op) in (FIRST_SEQ..).zip(ops) {
        frame::begin(&mut record, seq * 1000);
        op.push(&mut record);
        let head = Head { seq, prev_crc, durable_seq: durable(seq), kind: op.kind(), flags: 0 };
        prev_crc = frame::finish(&mut record, SEED, &head);
        bytes.extend_from_slice(&record);
    }
    let end = bytes.len();
    bytes.resize(end + 128, 0);
    bytes.extend_from_slice(&[0xff; SEAL_LEN]);
    (bytes, end)
}

fn walker(bytes: &[u8]) -> Walker<'_> {
    Walker::new(bytes, SEED, FIRST_SEQ, PREV_CRC)
}

/// All operations up to the first step that is not a record, and that step.
fn walk(bytes: &[u8]) -> (Vec<Owned>, Step<'_>) {
    let (mut walker, mut ops) = (walker(bytes), Vec::new());
    loop {
        match walker.next() {
            Step::Record(frame) => {
                ops.push(Owned::of(decode(frame.kind, frame.body).expect("it was written like that")))
            }
            other => {
                assert_eq!(walker.next(), other, "a walker stays where it stopped");
                return (ops, other);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_read(ops in vec(any_op(), 0..12)) {
        let (bytes, end) = segment(&ops, |seq| seq / 2);
        let (read, last) = walk(&bytes);
        prop_assert_eq!(&read, &ops);
        prop_assert_eq!(last, Step::End { offset: end });

        let mut walker = walker(&bytes);
        let mut offset = HEADER_LEN;
        for (seq, op) in (FIRST_SEQ..).zip(&ops) {
            let Step::Record(frame) = walker.next() else { panic!("record {seq}") };
            prop_assert_eq!((frame.offset, frame.seq, frame.kind), (offset, seq, op.kind()));
            prop_assert_eq!((frame.durable_seq, frame.now_ns, frame.flags), (seq / 2, seq * 1000, 0));
            prop_assert_eq!(&bytes[offset..offset + 4], &frame.crc.to_le_bytes());
            offset = frame.end();
            prop_assert_eq!((walker.offset(), walker.next_seq(), walker.prev_crc()), (offset, seq + 1, frame.crc));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_record_stops_the_walk_there(ops in vec(any_op(), 1..4)) {
        let (bytes, _) = segment(&ops, |_| 0);
        let mut starts = walker(&bytes);
        for good in 0..ops.len() {
            let Step::Record(frame) = starts.next() else { panic!("record {good}") };
            for bit in frame.offset * 8..frame.end() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let (read, last) = walk(&bytes);
                prop_assert_eq!(&read, &ops[..good], "bit {}", bit);
                prop_assert!(matches!(last, Step::Invalid { offset, .. } if offset == frame.offset), "bit {}: {:?}", bit, last);
            }
        }
    }

    #[test]
    fn a_walk_over_any_bytes_ends(bytes in vec(any::<u8>(), 0..400), seq in any::<u64>(), from in 0..500_usize) {
        let mut walker = Walker::new(&bytes, SEED, seq, 0);
        while let Step::Record(_) = walker.next() {}
        let _ = find_proof(&bytes, from, SEED, seq);
        let _ = has_nonzero(&bytes, from, from + 100);
        let _ = has_nonzero(&bytes, 0, from);
    }

    #[test]
    fn any_body_is_read_or_refused(code in 1..=10_u8, body in vec(any::<u8>(), 0..300)) {
        let kind = Kind::from_code(code).expect("all codes from 1 to 10");
        if let Ok(op) = decode(kind, &body) {
            // What is accepted says the same when it is written again: no byte is without meaning.
            let mut again = Vec::new();
            Owned::of(op).push(&mut again);
            prop_assert_eq!(again, body);
        }
    }

    #[test]
    fn a_damaged_body_is_read_or_refused(op in any_op(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..40_usize) {
        let mut body = Vec::new();
        op.push(&mut body);
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = byte;
            body.truncate(body.len().saturating_sub(cut.saturating_sub(20)));
        }
        if let Ok(found) = decode(op.kind(), &body) {
            let mut again = Vec::new();
            Owned::of(found).push(&mut again);
            prop_assert_eq!(again, body);
        }
    }

    #[test]
    fn any_header_or_seal_is_read_or_refused(bytes in vec(any::<u8>(), 64)) {
        let bytes: &[u8; 64] = bytes[..].try_into().expect("64 bytes");
        prop_assert!(SegmentHeader::decode(bytes).is_err());
        prop_assert!(Seal::decode(bytes, SEED).is_err());
    }

    #[test]
    fn headers_and_seals_round_trip(n in any::<[u64; 4]>(), small in any::<[u32; 2]>(), sha256 in any::<[u8; 32]>()) {
        let header = SegmentHeader {
            version: 1 + small[1] % files::SEGMENT_VERSION,
            prev_crc: small[0],
            features: 0,
            store_id: n[0],
            first_seq: n[1].max(1),
            segment_len: (n[2] % (MAX_SEGMENT_LEN / 4096) + 1) * 4096,
        };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        // No length decides how much memory reading takes.
        let longer = SegmentHeader { segment_len: MAX_SEGMENT_LEN + header.segment_len, ..header };
        prop_assert_eq!(
            SegmentHeader::decode(&longer.encode()),
            Err(HeaderProblem::Corrupt("the segment's length is impossible"))
        );
        let seal = Seal { end_offset: 64 + n[2] % (1 << 40) * 8, last_seq: n[3], sha256, last_crc: small[1] };
        prop_assert_eq!(Seal::decode(&seal.encode(SEED), SEED), Ok(Some(seal)));
    }

    #[test]
    fn has_nonzero_finds_the_one_byte(len in 1..300_usize, at in any::<prop::sample::Index>(), from in 0..300_usize, to in 0..300_usize) {
        let mut bytes = vec![0; len];
        let at = at.index(len);
        prop_assert!(!has_nonzero(&bytes, from, to));
        bytes[at] = 0x80;
        prop_assert_eq!(has_nonzero(&bytes, from, to), (from..to).contains(&at));
    }
}

/// Twenty small records; the fifth is damaged in each test below.
fn twenty() -> Vec<Owned> {
    (0..20).map(|i| Owned::Allow(i, 1, vec![[3; 16]])).collect()
}

const DAMAGED_SEQ: u64 = FIRST_SEQ + 4;
const DAMAGED_AT: usize = HEADER_LEN + 4 * 64;

#[test]
fn a_later_durable_mark_proves_damage() {
    let (mut bytes, _) = segment(&twenty(), |seq| seq.saturating_sub(8).max(FIRST_SEQ - 1));
    bytes[DAMAGED_AT + 40] ^= 1;
    assert!(matches!(walk(&bytes).1, Step::Invalid { offset: DAMAGED_AT, .. }));
    // Eight records behind the damaged one is the first that says so.
    let proof = find_proof(&bytes, DAMAGED_AT, SEED, DAMAGED_SEQ).expect("records 12 to 19 prove it");
    assert_eq!((proof.offset, proof.seq, proof.durable_seq), (DAMAGED_AT + 8 * 64, DAMAGED_SEQ + 8, DAMAGED_SEQ));
    assert_eq!(find_proof(&bytes, DAMAGED_AT, SEED + 1, DAMAGED_SEQ), None, "another segment's records prove nothing");
    // The proof itself damaged: the next one shows it.
    bytes[proof.offset + 40] ^= 1;
    assert_eq!(find_proof(&bytes, DAMAGED_AT, SEED, DAMAGED_SEQ).expect("record 13").seq, DAMAGED_SEQ + 9);
}

#[test]
fn later_records_without_a_mark_prove_nothing() {
    let (mut bytes, _) = segment(&twenty(), |seq| seq.min(DAMAGED_SEQ - 1));
    bytes[DAMAGED_AT + 40] ^= 1;
    assert_eq!(find_proof(&bytes, DAMAGED_AT, SEED, DAMAGED_SEQ), None);
    assert!(find_proof(&bytes, DAMAGED_AT, SEED, DAMAGED_SEQ - 1).is_some());
}

#[test]
fn a_proof_is_found_behind_zeros_and_in_any_alignment_of_eight() {
    let (bytes, end) = segment(&twenty(), |seq| seq);
    for shift in [8, 16, 4096, 100_000] {
        let mut moved = bytes[..DAMAGED_AT].to_vec();
        moved.resize(DAMAGED_AT + shift, 0);
        moved.extend_from_slice(&bytes[DAMAGED_AT..end]);
        moved.resize(moved.len() + SEAL_LEN, 0);
        let proof = find_proof(&moved, DAMAGED_AT, SEED, DAMAGED_SEQ).expect("it is there");
        assert_eq!((proof.offset, proof.seq), (DAMAGED_AT + shift, DAMAGED_SEQ));
    }
}

#[test]
fn a_long_record_is_a_proof_too() {
    let mut ops = twenty();
    ops[10] = Owned::Group(Purpose::CheckAll, (0..2000).map(|i| Owned::Allow(i, 1, vec![[9; 16]])).collect());
    ops.truncate(11);
    let (mut bytes, end) = segment(&ops, |seq| if seq == FIRST_SEQ + 10 { seq - 1 } else { 0 });
    assert_eq!(walk(&bytes).1, Step::End { offset: end });
    bytes[DAMAGED_AT] ^= 1;
    assert_eq!(find_proof(&bytes, DAMAGED_AT, SEED, DAMAGED_SEQ).expect("the group").seq, FIRST_SEQ + 10);
    bytes[end - 9] ^= 1;
    assert_eq!(find_proof(&bytes, DAMAGED_AT, SEED, DAMAGED_SEQ), None);
}

#[test]
fn a_record_out_of_order_is_invalid() {
    let (bytes, _) = segment(&twenty(), |_| 0);
    let reason = |mut walker: Walker<'_>| match walker.next() {
        Step::Invalid { offset: HEADER_LEN, reason } => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        reason(Walker::new(&bytes, SEED, FIRST_SEQ + 1, PREV_CRC)),
        "the record does not have the next sequence number"
    );
    assert_eq!(
        reason(Walker::new(&bytes, SEED, FIRST_SEQ, PREV_CRC + 1)),
        "the record does not follow the one before it"
    );
    assert_eq!(reason(Walker::new(&bytes, SEED + 1, FIRST_SEQ, PREV_CRC)), "the record's checksum does not match");
}

#[test]
fn unknown_and_reserved_kinds_are_unsupported_and_not_damage() {
    for code in [0, 12, 32, 33, 35, 255] {
        let (mut bytes, _) = segment(&twenty()[..1], |_| 0);
        bytes[HEADER_LEN + 16] = code;
        let crc = crc32c::crc32c_append(SEED, &bytes[HEADER_LEN + 4..HEADER_LEN + 64]);
        bytes[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(walker(&bytes).next(), Step::Unsupported { offset: HEADER_LEN, kind: code });
    }
}

#[test]
fn records_may_fill_the_segment_to_the_seal() {
    let (mut bytes, end) = segment(&twenty(), |_| 0);
    for room in [0, 8, 16, 24] {
        bytes.truncate(end);
        bytes.resize(end + room + SEAL_LEN, 0);
        assert_eq!(walk(&bytes).1, Step::End { offset: end });
        if room > 0 {
            bytes[end + room - 1] = 1;
            assert!(matches!(walk(&bytes).1, Step::Invalid { offset, .. } if offset == end), "{room}");
        }
    }
    // The last record would reach into the seal.
    bytes.truncate(end + SEAL_LEN - 8);
    let (read, last) = walk(&bytes);
    assert_eq!(read.len(), 19);
    assert!(matches!(last, Step::Invalid { offset, .. } if offset == end - 64), "{last:?}");
}

#[test]
fn a_check_of_one_rate_takes_64_bytes() {
    let (_, end) = segment(&twenty()[..1], |_| 0);
    assert_eq!(end, HEADER_LEN + 64);
}

#[test]
fn nonsense_with_a_right_checksum_is_refused() {
    let refused = |kind, words: &[u64]| {
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        decode(kind, &body).expect_err("nonsense")
    };
    let word = u64::from_le_bytes;
    assert_eq!(refused(Kind::Allow, &[1, 1]), "it has no, half or too many states");
    assert_eq!(refused(Kind::Allow, &[1, 1, 0]), "it has no, half or too many states");
    assert_eq!(refused(Kind::Allow, &[0; 2 + 18]), "it has no, half or too many states");
    assert_eq!(refused(Kind::Allow, &[1]), "it ends too early");
    assert_eq!(refused(Kind::Reset, &[]), "it ends too early");
    assert_eq!(refused(Kind::Reset, &[1, 2]), "it is longer than its fields");
    assert_eq!(refused(Kind::Close, &[0]), "it is longer than its fields");
    assert_eq!(refused(Kind::SnapshotMark, &[2, 1]), "its snapshot starts after its end");
    assert_eq!(refused(Kind::Denials, &[2, 0, 0, 0, 0, 0, 0]), "its count does not fit its length");
    assert_eq!(refused(Kind::Denials, &[u64::MAX]), "its count does not fit its length");
    assert_eq!(refused(Kind::Group, &[9 << 32]), "its purpose is unknown");
    assert_eq!(refused(Kind::Group, &[1 << 32 | 1]), "its count does not fit its operations");
    let misplaced = "it holds an operation that is none of its purpose";
    assert_eq!(refused(Kind::Group, &[1 << 32 | 1, 1 << 8 | 3, 5]), misplaced);
    assert_eq!(refused(Kind::Group, &[2 << 32 | 1, 1 << 8 | 4, 5]), misplaced);
    assert_eq!(refused(Kind::Group, &[6 << 32 | 1, 1 << 8 | 4, 5]), misplaced);
    assert_eq!(refused(Kind::Group, &[7 << 32 | 1, 1 << 8 | 3, 5]), misplaced);
    assert_eq!(refused(Kind::Totals, &[0; 8]), "the totals of a counter are not in a group");
    assert_eq!(
        refused(Kind::Group, &[1 << 32 | 1, 1 << 8 | 6, 2 << 32]),
        "it groups an operation that cannot be grouped"
    );
    assert_eq!(refused(Kind::Group, &[1 << 32 | 1, 2 << 8 | 1, 5]), "it ends too early");
    assert_eq!(refused(Kind::Event, &[6, 1, 1]), "its event is unknown");
    assert_eq!(refused(Kind::Idempotency, &[0; 6]), "an idempotency record is not in a group");
    // The answer: one key, allowed, one rate of 1/minute that has nothing left.
    let answer = [word([1, 0x81, 1, 0, 0x80, 1, 0xe0, 0xd4]), word([3, 1, 0, 0, 0, 0, 0, 0])];
    let group = |purpose: u64, count: u64, answer: &[u64]| {
        let op = [&[(3 + answer.len() as u64) << 8 | 34, 1, 2, 3][..], answer].concat();
        let ops = [0; 2].into_iter().take(usize::try_from(count).unwrap()).flat_map(|_| op.clone());
        [purpose << 32 | count].into_iter().chain(ops).flat_map(u64::to_le_bytes).collect::<Vec<u8>>()
    };
    assert!(matches!(decode(Kind::Group, &group(4, 1, &answer)), Ok(Op::Group(found)) if found.has_idempotency));
    let refused_group = |body: &[u8]| decode(Kind::Group, body).expect_err("nonsense");
    assert_eq!(refused_group(&group(4, 2, &answer)), "something follows its idempotency record");
    assert_eq!(refused_group(&group(1, 1, &answer)), "its idempotency record is of another call");
    assert_eq!(refused_group(&group(2, 1, &answer)), "its idempotency record is of another call");
    assert_eq!(refused_group(&group(4, 1, &[answer[0], answer[1], 0])), "its padding is not zero");
    assert_eq!(refused_group(&group(4, 1, &[answer[0], answer[1] | 1 << 63])), "its padding is not zero");
    assert_eq!(refused_group(&group(4, 1, &answer[..1])), "its answer ends too early");
    let denied = word([1, 0x01, 1, 0, 0x00, 1, 0xe0, 0xd4]);
    assert_eq!(refused_group(&group(4, 1, &[denied, answer[1]])), "its idempotency record is of a denied call");
    assert_eq!(refused(Kind::Event, &[1 << 8, 1, 1]), "its padding is not zero");

    let rate = |codes, carried| [10, 1000, 10, word(codes), carried];
    let configure = |head: [u8; 8], rate: [u64; 5], key: [u8; 8]| {
        refused(Kind::Configure, &[&[1, word(head)][..], &rate, &[word(key)]].concat())
    };
    let (head, good, key) = ([2, 0, 1, 0, 0, 0, 0, 0], rate([0, 255, 0, 0, 0, 0, 0, 0], 3), *b"ab\0\0\0\0\0\0");
    assert_eq!(configure([2, 0, 0, 0, 0, 0, 0, 0], good, key), "it has no rate or too many");
    assert_eq!(configure([2, 0, 9, 0, 0, 0, 0, 0], good, key), "it has no rate or too many");
    assert_eq!(configure([2, 0, 2, 0, 0, 0, 0, 0], good, key), "it ends too early");
    assert_eq!(configure([2, 0, 1, 2, 0, 0, 0, 0], good, key), "its limit has an unknown origin");
    assert_eq!(configure([2, 0, 1, 0, 1, 0, 0, 0], good, key), "its padding is not zero");
    assert_eq!(configure([9, 0, 1, 0, 0, 0, 0, 0], good, key), "it ends too early");
    assert_eq!(configure([0, 0, 1, 0, 0, 0, 0, 0], good, key), "it is longer than its fields");
    assert_eq!(configure(head, good, *b"abc\0\0\0\0\0"), "its padding is not zero");
    assert_eq!(configure(head, good, *b"a\xff\0\0\0\0\0\0"), "its key is not UTF-8");
    assert_eq!(configure(head, rate([3, 255, 0, 0, 0, 0, 0, 0], 3), key), "a rate's algorithm is unknown");
    assert_eq!(configure(head, rate([0, 255, 1, 0, 0, 0, 0, 0], 3), key), "its padding is not zero");
    assert_eq!(configure(head, rate([0, 8, 0, 0, 0, 0, 0, 0], 0), key), "a rate's state comes from nowhere");
    assert_eq!(configure(head, rate([0, 0, 0, 0, 0, 0, 0, 0], 3), key), "a rate's state comes from nowhere");
    assert_eq!(configure(head, [10, 0, 10, word([0, 255, 0, 0, 0, 0, 0, 0]), 3], key), "a rate's number is zero");
}
