//! The compaction that the worker starts, concurrent with callers and close(). Its threshold can be lowered only from in here.

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::yield_now;

use super::backend::{Backend, Writer};
use super::*;
use crate::error::Error;
use crate::limit::{Algorithm, parse_limit};
use crate::sync::explore::explore;
use crate::sync::{Arc, Ordering, process, spawn_named};
use crate::testing::sim::SimDisk;

#[test]
fn a_compaction_in_the_background_ends_before_the_store_is_closed() {
    let compactions = Arc::new(process::AtomicU64::new(0));
    let all_compactions = compactions.clone();
    explore(8_000, move || {
        let disk = SimDisk::new();
        let options = Options { segment_bytes: 16 << 10, ..Options::default() };
        let engine = Arc::new(Engine::open_in(disk.dir(), options.clone()).unwrap());
        let limit = parse_limit("100/day", Algorithm::FixedWindowCounter).unwrap();
        engine.limit("k", &limit, OnChange::Keep).unwrap();
        let shared = engine.writer("test").unwrap();
        shared.core.lock().compact_above = 0;

        let checks = Arc::new(process::AtomicU64::new(0));
        let (checking, closing, counted) = (engine.clone(), engine.clone(), checks.clone());
        let (next_disk, next_options) = (disk.clone(), options.clone());
        let by_itself = thread_rng().gen_ratio(1, 2);
        let turns = thread_rng().gen_range(0..200);
        let threads = [
            spawn_named("check", move || {
                for _ in 0..3 {
                    match checking.check("k", 1, None) {
                        Ok(_) => drop(counted.fetch_add(1, Ordering::SeqCst)),
                        Err(Error::Closed) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                if !by_itself {
                    match checking.compact() {
                        Ok(()) | Err(Error::Closed) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }),
            spawn_named("close", move || {
                for _ in 0..turns {
                    yield_now();
                }
                closing.close().unwrap();
                let Backend::Writer(Writer { shared, .. }) = &closing.backend else {
                    unreachable!("it was opened to write")
                };
                assert_eq!(Arc::strong_count(shared), 1, "a thread of the store outlives it");
                // Another process may own the directory now.
                let next = Engine::open_in(next_disk.dir(), next_options).unwrap();
                assert!(next.recovery().clean);
                next.compact().unwrap();
                next.close().unwrap();
            }),
        ];
        for thread in threads {
            thread.unwrap().join().unwrap();
        }
        let names = disk.dir().list().unwrap();
        assert!(names.iter().all(|name| !name.ends_with(".tmp") || name == "flint-reserve.tmp"), "{names:?}");
        let next = Engine::open_in(disk.dir(), Options { read_only: true, ..options }).unwrap();
        assert!(next.recovery().clean);
        assert_eq!(next.status("k").unwrap().unwrap().total_allowed, checks.load(Ordering::SeqCst));
        assert_eq!(engine.take_notices(), []);
        let shared = engine.writer("test").unwrap();
        if by_itself {
            all_compactions.fetch_add(shared.compactions.load(Ordering::Relaxed), Ordering::SeqCst);
        }
    });
    let compactions = compactions.load(Ordering::SeqCst);
    assert!(compactions > 500, "only {compactions} compactions in the background were finished");
}
