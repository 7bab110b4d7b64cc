//! Directories written by released versions, against what those versions said of them.

use std::collections::BTreeMap;

use super::support::{image, read_files, remaining, sample};
use flint_core::Error;
use flint_core::image::{EventKind, Origin};

use flint_core::legacy::LegacyStore;
use serde_json::Value;

fn read(name: &str) -> flint_core::Result<Option<LegacyStore>> {
    let data = sample(name).join("data");
    let log = std::fs::read(data.join("flint.aof")).unwrap();
    match std::fs::read(data.join("flint.snapshot")) {
        Ok(snapshot) => read_files([("flint.aof", &log), ("flint.snapshot", &snapshot)]),
        Err(_) => read_files([("flint.aof", &log)]),
    }
}

fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(sample(name).join("expected.json")).unwrap()).unwrap()
}

/// Compares everything in expected.json, field by field, with the clock at the newest time in the data.
fn reads_as_expected(name: &str) -> LegacyStore {
    let store = read(name).unwrap().unwrap();
    let expected = expected(name);
    let limits = expected["limits"].as_object().unwrap();
    assert_eq!(store.images.len(), limits.len());
    for (key, limit) in limits {
        let image = image(&store, key);
        for (field, value) in limit.as_object().unwrap() {
            let actual: Value = match field.as_str() {
                "key" => image.key.as_str().into(),
                "algorithm" => image.rates[0].algorithm().name().into(),
                "rate" => image.rates[0].limit().into(),
                "per_millis" => image.rates[0].per_ms().into(),
                "per_seconds" => (image.rates[0].per_ms() / 1000).into(),
                "remaining" => remaining(image, store.newest_ns).into(),
                "total_allowed" => image.totals.allowed.into(),
                "total_allowed_cost" => image.totals.allowed_cost.into(),
                "total_denied" => image.totals.denied.into(),
                "total_denied_cost" => image.totals.denied_cost.into(),
                other => panic!("{name}: unknown field {other}"),
            };
            assert_eq!(actual, *value, "{name}: {key}: {field}");
        }
        assert!(!image.out_of_bounds);
        assert_eq!((image.origin, image.seq), (Origin::Call, 1));
    }
    let mut counts = BTreeMap::new();
    for event in &store.events {
        *counts.entry(event.key.clone()).or_insert(0u64) += event.count;
    }
    assert_eq!(serde_json::to_value(counts).unwrap(), expected["history_events"], "{name}");
    assert!(store.events.is_sorted_by_key(|event| event.at_ns));
    assert!(store.events.iter().all(|event| (1..=store.newest_ns).contains(&event.at_ns)));
    let mut ids: Vec<_> = store.images.iter().map(|image| image.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=store.images.len() as u64).collect::<Vec<_>>());
    store
}

#[test]
fn v0_1_log_only() {
    let store = reads_as_expected("v0_1_log_only");
    assert_eq!((store.release, store.torn_tail, store.snapshot_exists), ("0.1", None, false));
    assert_eq!(store.aof_bytes, 2855);
    // The newest time is that of the last line; the events in it are a little older.
    assert_eq!(store.newest_ns, 1_795_474_265_938_484_960);
    let one = image(&store, "one");
    assert_eq!((one.totals.allowed, one.totals.denied, one.totals.denied_cost), (1, 1, 1));
    assert_eq!(one.totals.last_denied_ns, 1_795_474_265_938_001_630);
}

#[test]
fn v0_2_log_only() {
    let store = reads_as_expected("v0_2_log_only");
    assert_eq!((store.release, store.torn_tail, store.snapshot_exists), ("0.2", None, false));
    let all: Vec<_> = store.events.iter().filter(|event| event.kind == EventKind::AllowAll).collect();
    let parts: Vec<_> = all.iter().map(|event| (event.key.as_str(), event.cost)).collect();
    assert_eq!(parts, [("token_bucket", 1), ("org", 10), ("fixed_window_counter", 1)]);
}

#[test]
fn v0_2_snapshot_and_tail() {
    let store = reads_as_expected("v0_2_snapshot_and_tail");
    assert_eq!((store.release, store.torn_tail, store.snapshot_exists), ("0.2", None, true));
    assert_eq!(store.events.len(), 840);
}

#[test]
fn v0_2_torn_tail() {
    let store = reads_as_expected("v0_2_torn_tail");
    assert_eq!((store.release, store.aof_bytes), ("0.2", 6805));
    let log = std::fs::read(sample("v0_2_torn_tail").join("data/flint.aof")).unwrap();
    let last_line = log.iter().rposition(|&byte| byte == b'\n').unwrap() as u64 + 1;
    assert_eq!(store.torn_tail, Some(last_line));
}

#[test]
fn v0_2_corrupt_middle() {
    let log = std::fs::read(sample("v0_2_corrupt_middle").join("data/flint.aof")).unwrap();
    let third_line = log.split_inclusive(|&byte| byte == b'\n').take(2).map(<[u8]>::len).sum::<usize>() as u64;
    match read("v0_2_corrupt_middle") {
        Err(Error::Corrupt { path, offset, detail }) => {
            assert!(path.ends_with("flint.aof"));
            assert_eq!(offset, third_line);
            assert!(detail.starts_with("line 3: checksum mismatch"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn v0_2_tampered_snapshot() {
    match read("v0_2_tampered_snapshot") {
        Err(Error::Corrupt { path, detail, .. }) => {
            assert!(path.ends_with("flint.snapshot"));
            let message = expected("v0_2_tampered_snapshot")["error"].as_str().unwrap().to_owned();
            assert!(message.ends_with(&detail), "{message} / {detail}");
        }
        other => panic!("{other:?}"),
    }
}
