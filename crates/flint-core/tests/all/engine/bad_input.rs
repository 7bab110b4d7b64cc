//! What the engine refuses: a clear error of the right kind, nothing written, no other key affected.

use crate::support::engine::{MODES, World, bucket, item};
use flint_core::engine::{Check, CheckAll, Item, MAX_ITEMS, MAX_SPECS, OnChange, Options, SyncMode, WaitPolicy};
use flint_core::limit::{Algorithm, Limit, Rate, parse_limit};
use flint_core::{Engine, Error, Result};

/// The kind of an error, and that its message has these words.
fn refused<T>(result: Result<T>, kind: &str, words: &[&str]) {
    let error = result.err().expect("it is refused");
    let got = match &error {
        Error::InvalidKey(_) => "key",
        Error::InvalidLimit(_) => "limit",
        Error::InvalidCost(_) => "cost",
        Error::InvalidArgument(_) => "argument",
        Error::LimitNotFound { .. } => "unknown",
        Error::Storage { .. } => "storage",
        Error::ReadOnly { .. } => "read-only",
        Error::Closed => "closed",
        other => panic!("{other:?}"),
    };
    let message = error.to_string();
    assert_eq!(got, kind, "{message}");
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn bad_calls_change_nothing() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        engine.limit("k", &bucket("5/minute; 9/hour"), OnChange::Keep).unwrap();
        engine.limit("other", &bucket("5/minute"), OnChange::Keep).unwrap();
        engine.check("k", 1, None).unwrap();
        engine.check("other", 1, None).unwrap();
        engine.flush().unwrap();
        let before = engine.list(None, None, None).unwrap();
        let (counters, ops) = (engine.counters(), world.disk.ops());

        let given = bucket("7/s");
        let (long, long_utf8) = ("x".repeat(513), "ü".repeat(257));
        for (key, what) in [("", "empty"), (&long, "513"), (&long_utf8, "514")] {
            for limit in [None, Some(&given)] {
                refused(engine.check(key, 1, limit), "key", &[what, "1 to 512"]);
                refused(engine.peek(key, 1, limit), "key", &[what]);
                refused(engine.check_all(&[item("k", 1), Item { key, cost: 1, limit }]), "key", &[what]);
            }
            refused(engine.limit(key, &given, OnChange::Keep), "key", &[what]);
            let specs = [("k", given, OnChange::Reset), (key, given, OnChange::Keep)];
            refused(engine.limit_many(&specs), "key", &[what]);
            refused(engine.status(key), "key", &[what]);
            refused(engine.history(key, 5), "key", &[what]);
            refused(engine.reset(key), "key", &[what]);
            refused(engine.delete(key), "key", &[what]);
        }
        for cost in [0, 6, u64::MAX] {
            refused(engine.check("k", cost, None), "cost", &[&cost.to_string(), "1 to the limit's capacity of 5"]);
            refused(engine.peek("k", cost, None), "cost", &["capacity of 5"]);
            refused(engine.check_all(&[item("other", 1), item("k", cost)]), "cost", &["capacity of 5"]);
        }
        for cost in [0, 8] {
            refused(engine.check("new", cost, Some(&given)), "cost", &["capacity of 7"]);
            let new = Item { key: "new", cost, limit: Some(&given) };
            refused(engine.check_all(&[item("k", 1), new]), "cost", &["capacity of 7"]);
        }
        refused(engine.check("new", 1, None), "unknown", &["\"new\"", "limit()"]);
        refused(engine.peek("new", 1, None), "unknown", &["\"new\""]);
        refused(engine.check_all(&[item("k", 1), item("new", 1)]), "unknown", &["\"new\""]);
        refused(engine.reset("new"), "unknown", &["\"new\""]);
        refused(engine.delete("new"), "unknown", &["\"new\""]);
        refused(engine.check("a\n\u{1b}[31m", 1, None), "unknown", &["a\\n\\u{1b}[31m"]);
        refused(engine.check_all(&[]), "argument", &["at least one"]);
        refused(engine.check_all(&[item("k", 1), item("other", 1), item("k", 1)]), "key", &["\"k\"", "twice"]);
        let keys: Vec<String> = (0..=MAX_ITEMS).map(|i| i.to_string()).collect();
        let mut items: Vec<_> = keys.iter().map(|key| Item { key, cost: 1, limit: Some(&given) }).collect();
        refused(engine.check_all(&items), "argument", &["1001", "1000"]);
        items.truncate(MAX_ITEMS - 1);
        items.push(items[5]);
        refused(engine.check_all(&items), "key", &["\"5\"", "twice"]);
        let spec = |key| (key, given, OnChange::Keep);
        refused(engine.limit_many(&[spec("k"), spec("a"), spec("k")]), "key", &["\"k\"", "twice"]);
        let many: Vec<_> = std::iter::repeat_n(spec("k"), MAX_SPECS + 1).collect();
        refused(engine.limit_many(&many), "argument", &["100001", "100000"]);

        assert_eq!(engine.counters(), counters, "nothing was counted or written");
        assert_eq!(world.disk.ops(), ops, "no file was touched");
        assert_eq!(engine.list(None, None, None).unwrap(), before);
        engine.close().unwrap();
        assert_eq!(world.open().list(None, None, None).unwrap(), before);
    }
}

#[test]
fn bad_limits_are_refused_when_they_are_made() {
    let new = |limit, per_ms, burst| Rate::new(limit, per_ms, burst, Algorithm::TokenBucket);
    refused(new(0, 1_000, None), "limit", &["at least 1"]);
    refused(new(1, 0, None), "limit", &["at least 1 ms"]);
    refused(new(1, 1_000, Some(0)), "limit", &["at least 1"]);
    refused(new(1, u64::MAX, None), "limit", &["ten years"]);
    refused(new(1, 315_360_000_001, None), "limit", &["ten years"]);
    refused(new(1, 315_360_000_000, Some(11)), "limit", &["100 years"]);
    refused(new(1, 2, Some(u64::MAX)), "limit", &["100 years"]);
    let log = Rate::new(1_000_001, 1_000_001, None, Algorithm::SlidingWindowLog);
    refused(log, "limit", &["1000000", "fixed_window_counter"]);
    for algorithm in [Algorithm::SlidingWindowLog, Algorithm::FixedWindowCounter] {
        refused(Rate::new(5, 1_000, Some(6), algorithm), "limit", &["burst", algorithm.name()]);
    }
    refused(Limit::new(&[]), "limit", &["1 to 8"]);
    let rate = new(1, 1_000, None).unwrap();
    refused(Limit::new(&[rate; 9]), "limit", &["9 rates", "1 to 8"]);
    refused(Limit::new(&[rate, Rate::unchecked(0, 1, 1, Algorithm::TokenBucket)]), "limit", &["at least 1"]);
    for (text, words) in [
        ("abc/minute", &["abc"][..]),
        ("10/fortnight", &["fortnight"]),
        ("1/s;".repeat(9).trim_end_matches(';'), &["9 rates"]),
        ("18446744073709551616/s", &["18446744073709551616"]),
        ("0/s", &["at least 1"]),
        ("-1/s", &["-1"]),
        ("1.5/s", &["1.5"]),
        ("", &["100/minute"]),
        ("1/0s", &[]),
        ("1/s burst", &[]),
    ] {
        refused(parse_limit(text, Algorithm::TokenBucket), "limit", words);
    }
    refused(Algorithm::parse("leaky"), "limit", &["leaky", "token_bucket, sliding_window_log, fixed_window_counter"]);
}

#[test]
fn bad_settings_are_refused_before_anything_is_made() {
    let world = World::new(SyncMode::Batch);
    let cases = [
        (Options { flush_every_ms: 0, ..world.options.clone() }, "flush_every_ms"),
        (Options { flush_every_events: 0, ..world.options.clone() }, "flush_every_events"),
        (Options { segment_bytes: 0, ..world.options.clone() }, "segment_bytes"),
        (Options { segment_bytes: 16_385, ..world.options.clone() }, "segment_bytes"),
        (Options { segment_bytes: 2 << 30, ..world.options.clone() }, "segment_bytes"),
    ];
    for (options, name) in cases {
        refused(Engine::open_in(world.disk.dir(), options), "argument", &[name]);
    }
    assert_eq!(world.disk.ops(), 0);
    assert_eq!(world.disk.dir().list().unwrap(), Vec::<String>::new());
}

#[test]
fn after_close_every_call_says_so() {
    let world = World::new(SyncMode::Batch);
    world.open().limit("k", &bucket("5/s"), OnChange::Keep).unwrap();
    for engine in [world.open_read_only(), world.open()] {
        engine.close().unwrap();
        engine.close().unwrap();
        assert!(engine.is_closed());
        let ops = world.disk.ops();
        refused(engine.check("k", 1, None), "closed", &[]);
        refused(engine.try_run(&Check::new(item("k", 1)), WaitPolicy::Never), "closed", &[]);
        refused(engine.try_run(&Check::attempt(item("k", 1)), WaitPolicy::Never), "closed", &[]);
        refused(engine.count_denial("k", 1, None), "closed", &[]);
        refused(engine.forecast("k", None, &[1]), "closed", &[]);
        refused(engine.check_all(&[item("k", 1)]), "closed", &[]);
        refused(engine.peek("k", 1, None), "closed", &[]);
        refused(engine.limit("k", &bucket("5/s"), OnChange::Keep), "closed", &[]);
        refused(engine.limit_many(&[]), "closed", &[]);
        refused(engine.reset("k"), "closed", &[]);
        refused(engine.delete("k"), "closed", &[]);
        refused(engine.status("k"), "closed", &[]);
        refused(engine.list(None, None, None), "closed", &[]);
        refused(engine.top(flint_core::engine::TopBy::Allowed, 1), "closed", &[]);
        refused(engine.history("k", 1), "closed", &[]);
        refused(engine.flush(), "closed", &[]);
        refused(engine.compact(), "closed", &[]);
        refused(engine.doctor(), "closed", &[]);
        assert_eq!(world.disk.ops(), ops);
    }
}

#[test]
fn a_reader_changes_nothing() {
    let world = World::new(SyncMode::Batch);
    world.open().limit("k", &bucket("5/s"), OnChange::Keep).unwrap();
    let (engine, ops) = (world.open_read_only(), world.disk.ops());
    for (result, name) in [
        (engine.check("k", 1, None).map(drop), "check"),
        (engine.try_run(&Check::new(item("k", 1)), WaitPolicy::Lock).map(drop), "check"),
        (engine.check_all(&[item("k", 1)]).map(drop), "check_all"),
        (engine.try_run(&CheckAll { items: &[item("k", 1)] }, WaitPolicy::Lock).map(drop), "check_all"),
        (engine.limit("k", &bucket("5/s"), OnChange::Keep), "limit"),
        (engine.limit_many(&[]), "limit_many"),
        (engine.reset("k"), "reset"),
        (engine.delete("k"), "delete"),
        (engine.flush(), "flush"),
        (engine.compact(), "compact"),
    ] {
        refused(result, "read-only", &[name, "read_only=True"]);
    }
    assert_eq!(engine.peek("k", 5, None).unwrap().remaining, 0);
    assert_eq!(engine.status("k").unwrap().unwrap().remaining, 5);
    assert_eq!(engine.list(Some("k"), None, None).unwrap().len(), 1);
    assert_eq!(engine.history("k", 10).unwrap().len(), 1);
    assert!(engine.doctor().unwrap().ok);
    drop(engine);
    assert_eq!(world.disk.ops(), ops);
}

#[test]
fn a_directory_that_is_a_file_or_missing_is_named() {
    let base = std::env::temp_dir().join(format!("flint-bad-input-{}", std::process::id()));
    std::fs::create_dir_all(&base).unwrap();
    let file = base.join("file");
    std::fs::write(&file, "not a directory").unwrap();
    refused(Engine::open(&file, Options::default()), "storage", &["cannot open", file.to_str().unwrap()]);
    let missing = base.join("missing");
    let look = || Options { read_only: true, ..Options::default() };
    refused(Engine::open(&missing, look()), "storage", &[missing.to_str().unwrap()]);
    refused(flint_core::doctor::examine(&missing), "storage", &[missing.to_str().unwrap()]);
    refused(flint_core::dump::dump(&missing, 0, &mut |_| true), "storage", &[missing.to_str().unwrap()]);
    assert!(!missing.exists());
    assert_eq!(std::fs::read(&file).unwrap(), b"not a directory");
    std::fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_full_disk_refuses_the_call_and_nothing_else() {
    for mode in MODES {
        let world = World::new(mode);
        world.disk.set_full(true);
        let full = Engine::open_in(world.disk.dir(), world.options.clone()).err().unwrap();
        assert!(full.is_out_of_space(), "{full}");
        world.disk.set_full(false);
        let engine = world.open();
        engine.limit("k", &bucket("100000/day"), OnChange::Keep).unwrap();
        world.disk.set_full(true);
        let mut allowed = 0;
        let error = loop {
            match engine.check("k", 1, None) {
                Ok(outcome) => allowed += outcome.cost,
                Err(error) => break error,
            }
        };
        assert!(error.is_out_of_space(), "{error}");
        assert!((100..1_000).contains(&allowed), "{allowed}");
        assert!(engine.check("k", 1, None).is_err());
        assert_eq!(engine.status("k").unwrap().unwrap().total_allowed, allowed);
        assert_eq!(engine.peek("k", 1, None).unwrap().remaining, 100_000 - allowed - 1);
        world.disk.set_full(false);
        assert!(engine.check("k", 1, None).unwrap().allowed, "writing resumes with space");
        engine.close().unwrap();
        assert_eq!(world.open().status("k").unwrap().unwrap().total_allowed, allowed + 1);
    }
}
