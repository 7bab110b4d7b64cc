//! `flint.Limiter`.

use std::sync::{Arc, OnceLock};

use flint_core::engine::{
    Check, CheckAll, Delete, Item, MultiOutcome, Operation, Outcome, Reset, SetLimit, SetLimits, SyncMode, TopBy,
    WaitPolicy,
};
use flint_core::{Engine, Error};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};

use crate::convert::{Arg, Cost, Count, Key, absolute_path, choice};
use crate::errors::OrRaise;
use crate::event::Event;
use crate::items::{OwnedItem, parse_items};
use crate::limit::{self, LimitArg};
use crate::loops::{Loops, running_loop};
use crate::open::{Settings, sync_name};
use crate::recovery::Recovery;
use crate::results::{CheckResult, MultiCheckResult};
use crate::specs::{Spec, on_change as parse_on_change, parse_specs};
use crate::status::LimitStatus;
use crate::{live, notices, tools};

const TOP_BY: [(&str, TopBy); 4] = [
    ("allowed", TopBy::Allowed),
    ("denied", TopBy::Denied),
    ("allowed_cost", TopBy::AllowedCost),
    ("denied_cost", TopBy::DeniedCost),
];

/// The same by their names alone, for whoever passes them on.
pub(crate) const TOP_BY_NAMES: [(&str, &str); 4] =
    [(TOP_BY[0].0, TOP_BY[0].0), (TOP_BY[1].0, TOP_BY[1].0), (TOP_BY[2].0, TOP_BY[2].0), (TOP_BY[3].0, TOP_BY[3].0)];

/// Rate limits that survive restarts, kept in the directory `data_dir`.
///
/// data_dir: str or Path, made absolute; created (mode 0700) when it does not exist.
/// sync: "always" (a call returns when its record is on disk) or "batch" (it returns at once; an fsync follows). A killed process loses
///     nothing in either mode; a power cut loses at most the last batch in "batch".
/// flush_every_ms: batch mode, longest time from a call to its fsync, milliseconds, at least 1.
/// flush_every_events: batch mode, number of calls after which an fsync starts, at least 1.
/// read_only: look only, beside a running application too: no lock, no thread, no change; status, list, top, history, peek, doctor.
/// history_bytes: bytes of old log segments kept for history() after compaction.
/// clock: a flint.testing.ManualClock, for tests.
///
/// Use it as a context manager, call close(), or let go of it: each flushes and unlocks at once. One process holds a directory at a time.
/// Any method may be called from any thread.
///
/// Raises DataDirLocked, CorruptData, StorageError, InvalidArgument. Later calls raise ClosedError after close(), ForkedError in a
/// process forked after opening, and StorageError once a write or fsync has failed.
#[pyclass(module = "flint", name = "Limiter", subclass, weakref, frozen)]
pub(crate) struct Limiter(OnceLock<Open>);

struct Open {
    engine: Arc<Engine>,
    sync: SyncMode,
    read_only: bool,
    clock: Option<Py<PyAny>>,
    loops: Loops,
}

impl Limiter {
    #[inline]
    fn open(&self) -> PyResult<&Open> {
        match self.0.get() {
            Some(open) => Ok(open),
            None => Err(PyRuntimeError::new_err("Limiter.__init__() was not called")),
        }
    }

    /// The engine, for a server that answers from it.
    pub(crate) fn shared_engine(&self) -> PyResult<Arc<Engine>> {
        Ok(self.open()?.engine.clone())
    }

    #[inline]
    fn engine(&self) -> PyResult<&Engine> {
        Ok(&self.open()?.engine)
    }

    /// Decides with the GIL held, which is safe because the engine gives up at once where it would have to wait.
    #[inline]
    fn decide(&self, py: Python<'_>, key: &str, cost: u64, limit: Option<&LimitArg<'_>>) -> PyResult<Outcome> {
        let engine = self.engine()?;
        let item = Item { key, cost, limit: limit.map(LimitArg::core) };
        let check = Check::new(item);
        let decided = match engine.try_run(&check, WaitPolicy::Never) {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => py.detach(|| engine.run(&check)),
            Err(error) => Err(error),
        };
        let durable = match &decided {
            Ok(outcome) => wait(py, engine, outcome.seq),
            Err(_) => Ok(()),
        };
        notices::emit(py, engine);
        let outcome = decided.or_raise(py)?;
        durable.or_raise(py)?;
        Ok(outcome)
    }

    fn decide_all(&self, py: Python<'_>, items: &[OwnedItem<'_>]) -> PyResult<MultiOutcome> {
        let engine = self.engine()?;
        let items: Vec<Item<'_>> = items.iter().map(OwnedItem::borrow).collect::<PyResult<_>>()?;
        let check = CheckAll { items: &items };
        let decided = match engine.try_run(&check, WaitPolicy::Never) {
            Ok(Some(outcome)) => Ok(outcome),
            Ok(None) => py.detach(|| engine.run(&check)),
            Err(error) => Err(error),
        };
        let durable = match &decided {
            Ok(outcome) => wait(py, engine, outcome.seq),
            Err(_) => Ok(()),
        };
        notices::emit(py, engine);
        let outcome = decided.or_raise(py)?;
        durable.or_raise(py)?;
        Ok(outcome)
    }

    /// For event loops: decides now, whatever the disk does. Gives what `answer` makes of it when nothing has to be waited
    /// for, else a future of that; None when the decision itself would have to wait for the disk.
    fn begin<'py, O: Operation<Output: Send> + Sync>(
        &self,
        py: Python<'py>,
        operation: &O,
        answer: impl FnOnce(O::Output) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let open = self.open()?;
        let engine = &*open.engine;
        // Before anything is decided, because without a loop nobody could wait for it.
        let event_loop = if open.sync == SyncMode::Always { Some(running_loop(py)?) } else { None };
        let decided = match engine.try_run(operation, WaitPolicy::Never) {
            Ok(None) => py.detach(|| engine.try_run(operation, WaitPolicy::Lock)),
            other => other,
        };
        notices::emit(py, engine);
        let Some(decided) = decided.or_raise(py)? else { return Ok(None) };
        let seq = O::seq(&decided);
        let answer = answer(decided)?;
        match event_loop {
            Some(event_loop) if engine.must_wait(seq) => {
                open.loops.future(&event_loop, &open.engine, seq, answer.unbind()).map(Some)
            }
            _ => Ok(Some(answer)),
        }
    }

    /// The same for calls that have no answer but that they are done: True.
    fn begin_write<'py>(
        &self,
        py: Python<'py>,
        operation: &(impl Operation<Output = u64> + Sync),
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.begin(py, operation, |_| Ok(PyBool::new(py, true).to_owned().into_any()))
    }

    /// Runs `call` with the GIL released.
    fn run<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&Engine) -> flint_core::Result<T> + Send) -> PyResult<T> {
        let engine = self.engine()?;
        let result = py.detach(|| call(engine));
        notices::emit(py, engine);
        result.or_raise(py)
    }
}

/// Waits for the disk where the sync mode asks for it. A denial has nothing to wait for.
#[inline]
fn wait(py: Python<'_>, engine: &Engine, seq: u64) -> flint_core::Result<()> {
    if engine.must_wait(seq) { py.detach(|| engine.wait_durable(seq)) } else { Ok(()) }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else { return };
        if open.engine.is_forked() {
            // Threads, locks and files belong to the parent process.
            std::mem::forget(open);
        } else {
            Python::attach(|py| {
                live::close_quietly(py, &open.engine);
                open.loops.ring(py);
            });
        }
    }
}

#[pymethods]
impl Limiter {
    /// Takes whatever `__init__` takes, so that a subclass is free to have arguments of its own.
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(data_dir='.flint', *, sync='always', flush_every_ms=100, flush_every_events=100, read_only=False, \
                          history_bytes=67108864, clock=None)"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self(OnceLock::new())
    }

    #[pyo3(signature = (
        data_dir = Arg::Missing, *, sync = Arg::Missing, flush_every_ms = Arg::Missing, flush_every_events = Arg::Missing,
        read_only = Arg::Missing, history_bytes = Arg::Missing, clock = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "the constructor of the public API")]
    fn __init__<'py>(
        &self,
        py: Python<'py>,
        data_dir: Arg<'py>,
        sync: Arg<'py>,
        flush_every_ms: Arg<'py>,
        flush_every_events: Arg<'py>,
        read_only: Arg<'py>,
        history_bytes: Arg<'py>,
        clock: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if self.0.get().is_some() {
            return Err(PyRuntimeError::new_err("this Limiter is already open"));
        }
        let settings = Settings {
            sync: sync.get(),
            flush_every_ms: flush_every_ms.get(),
            flush_every_events: flush_every_events.get(),
            read_only: read_only.get(),
            history_bytes: history_bytes.get(),
            clock,
        };
        let options = settings.options()?;
        let path = match data_dir.get() {
            Some(data_dir) => absolute_path(data_dir)?,
            None => absolute_path(&".flint".into_pyobject(py)?.into_any())?,
        };
        let (sync, read_only) = (options.sync, options.read_only);
        let clock = clock.map(|clock| clock.clone().unbind());
        let engine = Arc::new(py.detach(|| Engine::open(&path, options)).or_raise(py)?);
        notices::emit(py, &engine);
        live::add(&engine);
        // Only reachable when two threads initialise the same object; the loser's engine is closed as it is dropped.
        self.0
            .set(Open { engine, sync, read_only, clock, loops: Loops::default() })
            .map_err(|_| PyRuntimeError::new_err("this Limiter is already open"))
    }

    /// Set the limit of `key`.
    ///
    /// limit("api", 100, "1m"), limit("api", "100/minute"), limit("api", flint.Limit(...)). See flint.Limit for rate, per, algorithm and
    /// burst. The same limit again writes nothing. Otherwise, with on_change="keep", unchanged rates keep their state and new ones start
    /// with what was used; with "reset" all start afresh.
    ///
    /// Raises InvalidKey, InvalidLimit, InvalidArgument, StorageError.
    #[pyo3(
        signature = (key, rate, per = None, *, algorithm = Arg::Missing, burst = None, on_change = Arg::Missing),
        text_signature = "($self, key, rate, per=None, *, algorithm='token_bucket', burst=None, on_change='keep')"
    )]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the public API")]
    fn limit(
        &self,
        py: Python<'_>,
        key: Key<'_>,
        rate: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        algorithm: Arg<'_>,
        burst: Option<&Bound<'_, PyAny>>,
        on_change: Arg<'_>,
    ) -> PyResult<()> {
        let limit = limit::parse(rate, per, algorithm.get(), burst)?;
        let on_change = parse_on_change(on_change.get())?;
        let key = key.text()?;
        self.run(py, |engine| engine.limit(key, &limit, on_change))
    }

    /// Set many limits, at most 100,000, with one durable write: all of them, or none when one is refused.
    ///
    /// specs: mappings of limit()'s arguments, such as {"key": "a", "rate": "100/minute"}. No key may appear twice.
    ///
    /// Raises what limit() raises.
    fn limit_many(&self, py: Python<'_>, specs: &Bound<'_, PyAny>) -> PyResult<()> {
        let specs = parse_specs(specs)?;
        let borrowed: Vec<_> = specs
            .iter()
            .map(|Spec { key, limit, on_change }| Ok((key.text()?, *limit, *on_change)))
            .collect::<PyResult<_>>()?;
        self.run(py, |engine| engine.limit_many(&borrowed))
    }

    /// Take `cost` tokens of `key` if they are there.
    ///
    /// cost: an integer from 1 to the limit's capacity. limit: a flint.Limit or text such as "100/minute", used and stored when no limit
    /// was set for the key with limit().
    ///
    /// Raises LimitNotFound, InvalidKey, InvalidCost, InvalidLimit, StorageError.
    #[pyo3(signature = (key, cost = Cost(1), *, limit = None), text_signature = "($self, key, cost=1, *, limit=None)")]
    fn check<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
    ) -> PyResult<Bound<'py, CheckResult>> {
        let outcome = self.decide(py, key.text()?, cost.0, limit.as_ref())?;
        CheckResult::wrap(py, key.0, outcome)
    }

    /// The decision of check() alone: True when `cost` tokens were taken.
    ///
    /// Raises what check() raises.
    #[pyo3(signature = (key, cost = Cost(1), *, limit = None), text_signature = "($self, key, cost=1, *, limit=None)")]
    fn allow(&self, py: Python<'_>, key: Key<'_>, cost: Cost, limit: Option<LimitArg<'_>>) -> PyResult<bool> {
        Ok(self.decide(py, key.text()?, cost.0, limit.as_ref())?.allowed)
    }

    /// Take tokens of several keys, all or nothing, decided against one moment.
    ///
    /// items: 1 to 1,000 of "key", ("key", cost) or {"key": ..., "cost": ..., "limit": ...}; no key twice.
    ///
    /// Raises what check() raises, and InvalidArgument or InvalidKey for items that are none.
    fn check_all<'py>(&self, py: Python<'py>, items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, MultiCheckResult>> {
        let items = parse_items(items)?;
        let outcome = self.decide_all(py, &items)?;
        MultiCheckResult::wrap(py, items.into_iter().map(|item| item.key.0.unbind()).collect(), outcome)
    }

    /// The decision of check_all() alone.
    ///
    /// Raises what check_all() raises.
    fn allow_all(&self, py: Python<'_>, items: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.decide_all(py, &parse_items(items)?)?.allowed)
    }

    /// What check() would say now. Consumes nothing and counts nothing.
    ///
    /// Raises what check() raises.
    #[pyo3(signature = (key, cost = Cost(1), *, limit = None), text_signature = "($self, key, cost=1, *, limit=None)")]
    fn peek<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
    ) -> PyResult<Bound<'py, CheckResult>> {
        let text = key.text()?;
        let limit = limit.as_ref().map(LimitArg::core);
        let outcome = self.run(py, |engine| engine.peek(text, cost.0, limit))?;
        CheckResult::wrap(py, key.0, outcome)
    }

    /// The limit of `key`, what is left of it and its totals; None for a key without a limit.
    fn status<'py>(&self, py: Python<'py>, key: Key<'_>) -> PyResult<Option<Bound<'py, LimitStatus>>> {
        let key = key.text()?;
        let status = self.run(py, |engine| engine.status(key))?;
        status.map(|status| LimitStatus::wrap(py, status)).transpose()
    }

    /// The statuses of all keys in the order of their UTF-8 bytes: those that start with `prefix`, from the first one after the key
    /// `after`, at most `limit` of them.
    #[pyo3(signature = (prefix = None, limit = None, after = None))]
    fn list<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<Key<'_>>,
        limit: Option<Count>,
        after: Option<Key<'_>>,
    ) -> PyResult<Vec<Bound<'py, LimitStatus>>> {
        let prefix = prefix.as_ref().map(Key::text).transpose()?;
        let after = after.as_ref().map(Key::text).transpose()?;
        let statuses = self.run(py, |engine| engine.list(prefix, limit.map(|count| count.0), after))?;
        LimitStatus::all(py, statuses)
    }

    /// The statuses of the `limit` keys with the largest total, largest first; keys whose total is 0 are left out.
    ///
    /// by: "allowed", "denied", "allowed_cost" or "denied_cost".
    #[pyo3(signature = (by = Arg::Missing, limit = Count(10)), text_signature = "($self, by='denied', limit=10)")]
    fn top<'py>(&self, py: Python<'py>, by: Arg<'_>, limit: Count) -> PyResult<Vec<Bound<'py, LimitStatus>>> {
        let by = by.get().map_or(Ok(TopBy::Denied), |by| choice("by", by, &TOP_BY))?;
        let statuses = self.run(py, |engine| engine.top(by, limit.0))?;
        LimitStatus::all(py, statuses)
    }

    /// The newest `limit` events of `key`, oldest first, as far back as the log is kept (`history_bytes`).
    #[pyo3(signature = (key, limit = Count(100)), text_signature = "($self, key, limit=100)")]
    fn history<'py>(&self, py: Python<'py>, key: Key<'_>, limit: Count) -> PyResult<Vec<Bound<'py, Event>>> {
        let key = key.text()?;
        let events = self.run(py, |engine| engine.history(key, limit.0))?;
        Event::all(py, events)
    }

    /// Give `key` its full limit back. Totals stay.
    ///
    /// Raises LimitNotFound, StorageError.
    fn reset(&self, py: Python<'_>, key: Key<'_>) -> PyResult<()> {
        let key = key.text()?;
        self.run(py, |engine| engine.reset(key))
    }

    /// Forget `key`: its limit, state and totals.
    ///
    /// Raises LimitNotFound, StorageError.
    fn delete(&self, py: Python<'_>, key: Key<'_>) -> PyResult<()> {
        let key = key.text()?;
        self.run(py, |engine| engine.delete(key))
    }

    /// Return when everything that was acknowledged so far is on disk.
    ///
    /// Raises StorageError.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, Engine::flush)
    }

    /// Write a snapshot and drop the log that it replaces. Checks go on meanwhile. Happens by itself as the log grows.
    ///
    /// Raises StorageError.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, Engine::compact)
    }

    /// Verify the files. Changes nothing.
    ///
    /// Gives a dict: ok (bool), limits, history_events, aof_bytes (numbers), snapshot_exists (bool), format ("current", "0.2", "0.1",
    /// "none"), problems (texts with the file and offset), notes (texts on what harms nobody).
    fn doctor<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = self.run(py, Engine::doctor)?;
        tools::report_dict(py, &report)
    }

    /// Totals since opening, as a dict.
    ///
    /// Integers: keys, allowed, denied, seq, durable_seq, log_bytes, syncs, rotations, compactions, recovery_ns (how long opening
    /// took). Distributions: sync_ns (how long each fsync took), sync_records (how many records each made durable); each a dict of
    /// bounds (the largest value that each bucket but the last takes), counts (values in each bucket, not cumulated) and sum.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counters =
            self.run(py, |engine| if engine.is_forked() { Err(Error::Forked) } else { Ok(engine.counters()) })?;
        let dict = PyDict::new(py);
        for (name, value) in [
            ("keys", counters.keys),
            ("allowed", counters.allowed),
            ("denied", counters.denied),
            ("seq", counters.seq),
            ("durable_seq", counters.durable_seq),
            ("log_bytes", counters.log_bytes),
            ("syncs", counters.syncs),
            ("rotations", counters.rotations),
            ("compactions", counters.compactions),
            ("recovery_ns", counters.recovery_ns),
        ] {
            dict.set_item(name, value)?;
        }
        for (name, distribution) in [("sync_ns", counters.sync_ns), ("sync_records", counters.sync_records)] {
            let parts = PyDict::new(py);
            parts.set_item("bounds", PyTuple::new(py, distribution.bounds)?)?;
            parts.set_item("counts", PyTuple::new(py, distribution.counts)?)?;
            parts.set_item("sum", distribution.sum)?;
            dict.set_item(name, parts)?;
        }
        Ok(dict)
    }

    /// Flush, unlock the directory and end the background threads. Later calls raise ClosedError; closing again does nothing.
    ///
    /// Raises StorageError when the flush fails; the directory is unlocked all the same.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closed = self.run(py, Engine::close);
        self.open()?.loops.ring(py);
        closed
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Through the attribute, because a subclass has more to close.
    #[pyo3(signature = (*_exception))]
    fn __exit__(slf: &Bound<'_, Self>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        slf.call_method0("close").map(drop)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.0.get() {
            Some(open) => {
                visit.call(&open.clock)?;
                open.loops.traverse(&visit)
            }
            None => Ok(()),
        }
    }

    /// check() for an event loop: a CheckResult, a future of one while the disk works, or None when check() has to wait for
    /// the disk before it can decide.
    #[pyo3(signature = (key, cost, limit, /))]
    fn _begin_check<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let text = key.text()?;
        let item = Item { key: text, cost: cost.0, limit: limit.as_ref().map(LimitArg::core) };
        self.begin(py, &Check::new(item), |outcome| CheckResult::wrap(py, key.0.clone(), outcome).map(Bound::into_any))
    }

    /// check_all() for an event loop, as _begin_check().
    #[pyo3(signature = (items, /))]
    fn _begin_check_all<'py>(&self, py: Python<'py>, items: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let items = parse_items(items)?;
        let borrowed: Vec<Item<'_>> = items.iter().map(OwnedItem::borrow).collect::<PyResult<_>>()?;
        self.begin(py, &CheckAll { items: &borrowed }, |outcome| {
            let keys = items.iter().map(|item| item.key.0.clone().unbind()).collect();
            MultiCheckResult::wrap(py, keys, outcome).map(Bound::into_any)
        })
    }

    /// check() for whoever waits and asks again: a denial counts for nothing.
    #[pyo3(signature = (key, cost, limit, /))]
    fn _attempt<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
    ) -> PyResult<Bound<'py, CheckResult>> {
        let text = key.text()?;
        let item = Item { key: text, cost: cost.0, limit: limit.as_ref().map(LimitArg::core) };
        let outcome = self.run(py, |engine| engine.run(&Check::attempt(item)))?;
        CheckResult::wrap(py, key.0, outcome)
    }

    /// _attempt() for an event loop, as _begin_check().
    #[pyo3(signature = (key, cost, limit, /))]
    fn _begin_attempt<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let text = key.text()?;
        let item = Item { key: text, cost: cost.0, limit: limit.as_ref().map(LimitArg::core) };
        self.begin(py, &Check::attempt(item), |outcome| {
            CheckResult::wrap(py, key.0.clone(), outcome).map(Bound::into_any)
        })
    }

    /// Counts the denial of a call that waited and gives up.
    #[pyo3(signature = (key, cost, /))]
    fn _count_denial(&self, py: Python<'_>, key: Key<'_>, cost: Cost) -> PyResult<()> {
        let key = key.text()?;
        self.run(py, |engine| engine.count_denial(key, cost.0))
    }

    /// Nanoseconds until the last of `costs` would have been allowed if they were taken in this order, each as soon as it
    /// fits, and nobody else took anything.
    #[pyo3(signature = (key, costs, limit, /))]
    fn _forecast(&self, py: Python<'_>, key: Key<'_>, costs: Vec<u64>, limit: Option<LimitArg<'_>>) -> PyResult<u64> {
        let text = key.text()?;
        let limit = limit.as_ref().map(LimitArg::core);
        self.run(py, |engine| engine.forecast(text, limit, &costs))
    }

    /// limit() for an event loop: True, a future of it while the disk works, or None as _begin_check().
    #[expect(clippy::too_many_arguments, reason = "the arguments of the public API")]
    #[pyo3(signature = (key, rate, per, burst, on_change, algorithm = Arg::Missing, /))]
    fn _begin_limit<'py>(
        &self,
        py: Python<'py>,
        key: Key<'_>,
        rate: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        burst: Option<&Bound<'_, PyAny>>,
        on_change: Arg<'_>,
        algorithm: Arg<'_>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let limit = limit::parse(rate, per, algorithm.get(), burst)?;
        let on_change = parse_on_change(on_change.get())?;
        let key = key.text()?;
        self.begin_write(py, &SetLimit { key, limit: &limit, on_change })
    }

    /// limit_many() for an event loop, as _begin_limit().
    #[pyo3(signature = (specs, /))]
    fn _begin_limit_many<'py>(&self, py: Python<'py>, specs: &Bound<'_, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let specs = parse_specs(specs)?;
        let borrowed: Vec<_> = specs
            .iter()
            .map(|Spec { key, limit, on_change }| Ok((key.text()?, *limit, *on_change)))
            .collect::<PyResult<_>>()?;
        self.begin_write(py, &SetLimits { specs: &borrowed })
    }

    /// reset() for an event loop, as _begin_limit().
    #[pyo3(signature = (key, /))]
    fn _begin_reset<'py>(&self, py: Python<'py>, key: Key<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = key.text()?;
        self.begin_write(py, &Reset { key })
    }

    /// delete() for an event loop, as _begin_limit().
    #[pyo3(signature = (key, /))]
    fn _begin_delete<'py>(&self, py: Python<'py>, key: Key<'_>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = key.text()?;
        self.begin_write(py, &Delete { key })
    }

    /// flush() for an event loop: a future of True.
    fn _begin_flush<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let open = self.open()?;
        let event_loop = running_loop(py)?;
        let seq = self.run(py, Engine::newest_seq)?;
        let done = PyBool::new(py, true).to_owned().into_any().unbind();
        open.loops.future(&event_loop, &open.engine, seq, done)
    }

    /// The clock that was given to the constructor, or None.
    #[getter]
    fn _clock<'py>(&self, py: Python<'py>) -> PyResult<Option<&Bound<'py, PyAny>>> {
        Ok(self.open()?.clock.as_ref().map(|clock| clock.bind(py)))
    }

    /// What opening the directory found and did.
    #[getter]
    fn recovery<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, Recovery>> {
        Recovery::wrap(py, self.engine()?.recovery())
    }

    /// The data directory, absolute.
    #[getter]
    fn data_dir(&self) -> PyResult<&std::ffi::OsStr> {
        Ok(self.engine()?.path().as_os_str())
    }

    /// "always" or "batch".
    #[getter]
    fn sync(&self) -> PyResult<&'static str> {
        Ok(sync_name(self.open()?.sync))
    }

    /// Whether this limiter only looks.
    #[getter]
    fn read_only(&self) -> PyResult<bool> {
        Ok(self.open()?.read_only)
    }

    /// Whether close() was called.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.engine()?.is_closed())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let name = slf.get_type().fully_qualified_name()?;
        let Some(open) = slf.get().0.get() else { return Ok(format!("<{name}, not initialised>")) };
        let path = open.engine.path().as_os_str().into_pyobject(py)?.repr()?;
        let mode = if open.read_only { "read-only" } else { sync_name(open.sync) };
        let state = if open.engine.is_closed() { "closed" } else { "open" };
        Ok(format!("<{name} {path}, {mode}, {state}>"))
    }

    fn __reduce__(&self) -> PyResult<()> {
        let message = "a Limiter cannot be copied or pickled: it holds a lock on its directory. Share the object within the process; \
                       for several processes run one Flint server and use SharedLimiter in each";
        Err(PyTypeError::new_err(message))
    }
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Limiter>()
}
