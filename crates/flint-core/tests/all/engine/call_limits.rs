//! Limits that come with the call: stored with the first allowed check, and never in place of one that was set explicitly. `counters`
//! is about several of them.

use crate::support::engine::{MINUTE, MODES, SECOND, World, bucket};
use flint_core::Error;
use flint_core::engine::{EventKind, OnChange, SyncMode};
use flint_core::image::Origin;

#[test]
fn the_first_allowed_check_stores_the_limit() {
    for mode in MODES {
        let world = World::new(mode);
        let engine = world.open();
        let given = bucket("3/minute");
        let seq = engine.counters().seq;
        assert_eq!(engine.check("k", 1, Some(&given)).unwrap().remaining, 2);
        assert_eq!(engine.counters().seq, seq + 1, "the limit and the check are one record");
        assert_eq!(engine.check("k", 1, Some(&given)).unwrap().remaining, 1);
        assert_eq!(engine.check("k", 1, None).unwrap().remaining, 0, "it is known now");
        assert!(!engine.check("k", 1, Some(&given)).unwrap().allowed);
        let status = engine.status("k").unwrap().unwrap();
        assert_eq!((status.origin, status.total_allowed, status.total_denied), (Origin::Call, 3, 1));
        engine.close().unwrap();
        assert_eq!(world.open().status("k").unwrap().unwrap(), status);
    }
}

#[test]
fn the_same_limit_with_every_call_is_written_once() {
    let engine = World::new(SyncMode::Batch).open();
    let given = bucket("1000/minute");
    engine.check("k", 1, Some(&given)).unwrap();
    let before = engine.counters().log_bytes;
    for _ in 0..10 {
        engine.check("k", 1, Some(&given)).unwrap();
    }
    assert_eq!(engine.counters().log_bytes - before, 640);
    let configured = engine.history("k", 100).unwrap();
    assert_eq!(configured.iter().filter(|event| event.kind == EventKind::LimitConfigured).count(), 1);
}

#[test]
fn an_explicit_limit_takes_precedence() {
    let engine = World::new(SyncMode::Batch).open();
    engine.limit("k", &bucket("2/minute"), OnChange::Keep).unwrap();
    let generous = bucket("1000/s");
    let got = engine.check("k", 1, Some(&generous)).unwrap();
    assert_eq!((got.limit, got.remaining), (2, 1));
    assert_eq!(engine.peek("k", 1, Some(&generous)).unwrap().remaining, 0);
    assert!(matches!(engine.check("k", 3, Some(&generous)), Err(Error::InvalidCost(_))), "its capacity counts");
    assert_eq!(engine.status("k").unwrap().unwrap().origin, Origin::Explicit);
}

#[test]
fn peek_with_a_limit_stores_nothing() {
    let engine = World::new(SyncMode::Batch).open();
    let seq = engine.counters().seq;
    let got = engine.peek("k", 2, Some(&bucket("5/minute"))).unwrap();
    assert_eq!((got.allowed, got.remaining, got.reset_after_ns), (true, 3, 24 * SECOND));
    assert_eq!((engine.counters().seq, engine.counters().keys), (seq, 0));
    assert!(matches!(engine.peek("k", 1, None), Err(Error::LimitNotFound { key }) if key == "k"));
}

#[test]
fn the_cost_is_measured_by_the_limit_that_decides() {
    let engine = World::new(SyncMode::Batch).open();
    assert!(matches!(engine.check("k", 6, Some(&bucket("5/minute"))), Err(Error::InvalidCost(_))));
    assert_eq!(engine.counters().keys, 0);
    engine.check("k", 1, Some(&bucket("5/minute"))).unwrap();
    let got = engine.check("k", 6, Some(&bucket("9/minute"))).unwrap();
    assert_eq!((got.allowed, got.remaining), (true, 3));
    assert!(matches!(engine.check("k", 6, Some(&bucket("5/minute"))), Err(Error::InvalidCost(_))));
}

#[test]
fn a_key_that_was_deleted_begins_anew() {
    let world = World::new(SyncMode::Always);
    let engine = world.open();
    let given = bucket("2/minute");
    for _ in 0..100 {
        assert!(engine.check("k", 2, Some(&given)).unwrap().allowed);
        assert!(!engine.check("k", 1, Some(&given)).unwrap().allowed);
        engine.delete("k").unwrap();
    }
    assert!(engine.check("k", 1, Some(&given)).unwrap().allowed);
    world.clock.advance_ns(MINUTE);
    let before = engine.list(None, None, None).unwrap();
    assert_eq!(before[0].total_allowed, 1, "and so do its totals");
    engine.close().unwrap();
    assert_eq!(world.open().list(None, None, None).unwrap(), before);
}
