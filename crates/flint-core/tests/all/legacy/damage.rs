//! What a crash can leave is accepted, what it cannot leave is refused with the place.

use flint_core::Error;
use flint_core::legacy::LegacyStore;

use super::support::{image, line, read_files, read_log, remaining, sample, sample_log, sha256_hex, stamp, stamp_ns};

fn corrupt(result: flint_core::Result<LegacyStore>) -> (String, u64, String) {
    match result {
        Err(Error::Corrupt { path, offset, detail }) => {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), offset, detail)
        }
        other => panic!("{other:?}"),
    }
}

fn starts(log: &[u8]) -> Vec<usize> {
    let ends = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(i, _)| i + 1);
    std::iter::once(0).chain(ends).collect()
}

#[test]
fn a_log_cut_at_every_byte_of_its_last_line() {
    for name in ["v0_1_log_only", "v0_2_log_only"] {
        let log = sample_log(name);
        let starts = starts(&log);
        let last = starts[starts.len() - 2];
        let without = read_log(&log[..last]).unwrap();
        let whole = read_log(&log).unwrap();
        assert_ne!(without.events, whole.events);
        for len in last..=log.len() {
            let cut = read_log(&log[..len]).unwrap();
            // Without its line feed the line is whole already.
            let is_whole = len >= log.len() - 1;
            let expected = if is_whole { &whole } else { &without };
            assert_eq!((&cut.images, &cut.events), (&expected.images, &expected.events), "{name} at {len}");
            let is_torn = len > last && !is_whole;
            assert_eq!(cut.torn_tail, is_torn.then_some(last as u64), "{name} at {len}");
            assert_eq!(cut.aof_bytes, len as u64);
        }
    }
}

#[test]
fn a_last_line_that_is_no_line_is_left_out() {
    let log = sample_log("v0_2_log_only");
    for tail in [&b"{\"version\":1,\"ts\":\n"[..], b"\0\0\0\0\0\0", b"\xff\xfe", b"7", b"\n", b"{\"version\":1}{"] {
        let store = read_log(&[&log, tail].concat()).unwrap();
        assert_eq!(store.torn_tail, Some(log.len() as u64), "{tail:?}");
        assert_eq!(store.events, read_log(&log).unwrap().events);
    }
    for tail in [&b"\0\n\0\n"[..], b"{}\n{", b"{\"ts\":\n{\"ts\":\n"] {
        let (_, offset, detail) = corrupt(read_log(&[&log, tail].concat()));
        assert_eq!((offset, detail.starts_with("line 30: ")), (log.len() as u64, true), "{tail:?} {detail}");
    }
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let (file, offset, _) = corrupt(read_log(b"Dear diary"));
    assert_eq!((file.as_str(), offset), ("flint.aof", 0));
    let cut_at_birth = read_log(b"{\"version\":1,\"ts").unwrap();
    assert_eq!((cut_at_birth.images.len(), cut_at_birth.torn_tail), (0, Some(0)));
}

#[test]
fn every_flipped_bit_before_the_last_line_is_refused_with_its_line() {
    let good = sample_log("v0_2_log_only");
    let starts = starts(&good);
    let last = starts[starts.len() - 2];
    let mut log = good.clone();
    for bit in 0..(last - 1) * 8 {
        let byte = bit / 8;
        log[byte] ^= 1 << (bit % 8);
        let number = starts.iter().filter(|&&start| start <= byte).count();
        let (file, offset, detail) = corrupt(read_log(&log));
        assert_eq!(file, "flint.aof");
        assert_eq!(offset, starts[number - 1] as u64, "bit {bit}: {detail}");
        assert!(detail.starts_with(&format!("line {number}: ")), "bit {bit}: {detail}");
        log[byte] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_whole_last_line_with_a_bad_checksum_is_refused() {
    let good = sample_log("v0_2_log_only");
    let text = String::from_utf8(good).unwrap();
    let (before, last) = text.trim_end().rsplit_once('\n').unwrap();
    for (from, to) in [("\"rate\":7", "\"rate\":9"), ("022a\"}", "022b\"}"), ("\"022", "\"122")] {
        let Some(changed) = last.contains(from).then(|| last.replace(from, to)) else { continue };
        for end in ["\n", ""] {
            let (_, offset, detail) = corrupt(read_log(format!("{before}\n{changed}{end}").as_bytes()));
            assert_eq!(offset, before.len() as u64 + 1);
            assert!(detail.starts_with("line 29: checksum"), "{detail}");
        }
    }
    assert!(last.contains("\"rate\":7"));
}

#[test]
fn a_checksum_is_the_last_field_and_has_64_small_digits() {
    let whole = line(
        1,
        r#"{"type":"LIMIT_CONFIGURED","config":{"key":"k","rate":1,"per_millis":5,"algorithm":"token_bucket"}}"#,
    );
    read_log(whole.as_bytes()).unwrap();
    let (body, digits) = whole.trim_end().rsplit_once(",\"checksum\":\"").unwrap();
    let digits = digits.trim_end_matches("\"}");
    for bad in [
        format!("{body},\"checksum\":\"{}\"}}\n", digits.to_uppercase()),
        format!("{body},\"checksum\":\"{digits}\" }}\n"),
        format!("{body}, \"checksum\":\"{digits}\"}}\n"),
        format!("{body},\"checksum\":null}}\n"),
        format!("{body},\"checksum\":\"\"}}\n"),
        format!("{body},\"chucksum\":\"{digits}\"}}\n"),
        format!("{{\"checksum\":\"{digits}\",{}}}\n", &body[1..]),
    ] {
        corrupt(read_log(bad.as_bytes()));
    }
}

#[test]
fn a_key_may_look_like_a_checksum() {
    let key = format!("k\\\",\\\"checksum\\\":\\\"{}\\\"}}", "0".repeat(64));
    let config = r#"{"type":"LIMIT_CONFIGURED","config":{"key":"KEY","rate":3,"per_millis":3600000,"algorithm":"token_bucket"}}"#;
    let log = line(1, &config.replace("KEY", &key));
    let store = read_log(log.as_bytes()).unwrap();
    assert_eq!(store.images[0].key, format!("k\",\"checksum\":\"{}\"}}", "0".repeat(64)));
}

#[test]
fn nonsense_with_a_good_checksum_is_refused() {
    for event in [
        r#"{"type":"ALLOW","key":"never configured",AT,"cost":1}"#,
        r#"{"type":"DENY","key":"never configured",AT}"#,
        r#"{"type":"RESET","key":"never configured",AT}"#,
        r#"{"type":"ALLOW_ALL","items":[{"key":"never configured","cost":1}],AT}"#,
        r#"{"type":"ALLOW_ALL","items":{},AT}"#,
        r#"{"type":"EXPLODE","key":"k",AT}"#,
        r#"{"type":"ALLOW",AT}"#,
        r#"{"type":"ALLOW","key":"k","at":"yesterday"}"#,
        r#"{"type":"ALLOW","key":"k","cost":-1,AT}"#,
        r#"{"type":"ALLOW","key":"k","cost":1.5,AT}"#,
        r#"{"type":"LIMIT_CONFIGURED"}"#,
        r#"{"type":"LIMIT_CONFIGURED","config":{"key":"k","rate":1,"algorithm":"token_bucket"}}"#,
        r#"{"type":"LIMIT_CONFIGURED","config":{"key":"k","rate":-1,"per_millis":5,"algorithm":"token_bucket"}}"#,
        r#"{"type":"LIMIT_CONFIGURED","config":{"key":"k","rate":1,"per_millis":5,"algorithm":"leaky_bucket"}}"#,
        "[]",
    ] {
        let (_, offset, detail) = corrupt(read_log(line(1, event).as_bytes()));
        assert!(offset == 0 && detail.starts_with("line 1: "), "{event}: {detail}");
    }
    let newer = line(1, "{}").replace("\"version\":1", "\"version\":2");
    let body = newer.rsplit_once(",\"checksum\"").unwrap().0;
    let newer = format!("{body},\"checksum\":\"{}\"}}\n", sha256_hex(&format!("{body}}}")));
    assert!(matches!(read_log(newer.as_bytes()), Err(Error::Unsupported { .. })));
}

#[test]
fn nothing_an_empty_log_and_half_a_directory() {
    let none: [(&str, &[u8]); 0] = [];
    assert_eq!(read_files(none).unwrap(), None);
    let empty = read_log(b"").unwrap();
    assert_eq!((empty.images.len(), empty.events.len(), empty.newest_ns, empty.torn_tail), (0, 0, 0, None));
    assert_eq!(empty.release, "0.2");
    assert_eq!(empty.aof_sha256[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    let snapshot = std::fs::read(sample("v0_2_snapshot_and_tail").join("data/flint.snapshot")).unwrap();
    let (file, _, detail) = corrupt(read_files([("flint.snapshot", &snapshot)]).map(Option::unwrap));
    assert_eq!(file, "flint.aof");
    assert!(detail.contains("missing"), "{detail}");
}

fn read_both(log: &[u8], snapshot: &[u8]) -> flint_core::Result<LegacyStore> {
    read_files([("flint.aof", log), ("flint.snapshot", snapshot)]).map(Option::unwrap)
}

/// A snapshot of one key without the envelope; STATE and the rest as early releases wrote them.
fn plain_snapshot(aof_offset: usize) -> String {
    format!(
        r#"{{"format_version":1,"created_at":"{}","aof_offset":{aof_offset},"state":{{"configs":{{"k":{{"key":"k","rate":10,"per_seconds":315360000,"algorithm":"token_bucket"}}}},"buckets":{{"k":{{"tokens":7.5,"last_refill":"{}"}}}},"fixed_windows":{{}},"sliding_windows":{{}},"history":[{{"type":"LIMIT_CONFIGURED","config":{{"key":"k","rate":10,"per_seconds":315360000,"algorithm":"token_bucket"}}}},{{"type":"ALLOW","key":"k","at":"{}"}},{{"type":"DENY","key":"k","at":"{}"}}]}}}}"#,
        stamp(9),
        stamp(3),
        stamp(2),
        stamp(4),
    )
}

fn envelope(inner: &str) -> String {
    let string = serde_json::to_string(inner).unwrap();
    let checksum = sha256_hex(inner);
    format!(r#"{{"format_version":1,"created_at":"{}","checksum":"{checksum}","snapshot":{string}}}"#, stamp(9))
}

#[test]
fn a_snapshot_without_envelope_and_metrics() {
    let store = read_both(b"", plain_snapshot(0).as_bytes()).unwrap();
    assert_eq!((store.release, store.snapshot_exists), ("0.1", true));
    let key = image(&store, "k");
    assert_eq!(remaining(key, stamp_ns(9)), 7);
    assert_eq!((key.totals.allowed, key.totals.allowed_cost, key.totals.denied), (1, 1, 1));
    assert_eq!((key.totals.last_allowed_ns, key.totals.last_denied_ns), (stamp_ns(2), stamp_ns(4)));
    // The configuration has no time of its own; it comes before the first event that has one.
    assert_eq!(store.events.iter().map(|event| event.at_ns).collect::<Vec<_>>(), [2, 2, 4].map(stamp_ns));
    assert_eq!(store.newest_ns, stamp_ns(9));
    assert_eq!(read_both(b"", envelope(&plain_snapshot(0)).as_bytes()).unwrap().images, store.images);
}

#[test]
fn a_float_just_below_a_whole_token_is_not_a_whole_token() {
    let below: Vec<f64> = (1..=10u32).map(|whole| f64::from_bits(f64::from(whole).to_bits() - 1)).collect();
    for tokens in below {
        let snapshot = plain_snapshot(0).replace("7.5", &format!("{tokens:?}"));
        let store = read_both(b"", snapshot.as_bytes()).unwrap();
        assert_eq!(
            f64::from(u32::try_from(remaining(image(&store, "k"), stamp_ns(3))).unwrap()),
            tokens.floor(),
            "{tokens:?}"
        );
    }
}

#[test]
fn the_part_of_the_log_that_the_snapshot_includes_is_verified_and_not_counted_again() {
    let allow = |second| line(second, r#"{"type":"ALLOW","key":"k",AT,"cost":1}"#);
    let old = allow(1) + &allow(2);
    let log = old.clone() + &allow(5);
    let store = read_both(log.as_bytes(), plain_snapshot(old.len()).as_bytes()).unwrap();
    assert_eq!(image(&store, "k").totals.allowed, 2);
    assert_eq!(store.events.len(), 4);
    for offset in [1, old.len() - 1, old.len() + 1, log.len() + 1, usize::MAX] {
        let (file, _, detail) = corrupt(read_both(log.as_bytes(), plain_snapshot(offset).as_bytes()));
        assert_eq!(file, "flint.aof", "{detail}");
    }
    let damaged = log.replacen("\"cost\":1", "\"cost\":2", 1);
    corrupt(read_both(damaged.as_bytes(), plain_snapshot(old.len()).as_bytes()));
}

#[test]
fn every_flipped_bit_that_matters_in_a_snapshot_is_refused() {
    let good = envelope(&plain_snapshot(0));
    let stamped = good.find("created_at").unwrap() - 1;
    let unused = stamped..good.find(",\"checksum\"").unwrap();
    let expected = read_both(b"", good.as_bytes()).unwrap();
    let mut bytes = good.clone().into_bytes();
    let mut unnoticed = 0;
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        match read_both(b"", &bytes) {
            Err(Error::Corrupt { path, .. } | Error::Unsupported { path, .. }) => {
                assert!(path.ends_with("flint.snapshot"));
            }
            Err(error) => panic!("bit {bit}: {error}"),
            Ok(store) => {
                assert_eq!(store, expected, "bit {bit} changed what is read");
                assert!(unused.contains(&(bit / 8)) || bit / 8 < stamped, "bit {bit} went unnoticed");
                unnoticed += 1;
            }
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(unnoticed > 0, "the outer created_at is not covered by any checksum and not used");
}

#[test]
fn snapshots_that_make_no_sense() {
    let good = plain_snapshot(0);
    for (from, to) in [
        ("\"configs\"", "\"config\""),
        ("\"buckets\"", "\"baskets\""),
        ("\"state\"", "\"stat\""),
        ("\"tokens\":7.5", "\"tokens\":\"7\""),
        ("\"tokens\":7.5", "\"tokens\":7.5.5"),
        ("\"configs\":{\"k\"", "\"configs\":{\"j\""),
        ("\"history\":[", "\"history\":[7,"),
        ("\"aof_offset\":0", "\"aof_offset\":-1"),
    ] {
        assert!(good.contains(from));
        let (file, ..) = corrupt(read_both(b"", good.replacen(from, to, 1).as_bytes()));
        assert_eq!(file, "flint.snapshot", "{from} -> {to}");
    }
    for bytes in [&b""[..], b"{", b"[]", b"\0\0\0\0"] {
        corrupt(read_both(b"", bytes));
    }
    let newer = good.replacen("\"format_version\":1", "\"format_version\":2", 1);
    for newer in [newer.clone(), envelope(&newer), envelope(&good).replacen("version\":1", "version\":2", 1)] {
        assert!(matches!(read_both(b"", newer.as_bytes()), Err(Error::Unsupported { .. })));
    }
}
