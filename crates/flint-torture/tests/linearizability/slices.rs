//! A call that sets many limits does so in slices: what others do in between, and what is left when it ends there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use flint_core::engine::{OnChange, SLICE_RATES, SyncMode};
use flint_core::hooks::visit_between_slices;
use flint_core::limit::{Algorithm, Limit};
use flint_core::testing::sim::{CrashPlan, SimDisk};
use flint_core::{Engine, Error};
use flint_torture::harness::{MODES, START, clock_at, limit, open, options};

/// Slices of a call.
const SLICES: usize = 4;
/// Its limits. The last slice has room for more.
const LIMITS: usize = SLICES * SLICE_RATES - 7;

struct Store {
    disk: SimDisk,
    sync: SyncMode,
    keys: Vec<String>,
    rate: Limit,
}

impl Store {
    fn new(sync: SyncMode) -> (Self, Rc<Engine>) {
        let keys = (0..LIMITS).map(|number| format!("key-{number:05}")).collect();
        let rate = limit("5/day", Algorithm::TokenBucket);
        let store = Self { disk: SimDisk::new(), sync, keys, rate };
        let engine = store.open(&store.disk);
        engine.limit("other", &limit("1000000/hour", Algorithm::TokenBucket), OnChange::Keep).unwrap();
        engine.flush().unwrap();
        (store, Rc::new(engine))
    }

    fn open(&self, disk: &SimDisk) -> Engine {
        open(disk, options(self.sync, &clock_at(START))).unwrap()
    }

    /// Sets all limits, and calls `between` after each slice with the number of slices that are set.
    fn set(&self, engine: &Engine, mut between: impl FnMut(usize) + 'static) -> Result<(), Error> {
        let specs: Vec<_> = self.keys.iter().map(|key| (key.as_str(), self.rate, OnChange::Keep)).collect();
        let mut slice = 0;
        visit_between_slices(Some(Box::new(move || {
            slice += 1;
            between(slice);
        })));
        let result = engine.limit_many(&specs);
        visit_between_slices(None);
        result
    }

    /// How many limits of the call are set: the first ones, in its order.
    fn prefix(&self, engine: &Engine) -> usize {
        let set = engine.list(Some("key-"), None, None).unwrap();
        assert!(set.iter().map(|status| &status.key).eq(&self.keys[..set.len()]), "not the first {}", set.len());
        set.len()
    }
}

#[test]
fn other_calls_get_through_between_slices() {
    for sync in MODES {
        let (store, engine) = Store::new(sync);
        let (beside, seen) = (engine.clone(), Rc::new(RefCell::new(Vec::new())));
        let noted = seen.clone();
        let before = engine.counters().seq;
        store
            .set(&engine, move |_| {
                assert!(beside.check("other", 1, None).unwrap().allowed);
                noted.borrow_mut().push(beside.list(Some("key-"), None, None).unwrap().len());
            })
            .unwrap();
        assert_eq!(*seen.borrow(), [SLICE_RATES, 2 * SLICE_RATES, 3 * SLICE_RATES, LIMITS]);
        assert_eq!(engine.counters().seq - before, 2 * SLICES as u64, "a record for each slice, and for each check");
        assert_eq!(store.prefix(&engine), LIMITS);
        let images = engine.images().unwrap();
        assert_eq!(store.open(&store.disk.kill()).images().unwrap(), images);
    }
}

#[test]
fn a_call_that_has_started_has_its_room() {
    for sync in MODES {
        let (store, engine) = Store::new(sync);
        let (beside, disk) = (engine.clone(), store.disk.clone());
        let refused = Rc::new(Cell::new(0));
        let count = refused.clone();
        store
            .set(&engine, move |slice| {
                disk.set_full(true);
                // The others take whatever room is left.
                let error = loop {
                    if let Err(error) = beside.check("other", 1, None) {
                        break error;
                    }
                };
                assert!(slice == SLICES || error.is_out_of_space(), "{error:?}");
                count.set(count.get() + 1);
            })
            .unwrap();
        assert_eq!(refused.get(), SLICES);
        assert_eq!(store.prefix(&engine), LIMITS);
        // What was set aside and not needed is given back, and nothing more.
        assert!(engine.check("other", 1, None).unwrap().allowed);
        while engine.check("other", 1, None).is_ok() {}
        store.disk.set_full(false);
        assert!(engine.check("other", 1, None).unwrap().allowed);
        let images = engine.images().unwrap();
        Rc::into_inner(engine).unwrap().close().unwrap();
        assert_eq!(store.open(&store.disk).images().unwrap(), images);
    }
}

#[test]
fn without_room_for_all_nothing_is_set() {
    for sync in MODES {
        let (store, engine) = Store::new(sync);
        store.disk.set_full(true);
        let before = engine.images().unwrap();
        let error = store.set(&engine, |slice| panic!("slice {slice} was set")).unwrap_err();
        assert!(error.is_out_of_space(), "{error:?}");
        assert_eq!(engine.images().unwrap(), before);
        assert!(engine.check("other", 1, None).unwrap().allowed, "the room is given back");
        store.disk.set_full(false);
        store.set(&engine, |_| ()).unwrap();
        store.disk.set_full(true);
        let seq = engine.counters().seq;
        store.set(&engine, |_| ()).unwrap();
        assert_eq!(engine.counters().seq, seq, "what is set already needs no room");
    }
}

#[test]
fn a_death_between_slices_leaves_the_slices_before_it() {
    for sync in MODES {
        let (store, engine) = Store::new(sync);
        let images = Rc::new(RefCell::new(Vec::new()));
        let (taken, disk) = (images.clone(), store.disk.clone());
        store
            .set(&engine, move |_| {
                taken.borrow_mut().push((disk.kill(), disk.power_cut(CrashPlan::LoseUnsynced)));
            })
            .unwrap();
        for (slice, (killed, cut)) in images.take().into_iter().enumerate() {
            let set = ((slice + 1) * SLICE_RATES).min(LIMITS);
            let reopened = store.open(&killed);
            assert_eq!(store.prefix(&reopened), set);
            store.set(&reopened, |_| ()).unwrap();
            assert_eq!(store.prefix(&reopened), LIMITS, "the same call again completes it");
            let after_cut = store.prefix(&store.open(&cut));
            assert!(after_cut <= set && (after_cut.is_multiple_of(SLICE_RATES) || after_cut == LIMITS), "{after_cut}");
        }
        // In both modes one sync covers what was acknowledged at the end of the call.
        engine.flush().unwrap();
        assert_eq!(store.prefix(&store.open(&store.disk.power_cut(CrashPlan::LoseUnsynced))), LIMITS);
    }
}

#[test]
fn a_close_between_slices_ends_the_call() {
    let (store, engine) = Store::new(SyncMode::Batch);
    let beside = engine.clone();
    let error = store
        .set(&engine, move |slice| {
            if slice == 2 {
                beside.close().unwrap()
            }
        })
        .unwrap_err();
    assert!(matches!(error, Error::Closed), "{error:?}");
    drop(engine);
    assert_eq!(store.prefix(&store.open(&store.disk)), 2 * SLICE_RATES);
}
