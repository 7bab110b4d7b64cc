//! list and top: order, prefix, paging, and thousands of keys.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::engine::{World, bucket, item};
use flint_core::Engine;
use flint_core::engine::{OnChange, SyncMode, TopBy};

fn keys(engine: &Engine, prefix: Option<&str>, limit: Option<usize>, after: Option<&str>) -> Vec<String> {
    engine.list(prefix, limit, after).unwrap().into_iter().map(|status| status.key).collect()
}

fn with_keys(keys: &[&str]) -> (World, Engine) {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    for key in keys {
        engine.limit(key, &bucket("5/day"), OnChange::Keep).unwrap();
    }
    (world, engine)
}

#[test]
fn keys_come_in_byte_order_within_prefix_limit_and_after() {
    let (world, engine) = with_keys(&["b", "a:2", "a:10", "ä", "a", "a:1", "Z", "a:", "\u{1f600}", "b\n"]);
    for engine in [engine, world.open_read_only()] {
        assert_eq!(
            keys(&engine, None, None, None),
            ["Z", "a", "a:", "a:1", "a:10", "a:2", "b", "b\n", "ä", "\u{1f600}"]
        );
        assert_eq!(keys(&engine, Some("a:"), None, None), ["a:", "a:1", "a:10", "a:2"]);
        assert_eq!(keys(&engine, Some("a:"), Some(2), None), ["a:", "a:1"]);
        assert_eq!(keys(&engine, Some("a:"), Some(2), Some("a:1")), ["a:10", "a:2"]);
        assert_eq!(keys(&engine, None, Some(3), Some("a:15")), ["a:2", "b", "b\n"], "after need not exist");
        assert_eq!(keys(&engine, Some("a"), None, Some("b")), Vec::<String>::new());
        assert_eq!(keys(&engine, Some(""), Some(1), Some("")), ["Z"]);
        assert_eq!(keys(&engine, None, Some(0), None), Vec::<String>::new());
        assert_eq!(keys(&engine, Some("nothing"), None, None), Vec::<String>::new());
    }
}

#[test]
fn ten_thousand_limits_are_paged_without_a_gap() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let names: BTreeSet<String> = (0..10_000).map(|i| format!("{}:{i}", ["user", "org", "ip"][i % 3])).collect();
    let specs: Vec<_> = names.iter().map(|key| (key.as_str(), bucket("5/day; 9/week"), OnChange::Keep)).collect();
    engine.limit_many(&specs).unwrap();
    assert_eq!(engine.counters().keys, 10_000);
    assert!(keys(&engine, None, None, None).iter().eq(&names));
    let mut paged = Vec::new();
    loop {
        let page = keys(&engine, Some("org:"), Some(500), paged.last().map(String::as_str));
        let last = page.len() < 500;
        paged.extend(page);
        if last {
            break;
        }
    }
    assert!(paged.iter().eq(names.iter().filter(|key| key.starts_with("org:"))));
    engine.close().unwrap();
    assert!(keys(&world.open(), None, None, None).iter().eq(&names));
}

#[test]
fn a_page_is_full_although_keys_vanish_beside_it() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let names: Vec<String> = (0..3_000).map(|i| format!("k{i:05}")).collect();
    let specs: Vec<_> = names.iter().map(|key| (key.as_str(), bucket("5/day"), OnChange::Keep)).collect();
    engine.limit_many(&specs).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Two of three keys come and go.
            while !done.load(Ordering::Acquire) {
                for (index, name) in names.iter().enumerate().filter(|(index, _)| index % 3 != 0) {
                    engine.delete(name).unwrap();
                    if index % 2 == 0 {
                        std::thread::yield_now();
                    }
                    engine.limit(name, &bucket("5/day"), OnChange::Keep).unwrap();
                }
            }
        });
        for _ in 0..60 {
            let mut seen = Vec::new();
            loop {
                let page = keys(&engine, None, Some(50), seen.last().map(String::as_str));
                let last = page.len() < 50;
                seen.extend(page);
                if last {
                    break;
                }
            }
            assert!(seen.is_sorted_by(|a, b| a < b));
            let steady = seen.iter().filter(|key| key[1..].parse::<u32>().unwrap() % 3 == 0).count();
            assert_eq!(steady, 1_000, "a page that was not full is the last");
            let top = engine.top(TopBy::Allowed, 10).unwrap();
            assert_eq!(top.len(), 0);
        }
        done.store(true, Ordering::Release);
    });
}

#[test]
fn top_sorts_by_each_total_with_ties_in_byte_order() {
    let (world, engine) = with_keys(&["a", "b", "c", "d", "never"]);
    for (key, allowed, cost, denied) in [("a", 1, 5, 2), ("b", 3, 1, 9), ("c", 1, 4, 2), ("d", 2, 2, 0)] {
        for _ in 0..allowed {
            assert!(engine.check(key, cost, None).unwrap().allowed);
        }
        for _ in 0..denied {
            assert!(!engine.check(key, 5, None).unwrap().allowed);
        }
    }
    assert!(!engine.check_all(&[item("c", 5), item("never", 1)]).unwrap().allowed);
    let check = |engine: &Engine| {
        let top = |by, limit| -> Vec<(String, u64)> {
            let total = |status: &flint_core::engine::Status| match by {
                TopBy::Allowed => status.total_allowed,
                TopBy::Denied => status.total_denied,
                TopBy::AllowedCost => status.total_allowed_cost,
                TopBy::DeniedCost => status.total_denied_cost,
            };
            engine.top(by, limit).unwrap().into_iter().map(|status| (status.key.clone(), total(&status))).collect()
        };
        let named = |pairs: &[(&str, u64)]| pairs.iter().map(|(key, n)| ((*key).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(top(TopBy::Allowed, 10), named(&[("b", 3), ("d", 2), ("a", 1), ("c", 1)]));
        assert_eq!(top(TopBy::Allowed, 3), named(&[("b", 3), ("d", 2), ("a", 1)]));
        assert_eq!(top(TopBy::AllowedCost, 2), named(&[("a", 5), ("c", 4)]));
        assert_eq!(top(TopBy::Denied, 10), named(&[("b", 9), ("c", 3), ("a", 2)]));
        assert_eq!(top(TopBy::DeniedCost, 2), named(&[("b", 45), ("c", 15)]));
        assert_eq!(top(TopBy::Denied, 0), []);
    };
    check(&engine);
    engine.close().unwrap();
    check(&world.open());
    check(&world.open_read_only());
}

fn filled(count: usize) -> (World, Engine, Vec<String>) {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let names: Vec<String> = (0..count).map(|i| format!("k{i:06}")).collect();
    let specs: Vec<_> = names.iter().map(|key| (key.as_str(), bucket("5/day"), OnChange::Keep)).collect();
    engine.limit_many(&specs).unwrap();
    (world, engine, names)
}

#[test]
fn all_keys_are_visited_once_in_short_slices() {
    let (_world, engine, names) = filled(10_000);
    for visits in 1..=3 {
        match visits {
            1 => assert_eq!(keys(&engine, None, None, None), names),
            2 => assert_eq!(engine.top(TopBy::Denied, 10).unwrap(), []),
            _ => assert_eq!(engine.aggregate().unwrap()[0].keys, 10_000),
        }
        let scanned = engine.scanned().unwrap();
        assert_eq!(scanned.slots, visits * 10_000);
        assert_eq!(scanned.largest_slice, 256, "what is visited under the lock at a time");
    }
}

#[test]
fn pages_continue_a_listing_without_a_scan_each() {
    let (_world, engine, names) = filled(10_000);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = keys(&engine, None, Some(10), paged.last().map(String::as_str));
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, names);
    assert_eq!(engine.scanned().unwrap().slots, 10_000, "1,000 pages, one scan");
    // The same page again is another listing.
    assert_eq!(keys(&engine, None, Some(10), Some(&names[9])), names[10..20]);
    assert_eq!(keys(&engine, None, Some(10), Some(&names[9])), names[10..20]);
    assert_eq!(engine.scanned().unwrap().slots, 30_000);
}

#[test]
fn a_listing_larger_than_a_window_is_scanned_once_per_window() {
    let (_world, engine, names) = filled(100_000);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = keys(&engine, Some("k"), Some(5_000), paged.last().map(String::as_str));
        let last = page.len() < 5_000;
        paged.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(paged, names);
    assert_eq!(engine.scanned().unwrap().slots, 2 * 100_000);
    assert_eq!(keys(&engine, None, Some(99_999), None), names[..99_999]);
}

#[test]
fn a_page_shows_what_was_added_and_removed_since_the_page_before() {
    let (_world, engine, names) = filled(1_000);
    assert_eq!(keys(&engine, None, Some(3), None), names[..3]);
    let limit = bucket("5/day");
    for added in ["a", "k000001a", "k000003a", "z"] {
        engine.limit(added, &limit, OnChange::Keep).unwrap();
    }
    engine.check("k000004a", 1, Some(&limit)).unwrap();
    engine.delete(&names[4]).unwrap();
    engine.delete(&names[5]).unwrap();
    engine.limit(&names[5], &limit, OnChange::Keep).unwrap();
    assert_eq!(
        keys(&engine, None, Some(5), Some(&names[2])),
        [&names[3], "k000003a", "k000004a", &names[5], &names[6]],
    );
    let rest = keys(&engine, None, None, Some(&names[6]));
    assert_eq!((rest.len(), rest.last().unwrap().as_str()), (994, "z"));
    engine.limit("zz", &limit, OnChange::Keep).unwrap();
    assert_eq!(keys(&engine, None, Some(1), Some("z")), ["zz"]);
    assert_eq!(engine.scanned().unwrap().slots, 1_000 + 1_005, "the last page had no listing to continue");
}

#[test]
fn more_new_keys_than_are_noted_are_listed_all_the_same() {
    let (_world, engine, names) = filled(100);
    assert_eq!(keys(&engine, None, Some(1), None), names[..1]);
    let added: Vec<String> = (0..20_000).map(|i| format!("m{i:06}")).collect();
    let specs: Vec<_> = added.iter().map(|key| (key.as_str(), bucket("5/day"), OnChange::Keep)).collect();
    engine.limit_many(&specs).unwrap();
    let rest = keys(&engine, None, Some(50_000), Some(&names[0]));
    assert!(rest.iter().eq(names[1..].iter().chain(&added)));
}

#[test]
fn aggregates_are_the_sums_over_all_statuses() {
    let world = World::new(SyncMode::Batch);
    let engine = world.open();
    let text = ["5/day", "9/day", "5/day; 9/week", "5/day; 5/day"];
    for (index, limit) in text.iter().cycle().take(1_000).enumerate() {
        engine.limit(&format!("k{index}"), &bucket(limit), OnChange::Keep).unwrap();
    }
    let window = flint_core::limit::parse_limit("7/hour", flint_core::limit::Algorithm::FixedWindowCounter).unwrap();
    engine.limit("window", &window, OnChange::Keep).unwrap();
    engine.limit("window 2", &window, OnChange::Keep).unwrap();
    for index in 0..50 {
        engine.check(&format!("k{index}"), 3, None).unwrap();
        engine.check(&format!("k{index}"), 4, None).unwrap();
    }
    let mut all = engine.aggregate().unwrap();
    all.sort_by_key(|aggregate| aggregate.keys);
    let [windows, buckets] = &all[..] else { panic!("{all:?}") };
    assert_eq!((windows.keys, windows.limit, windows.per_ms), (2, Some(7), Some(3_600_000)));
    assert_eq!(windows.rates.as_deref(), Some(window.rates()));
    assert_eq!((buckets.keys, &buckets.rates, buckets.limit, buckets.per_ms), (1_000, &None, None, None));
    let statuses = engine.list(Some("k"), None, None).unwrap();
    let sum = |of: fn(&flint_core::engine::Status) -> u64| statuses.iter().map(of).sum::<u64>();
    assert_eq!(buckets.total_allowed, sum(|status| status.total_allowed));
    assert_eq!(buckets.total_denied, sum(|status| status.total_denied));
    assert_eq!(buckets.total_allowed_cost, sum(|status| status.total_allowed_cost));
    assert_eq!(buckets.total_denied_cost, sum(|status| status.total_denied_cost));
    assert_eq!(Some(buckets.remaining), statuses.iter().map(|status| status.remaining).min());
    assert_eq!(Some(buckets.reset_at_wall_ns), statuses.iter().map(|status| status.reset_at_wall_ns).max());
}
