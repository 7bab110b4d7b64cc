use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::algorithm::Algorithm;
use crate::error::{Error, Result};
use crate::idempotency::{CallId, IdempotencyRecord, push_one};
use crate::image::{KeyImage, LastUse, Origin, Totals};
use crate::limit::Rate;
use crate::outcome::{Outcome, RateVerdicts};
use crate::storage::{File, Map};

/// A file in memory, for reading.
struct MemFile(Vec<u8>);

impl File for MemFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        let source = self.0.get(from..from + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(source);
        Ok(())
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn overwrite(&self, _: u64) -> io::Result<crate::storage::Overwrite> {
        unimplemented!()
    }

    fn map(&self, _: usize) -> io::Result<Box<dyn Map>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn header() -> Header {
    Header { store_id: 0xdead_beef, start: 420, engine_ns: 17, wall_ns: 1_700_000_000_000_000_000, migrated: None }
}

fn write(header: &Header, images: &[KeyImage], end: u64) -> Vec<u8> {
    let mut writer = Writer::new(header);
    let mut bytes = Vec::new();
    for image in images {
        writer.push(image);
        bytes.extend(writer.take_chunk());
        assert_eq!(writer.pending_bytes(), 0);
    }
    let next_id = images.iter().map(|image| image.id).max().unwrap_or(0) + 1;
    bytes.extend(writer.finish(end, next_id));
    bytes
}

fn read_bytes(bytes: &[u8]) -> Result<(Header, Trailer, Vec<KeyImage>)> {
    let mut images = Vec::new();
    let (header, trailer) = read(&MemFile(bytes.to_vec()), Path::new("s"), &mut |body| {
        if let Body::Key(image) = body {
            images.push(image.clone());
        }
        Ok(())
    })?;
    Ok((header, trailer, images))
}

fn bucket(id: u64, key: &str) -> KeyImage {
    KeyImage {
        id,
        seq: 421,
        key: key.to_owned(),
        rates: vec![Rate::unchecked(100, 60_000, 100, Algorithm::TokenBucket)],
        states: vec![vec![5, 17]],
        ..KeyImage::default()
    }
}

/// One key of every kind.
fn samples() -> Vec<KeyImage> {
    let window = Rate::unchecked(10, 1_000, 10, Algorithm::FixedWindowCounter);
    let sliding = Rate::unchecked(7, 2_000, 7, Algorithm::SlidingWindowLog);
    let runs = vec![3, 2, 9, 5];
    vec![
        bucket(1, "user:1"),
        KeyImage {
            rates: vec![sliding, Rate::unchecked(3, 10_000, 30, Algorithm::TokenBucket), window, sliding],
            states: vec![runs.clone(), vec![u128::MAX, u128::from(u64::MAX)], vec![10, 9], Vec::new()],
            origin: Origin::Call,
            used: LastUse { seq: 421, nth: 0 },
            ..bucket(2, "ключ:ü/\"quoted\"\\\n\u{0}\u{1f}\u{7f}☃")
        },
        KeyImage {
            rates: vec![window, sliding],
            states: vec![vec![0, 0], runs],
            out_of_bounds: true,
            totals: Totals { last_reset_ns: 1, ..Totals::default() },
            ..bucket(9, "")
        },
        KeyImage {
            totals: Totals {
                allowed: 1,
                allowed_cost: 2,
                denied: 3,
                denied_cost: 4,
                last_allowed_ns: 5,
                last_denied_ns: 6,
                last_reset_ns: u64::MAX,
            },
            ..bucket(3, "t")
        },
    ]
}

#[test]
fn the_last_use_is_written_where_it_is_not_the_newest_record() {
    let image = |used| KeyImage { origin: Origin::Call, used, ..bucket(1, "k") };
    let text = |used| String::from_utf8(write(&header(), &[image(used)], 431)).unwrap();
    let newest = LastUse { seq: 421, nth: 0 };
    assert!(text(newest).contains(r#""origin":"call","rates""#));
    for (used, shown) in [(LastUse { nth: 3, ..newest }, "[421,3]"), (LastUse { seq: 7, nth: 0 }, "[7,0]")] {
        assert!(text(used).contains(&format!(r#""origin":"call","used":{shown},"rates""#)), "{}", text(used));
        assert_eq!(read_bytes(text(used).as_bytes()).unwrap().2, [image(used)]);
    }
    // Neither the default, nor a use behind the line, nor a position that no record has.
    for impossible in ["[421,0]", "[422,0]", "[7,65536]", "[7]"] {
        let forged = with(text(LastUse { seq: 7, nth: 0 }).as_bytes(), "[7,0]", impossible);
        assert!(matches!(read_bytes(&forged), Err(Error::Corrupt { .. })), "{impossible}");
    }
}

#[test]
fn the_version_before_has_no_last_use() {
    let old = |images: &[KeyImage]| {
        let text = String::from_utf8(write(&header(), images, 431)).unwrap();
        read_bytes(&with(text.as_bytes(), "\"version\":2", "\"version\":1"))
    };
    assert_eq!(old(&samples()).unwrap().2, samples());
    let used = KeyImage { origin: Origin::Call, used: LastUse { seq: 7, nth: 0 }, ..bucket(1, "k") };
    assert!(matches!(old(&[used]), Err(Error::Corrupt { .. })));
}

#[test]
fn the_text_is_what_the_format_page_shows() {
    let bytes = write(&header(), &samples(), 431);
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"format":"flint-snapshot","version":2,"features":0,"store":"00000000deadbeef","start":420,"engine_ns":17,"wall_ns":1700000000000000000,"migrated":null}"#
    );
    assert_eq!(
        lines[1],
        r#"{"id":1,"seq":421,"key":"user:1","rates":[["token_bucket",100,60000,100]],"state":[[5,17]]}"#
    );
    assert!(lines[2].starts_with(r#"{"id":2,"seq":421,"key":"ключ:ü/\"quoted\"\\\u000a\u0000\u001f"#), "{}", lines[2]);
    assert!(
        lines[2].ends_with(
            r#","origin":"call","rates":[["sliding_window_log",7,2000],["token_bucket",3,10000,30],["fixed_window_counter",10,1000],["sliding_window_log",7,2000]],"state":[[3,2,9,5],[340282366920938463463374607431768211455,18446744073709551615],[10,9],[]]}"#
        ),
        "{}",
        lines[2]
    );
    assert!(
        lines[3].contains(r#","out_of_bounds":true,"rates":"#) && lines[3].ends_with(r#","totals":[0,0,0,0,0,0,1]}"#)
    );
    assert!(lines[5].starts_with(r#"{"end":431,"next_id":10,"keys":4,"sha256":""#));
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn every_kind_of_image_comes_back() {
    for migrated in [None, Some(Migrated { release: "0.1", sha256: [0xab; 32] })] {
        let header = Header { migrated, ..header() };
        let (read_header, trailer, images) = read_bytes(&write(&header, &samples(), 431)).unwrap();
        assert_eq!(read_header, header);
        assert_eq!((trailer.end, trailer.next_id, trailer.keys), (431, 10, 4));
        assert_eq!(images, samples());
    }
    let (_, trailer, images) = read_bytes(&write(&header(), &[], 420)).unwrap();
    assert_eq!((trailer.next_id, trailer.keys, images.len()), (1, 0, 0));
}

#[test]
fn every_flipped_bit_is_refused() {
    let migrated = Some(Migrated { release: "0.2", sha256: [7; 32] });
    let good = write(&Header { migrated, ..header() }, &samples(), 431);
    let mut bytes = good.clone();
    for bit in 0..good.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = read_bytes(&bytes).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "bit {bit}: {error}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    read_bytes(&bytes).unwrap();
}

#[test]
fn every_truncation_and_any_addition_is_refused() {
    let good = write(&header(), &samples(), 431);
    for len in 0..good.len() {
        let error = read_bytes(&good[..len]).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{len}: {error}");
    }
    for more in [&b"\n"[..], b"\0", b"{}\n", &good] {
        let error = read_bytes(&[&good, more].concat()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
}

/// Replaces text and makes the SHA-256 right again, as a program with other ideas of the format would write it.
fn with(good: &[u8], from: &str, to: &str) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let text = std::str::from_utf8(good).unwrap();
    assert!(text.contains(from), "{from}");
    let text = text.replacen(from, to, 1);
    let body = text.rsplit_once("\"sha256\":\"").unwrap().0.to_owned() + "\"sha256\":\"";
    let digits: String = Sha256::digest(body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    (body + &digits + "\"}\n").into_bytes()
}

#[test]
fn only_the_one_form_is_accepted() {
    let good = write(&header(), &samples(), 431);
    assert_eq!(with(&good, "user:1", "user:1"), good);
    for (from, to) in [
        ("\"id\":1,", "\"id\": 1,"),
        ("\"id\":1,", "\"id\":01,"),
        ("\"id\":1,", "\"id\":1.0,"),
        ("\"id\":1,", "\"id\":+1,"),
        ("\"id\":1,", "\"id\":-1,"),
        ("\"id\":1,", "\"id\":,"),
        ("\"id\":1,", "\"id\":18446744073709551616,"),
        ("340282366920938463463374607431768211455", "340282366920938463463374607431768211456"),
        ("\"id\":1,\"seq\":421", "\"seq\":421,\"id\":1"),
        ("user:1", "\\u0075ser:1"),
        ("user:1", "user\\/1"),
        ("user:1", "user\t1"),
        ("\\u000a", "\\n"),
        ("\\u000a", "\\u000A"),
        ("\\u0000", "\\u0020"),
        ("[5,17]", "[5,17,1]"),
        ("[5,17]", "[5]"),
        ("[5,17]", "[5,17],[5,17]"),
        ("[3,2,9,5]", "[3,2,9]"),
        ("\"rates\":[[\"token_bucket\",100,60000,100]],\"state\":[[5,17]]", "\"rates\":[],\"state\":[]"),
        ("\"origin\":\"call\"", "\"origin\":\"explicit\""),
        (",100,60000,100]", ",0,60000,100]"),
        ("[[5,17]]}", "[[5,17]],\"totals\":[0,0,0,0,0,0,0]}"),
        ("\"store\":\"00000000deadbeef\"", "\"store\":\"00000000DEADBEEF\""),
        ("\"keys\":4", "\"keys\":5"),
        ("\"end\":431", "\"end\":420"),
        ("\"next_id\":10", "\"next_id\":9"),
        ("\"migrated\":null", "\"migrated\":{\"release\":\"0.4\",\"sha256\":\"\"}"),
        ("}\n{\"id\":2", "}\n\n{\"id\":2"),
        ("}\n{\"id\":2", "}\r\n{\"id\":2"),
    ] {
        match read_bytes(&with(&good, from, to)) {
            Err(Error::Corrupt { offset, .. }) => assert!(offset < good.len() as u64),
            other => panic!("{from} -> {to}: {other:?}"),
        }
    }
    let nine = ["[\"token_bucket\",100,60000,100]"; 9].join(",");
    read_bytes(&with(&good, "[\"token_bucket\",100,60000,100]", &nine)).unwrap_err();
}

#[test]
fn newer_files_are_not_taken_for_damaged_ones() {
    let good = write(&header(), &samples(), 431);
    for (from, to) in [("\"version\":2", "\"version\":3"), ("\"features\":0", "\"features\":4")] {
        let newer = with(&good, from, to);
        assert!(matches!(read_bytes(&newer), Err(Error::Unsupported { .. })));
        // What follows the feature bits may look different then.
        let newer = with(&newer, "\"store\":", "\"shop\":");
        assert!(matches!(read_bytes(&newer), Err(Error::Unsupported { .. })));
        let damaged = String::from_utf8(good.clone()).unwrap().replace(from, to);
        assert!(matches!(read_bytes(damaged.as_bytes()), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn lines_longer_than_a_chunk_and_errors_of_the_caller() {
    let runs = (0..40_000).flat_map(|i| [1_700_000_000_000 + i, 1]).collect();
    let long = KeyImage {
        rates: vec![Rate::unchecked(1_000_000, 60_000, 1_000_000, Algorithm::SlidingWindowLog)],
        states: vec![runs],
        ..bucket(1, "long")
    };
    let images: Vec<_> = std::iter::once(long).chain((2..5_000).map(|id| bucket(id, &format!("user:{id}")))).collect();
    let bytes = write(&header(), &images, 431);
    assert_eq!(read_bytes(&bytes).unwrap().2, images);
    let refuse = &mut |body: Body<'_>| match body {
        Body::Key(image) if image.id == 77 => Err(Error::InvalidKey("77".to_owned())),
        _ => Ok(()),
    };
    assert!(matches!(read(&MemFile(bytes), Path::new("s"), refuse), Err(Error::InvalidKey(_))));
}

/// Writes and reads back one key.
fn reads_back(image: KeyImage) -> Result<(), String> {
    let bytes = write(&header(), &[image], 431);
    match read_bytes(&bytes) {
        Ok(_) => Ok(()),
        Err(Error::Corrupt { detail, .. }) => Err(detail),
        Err(other) => Err(format!("{other:?}")),
    }
}

#[test]
fn keys_and_states_are_bounded() {
    let key = |len: usize, out_of_bounds| KeyImage { out_of_bounds, ..bucket(1, &"k".repeat(len)) };
    for (len, out_of_bounds) in [(1, false), (512, false), (0, true), (513, true), (65_535, true)] {
        assert_eq!(reads_back(key(len, out_of_bounds)), Ok(()), "{len} {out_of_bounds}");
    }
    for (len, out_of_bounds) in [(0, false), (513, false), (65_536, true), (100_000, true)] {
        let refused = reads_back(key(len, out_of_bounds)).unwrap_err();
        assert_eq!(refused, "a key that is empty or too long", "{len} {out_of_bounds}");
    }
    let log = |runs: u128| KeyImage {
        rates: vec![Rate::unchecked(1_000_000, 86_400_000, 1_000_000, Algorithm::SlidingWindowLog)],
        states: vec![(0..runs).flat_map(|run| [run, 1]).collect()],
        ..bucket(1, "log")
    };
    assert_eq!(reads_back(log(1_000_001)), Ok(()));
    assert_eq!(reads_back(log(1_000_002)).unwrap_err(), "more numbers than a state has");
}

/// A file of one byte repeated, far longer than memory, of which only the start may be read.
struct Endless(u8);

impl File for Endless {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        assert!(offset + buf.len() as u64 <= 1 << 20, "byte {} is read", offset + buf.len() as u64);
        buf.fill(self.0);
        Ok(())
    }

    fn write_all_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn len(&self) -> io::Result<u64> {
        Ok(1 << 43)
    }

    fn sync_data(&self) -> io::Result<()> {
        unreachable!("it is only read")
    }

    fn overwrite(&self, _len: u64) -> io::Result<crate::storage::Overwrite> {
        unreachable!("it is only read")
    }

    fn map(&self, _len: usize) -> io::Result<Box<dyn Map>> {
        unreachable!("it is only read")
    }
}

#[test]
fn a_file_without_lines_is_refused_at_its_start() {
    for byte in [0, b'x', b'{', 0xff] {
        let file = Endless(byte);
        let refused = read(&file, Path::new("s"), &mut |_| Ok(()));
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
        assert!(matches!(read_header(&file, Path::new("s")), Err(Error::Corrupt { .. })));
    }
}

/// A snapshot of one key and these answers: seq, time.
fn with_answers(of: &[(u64, u64)]) -> (Vec<u8>, Vec<u8>) {
    let rate = Rate::new(100, 60_000, None, Algorithm::TokenBucket).unwrap();
    let outcome = Outcome {
        allowed: true,
        cost: 3,
        limit: 100,
        remaining: 97,
        retry_after_ns: 0,
        reset_after_ns: 600_000_000,
        reset_at_wall_ns: 1_795_483_444_228_087_487,
        verdicts: RateVerdicts::One(rate),
        seq: 0,
    };
    let mut answer = Vec::new();
    push_one(&mut answer, &outcome);
    let mut writer = Writer::new(&header());
    writer.push(&bucket(1, "user:1"));
    for (number, &(seq, at_ns)) in (1..).zip(of) {
        let call = CallId { id: [number; 16], fingerprint: [0xf0 | number; 8] };
        writer.push_idempotency(&IdempotencyRecord { call, seq, at_ns, answer: &answer });
    }
    (writer.finish(431, 2), answer)
}

#[test]
fn answers_stand_behind_the_keys() {
    let (bytes, answer) = with_answers(&[(410, 10), (420, 17)]);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[2],
        "{\"receipt\":\"01010101010101010101010101010101\",\"fingerprint\":\"f1f1f1f1f1f1f1f1\",\"seq\":410,\"at_ns\":10,\
         \"answer\":\"018103bfbdbdeadfd5b5f5188064e0d403646100808c8d9e02\"}"
    );
    assert!(lines[4].starts_with(r#"{"end":431,"next_id":2,"keys":1,"receipts":2,"sha256":""#), "{}", lines[4]);
    let mut found = Vec::new();
    let (_, trailer) = read(&MemFile(bytes), Path::new("s"), &mut |body| {
        if let Body::Idempotency(record) = body {
            assert_eq!(record.answer, answer);
            found.push((record.call.id[0], record.call.fingerprint[7], record.seq, record.at_ns));
        }
        Ok(())
    })
    .unwrap();
    assert_eq!((found, trailer.answers), (vec![(1, 0xf1, 410, 10), (2, 0xf2, 420, 17)], 2));
}

#[test]
fn answers_in_another_form_are_refused() {
    let (good, _) = with_answers(&[(410, 10), (420, 17)]);
    read_bytes(&good).unwrap();
    for (from, to) in [
        ("\"receipts\":2", "\"receipts\":3"),
        (",\"receipts\":2", ""),
        ("\"seq\":420", "\"seq\":409"),
        ("\"seq\":420", "\"seq\":421"),
        ("\"at_ns\":17", "\"at_ns\":9"),
        ("\"at_ns\":17", "\"at_ns\":18"),
        ("\"answer\":\"0181", "\"answer\":\"0101"),
        ("\"answer\":\"0181", "\"answer\":\"0181f"),
        ("9e02\"", "9e0200\""),
        ("9e02\"", "9e\""),
        ("f1f1f1f1f1f1f1f1", "f1f1f1f1f1f1f1F1"),
        ("{\"receipt\":\"0101", "{\"id\":2,\"seq\":1}\n{\"receipt\":\"0101"),
    ] {
        match read_bytes(&with(&good, from, to)) {
            Err(Error::Corrupt { .. }) => {}
            other => panic!("{from} -> {to}: {other:?}"),
        }
    }
    let lines: Vec<_> = std::str::from_utf8(&good).unwrap().split_inclusive('\n').collect();
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4]].concat();
    assert!(read_bytes(&with(swapped.as_bytes(), "x", "x")).is_err(), "a key behind an answer");
    let none = write(&header(), &samples(), 431);
    assert!(read_bytes(&with(&none, "\"keys\":4", "\"keys\":4,\"receipts\":0")).is_err(), "defaults are left out");
}

#[test]
#[should_panic(expected = "beyond the end 420")]
fn a_writer_refuses_an_end_that_the_reader_would_refuse() {
    write(&header(), &samples(), 420);
}

#[test]
fn numbers_of_every_length() {
    let mut powers: Vec<u128> = (0..39).map(|n| 10u128.pow(n)).collect();
    powers.extend([0, u128::from(u64::MAX), u128::from(u64::MAX) + 1, u128::MAX]);
    for power in powers {
        for value in [power.saturating_sub(1), power, power.saturating_add(1)] {
            assert_eq!(write::test_access::decimal(value), value.to_string());
        }
    }
}

fn any_image() -> impl Strategy<Value = KeyImage> {
    let rate = (
        1..1_000_000u64,
        1..1_000_000u64,
        0..3u8,
        any::<u128>(),
        any::<u64>(),
        proptest::collection::vec(any::<(u64, u64)>(), 0..5),
    )
        .prop_map(|(limit, per_ms, algorithm, used, at_ns, runs)| match algorithm {
            0 => (Rate::unchecked(limit, per_ms, limit + 1, Algorithm::TokenBucket), vec![used, u128::from(at_ns)]),
            1 => (
                Rate::unchecked(limit, per_ms, limit, Algorithm::SlidingWindowLog),
                runs.into_iter().flat_map(|(ms, cost)| [ms, cost]).map(u128::from).collect(),
            ),
            _ => (
                Rate::unchecked(limit, per_ms, limit, Algorithm::FixedWindowCounter),
                vec![u128::from(at_ns), u128::from(at_ns / 2)],
            ),
        });
    let totals = any::<[u64; 7]>().prop_map(|t| Totals {
        allowed: t[0],
        allowed_cost: t[1],
        denied: t[2],
        denied_cost: t[3],
        last_allowed_ns: t[4],
        last_denied_ns: t[5],
        last_reset_ns: t[6],
    });
    let used = prop_oneof![Just(None), any::<(u64, u16)>().prop_map(Some)];
    let call = (any::<bool>(), used);
    let key = any::<String>().prop_map(|key| format!("k{key}"));
    (0..1000u64, any::<u64>(), key, call, proptest::collection::vec(rate, 1..=8), totals).prop_map(
        |(id, seq, key, (call, used), rates, totals)| {
            let (rates, states) = rates.into_iter().unzip();
            let origin = if call { Origin::Call } else { Origin::Explicit };
            let used = match used {
                _ if !call => LastUse::default(),
                Some((used, nth)) => LastUse { seq: used.min(seq), nth },
                None => LastUse { seq, nth: 0 },
            };
            KeyImage { id, seq, key, origin, used, out_of_bounds: call, rates, states, totals }
        },
    )
}

proptest! {
    #[test]
    fn any_images_come_back(images in proptest::collection::vec(any_image(), 0..20)) {
        let bytes = write(&header(), &images, u64::MAX);
        prop_assert_eq!(read_bytes(&bytes).unwrap().2, images);
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            prop_assert!(value.is_object());
        }
    }

    #[test]
    fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0..400usize) {
        let _ = read_bytes(&bytes);
        let mut text = write(&header(), &samples(), 431);
        text.splice(at..(at + bytes.len()).min(text.len()), bytes);
        let _ = read_bytes(&text);
    }
}
