//! `flint.Limiter`: the methods of the class.

use flint_core::engine::{Check, Item};
use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::acquire::WaitTimeout;
use super::lifecycle::Limiter;
use super::notices;
use super::settings::{Settings, sync_name};
use crate::call::base::{Call, Decide, ParsedCall};
use crate::call::check::CheckCall;
use crate::call::check_all::CheckAllCall;
use crate::call::configure::{LimitCall, LimitManyCall};
use crate::call::dispatch::dispatch;
use crate::call::items::OwnedItem;
use crate::call::key::{DeleteCall, ResetCall, StatusCall};
use crate::call::limit::LimitArg;
use crate::call::list::{HistoryCall, ListCall, TopCall};
use crate::call::peek::PeekCall;
use crate::call::store::{CompactCall, CountersCall, DoctorCall, FlushCall};
use crate::convert::{Arg, BriefKey, Cost, Count, Key, absolute_path};
use crate::errors::OrRaise;
use crate::results::check::CheckResult;
use crate::results::recovery::Recovery;
use crate::results::reports;

#[pymethods]
impl Limiter {
    /// Takes anything, so that a subclass is free to have arguments of its own.
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(data_dir='.flint', *, sync='always', flush_every_ms=100, flush_every_events=100, read_only=False, \
                          history_bytes=67108864, lock_timeout=0, log_io='auto', clock=None)"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::uninitialised()
    }

    #[pyo3(signature = (
        data_dir = Arg::Missing, *, sync = Arg::Missing, flush_every_ms = Arg::Missing, flush_every_events = Arg::Missing,
        read_only = Arg::Missing, history_bytes = Arg::Missing, lock_timeout = Arg::Missing, log_io = Arg::Missing, clock = None
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
        lock_timeout: Arg<'py>,
        log_io: Arg<'py>,
        clock: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        self.reject_second_init()?;
        let settings = Settings {
            sync: sync.get(),
            flush_every_ms: flush_every_ms.get(),
            flush_every_events: flush_every_events.get(),
            read_only: read_only.get(),
            history_bytes: history_bytes.get(),
            lock_timeout: lock_timeout.get(),
            log_io: log_io.get(),
            clock,
        };
        let options = settings.options()?;
        let path = match data_dir.get() {
            Some(data_dir) => absolute_path("data_dir", data_dir)?,
            None => absolute_path("data_dir", &".flint".into_pyobject(py)?.into_any())?,
        };
        self.init(py, &path, options, clock.map(|clock| clock.clone().unbind()))
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
        key: Key,
        rate: &Bound<'_, PyAny>,
        per: Option<&Bound<'_, PyAny>>,
        algorithm: Arg<'_>,
        burst: Option<&Bound<'_, PyAny>>,
        on_change: Arg<'_>,
    ) -> PyResult<()> {
        self.run(py, &LimitCall::parse(key, rate, per, &algorithm, burst, &on_change)?).map(drop)
    }

    /// Set many limits, at most 100,000: all of them, or none when one is refused or the disk has no room for all.
    ///
    /// specs: mappings of limit()'s arguments, such as {"key": "a", "rate": "100/minute"}. No key may appear twice.
    ///
    /// Limits with up to 1,000 rates together are one durable write. More are set in slices of so many, in the given order, with
    /// other calls in between; a process that dies, or a limiter that is closed, in the middle leaves the slices before that. The same
    /// call again sets the rest.
    ///
    /// Raises what limit() raises.
    fn limit_many(&self, py: Python<'_>, specs: &Bound<'_, PyAny>) -> PyResult<()> {
        self.run(py, &LimitManyCall::parse(specs)?).map(drop)
    }

    /// Take `cost` tokens of `key` if it has them.
    ///
    /// cost: an integer from 1 to the limit's capacity. limit: a flint.Limit or text such as "100/minute", which decides when no limit
    /// was set for the key with limit(). Each limit has a counter of its own under the key, at most 8: a changed one starts unused, so set
    /// it with limit() to keep what was used. Without it, the most recently used counter decides.
    ///
    /// Raises LimitNotFound, InvalidKey, InvalidCost, InvalidLimit, StorageError.
    #[pyo3(signature = (key, cost = Cost(1), *, limit = None), text_signature = "($self, key, cost=1, *, limit=None)")]
    fn check<'py>(
        &self,
        py: Python<'py>,
        key: BriefKey<'py>,
        cost: Cost,
        limit: Option<LimitArg>,
    ) -> PyResult<Bound<'py, CheckResult>> {
        let item = Item { key: key.text()?, cost: cost.0, limit: limit.as_ref().map(LimitArg::core) };
        let outcome = self.execute(py, &Decide(Check::new(item)))?;
        CheckResult::wrap(py, key.into_object(), outcome)
    }

    /// The decision of check() alone: True when `cost` tokens were taken.
    ///
    /// Raises what check() raises.
    #[pyo3(signature = (key, cost = Cost(1), *, limit = None), text_signature = "($self, key, cost=1, *, limit=None)")]
    fn allow(&self, py: Python<'_>, key: BriefKey<'_>, cost: Cost, limit: Option<LimitArg>) -> PyResult<bool> {
        let item = Item { key: key.text()?, cost: cost.0, limit: limit.as_ref().map(LimitArg::core) };
        Ok(self.execute(py, &Decide(Check::new(item)))?.allowed)
    }

    /// Take tokens of several keys, all or nothing, decided against one moment.
    ///
    /// items: 1 to 1,000 of "key", ("key", cost) or {"key": ..., "cost": ..., "limit": ...}, each key and limit once.
    ///
    /// Raises what check() raises, and InvalidArgument or InvalidKey for items that are not valid.
    fn check_all<'py>(&self, py: Python<'py>, items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &CheckAllCall::parse(items)?)
    }

    /// The decision of check_all() alone.
    ///
    /// Raises what check_all() raises.
    fn allow_all(&self, py: Python<'_>, items: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.execute(py, &CheckAllCall::parse(items)?.work(py)?)?.allowed)
    }

    /// What check() would return now. Consumes nothing and counts nothing.
    ///
    /// Raises what check() raises.
    #[pyo3(signature = (key, cost = Cost(1), *, limit = None), text_signature = "($self, key, cost=1, *, limit=None)")]
    fn peek<'py>(&self, py: Python<'py>, key: Key, cost: Cost, limit: Option<LimitArg>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &PeekCall::parse(key, cost, limit))
    }

    /// The limit of `key`, what is left of it and its totals; None for a key without a limit.
    fn status<'py>(&self, py: Python<'py>, key: Key) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &StatusCall::parse(py, key)?)
    }

    /// The statuses of all keys in the order of their UTF-8 bytes: those that start with `prefix`, from the first one after the key
    /// `after`, at most `limit` of them.
    #[pyo3(signature = (prefix = None, limit = None, after = None))]
    fn list<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<Key>,
        limit: Option<Count>,
        after: Option<Key>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &ListCall::parse(py, prefix, limit, after)?)
    }

    /// The statuses of the `limit` keys with the largest total, largest first; keys whose total is 0 are left out.
    ///
    /// by: "allowed", "denied", "allowed_cost" or "denied_cost".
    #[pyo3(signature = (by = Arg::Missing, limit = Count(10)), text_signature = "($self, by='denied', limit=10)")]
    fn top<'py>(&self, py: Python<'py>, by: Arg<'_>, limit: Count) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &TopCall::parse(&by, limit)?)
    }

    /// The newest `limit` events of `key`, oldest first, as far back as the log is kept (`history_bytes`).
    #[pyo3(signature = (key, limit = Count(100)), text_signature = "($self, key, limit=100)")]
    fn history<'py>(&self, py: Python<'py>, key: Key, limit: Count) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &HistoryCall::parse(py, key, limit)?)
    }

    /// Restore the full limit of `key`. Totals stay.
    ///
    /// Raises LimitNotFound, StorageError.
    fn reset(&self, py: Python<'_>, key: Key) -> PyResult<()> {
        self.run(py, &ResetCall::parse(py, key)?).map(drop)
    }

    /// Remove `key`: its limit, state and totals.
    ///
    /// Raises LimitNotFound, StorageError.
    fn delete(&self, py: Python<'_>, key: Key) -> PyResult<()> {
        self.run(py, &DeleteCall::parse(py, key)?).map(drop)
    }

    /// Return when everything that was acknowledged so far is on disk.
    ///
    /// Raises StorageError.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, &FlushCall).map(drop)
    }

    /// Write a snapshot and drop the log that it replaces. Checks go on meanwhile. Happens by itself as the log grows.
    ///
    /// Raises StorageError.
    fn compact(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, &CompactCall).map(drop)
    }

    /// Copy the store to the directory `path` while checks go on: its state and history at one moment of this call.
    ///
    /// path: str or Path; must not exist, or be an empty directory, outside the data directory; the directory above it must exist.
    ///
    /// The copy appears under its name when it is complete and on disk; flint.Limiter opens it like any store. A read-only limiter
    /// copies the directory as it is now.
    ///
    /// Returns a dict: path (str, absolute), bytes (of all files of the copy), seq (the newest log record in it).
    ///
    /// Raises InvalidArgument for a path that is not empty or inside the data directory, StorageError, also when there is not enough
    /// room: there is no copy then, not even a part of one.
    fn backup<'py>(&self, py: Python<'py>, path: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let path = absolute_path("path", path)?;
        let engine = self.shared_engine()?;
        let copied = py.detach(|| engine.backup(&path));
        notices::emit(py, &engine);
        reports::backup(py, &path, &copied.or_raise(py)?)
    }

    /// Verify the files. Changes nothing.
    ///
    /// Returns a dict: ok (bool), limits, history_events, aof_bytes (numbers), snapshot_exists (bool), format ("current", "0.2", "0.1",
    /// "none"), problems (texts with the file and offset), notes (texts on what is no problem).
    fn doctor<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &DoctorCall)
    }

    /// Totals since opening, as a dict.
    ///
    /// Integers: keys, allowed, denied, seq, durable_seq, log_bytes, syncs, rotations, compactions, recovery_ns (how long opening
    /// took). Distributions: sync_ns (how long each fsync took), sync_records (how many records each made durable); each a dict of
    /// bounds (the largest value that each bucket but the last takes), counts (values in each bucket, not cumulated) and sum.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, &CountersCall)
    }

    /// Flush, unlock the directory and end the background threads. Later calls raise ClosedError; closing again does nothing.
    ///
    /// Raises StorageError when the flush fails; the directory is unlocked all the same.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.shut(py)
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
        match self.get() {
            Some(open) => {
                visit.call(&open.clock)?;
                open.loops.traverse(&visit)
            }
            None => Ok(()),
        }
    }

    /// Executes a parsed call to the end.
    #[pyo3(signature = (call, /))]
    fn _run<'py>(&self, py: Python<'py>, call: &Bound<'py, ParsedCall>) -> PyResult<Bound<'py, PyAny>> {
        dispatch!(engine call, call => self.run(py, call.get()))
    }

    /// Begins a parsed call in the running event loop, which it does not block: what the call returns, or an awaitable of that, which
    /// the disk or a thread of the loop's executor resolves. Never None.
    #[pyo3(signature = (call, /))]
    fn _start<'py>(slf: &Bound<'py, Self>, call: &Bound<'py, ParsedCall>) -> PyResult<Bound<'py, PyAny>> {
        dispatch!(engine call, call => Self::start(slf, call.as_any(), call.get()))
    }

    /// `_start` of a check, without a Python object for the call.
    #[pyo3(signature = (key, cost, limit, /))]
    fn _start_check<'py>(
        slf: &Bound<'py, Self>,
        key: Key,
        cost: Cost,
        limit: Option<LimitArg>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::start_parsed(slf, CheckCall::parse(key, cost, limit))
    }

    /// `_start` of a check of several keys, likewise.
    #[pyo3(signature = (items, /))]
    fn _start_check_all<'py>(slf: &Bound<'py, Self>, items: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::start_parsed(slf, CheckAllCall::parse(items)?)
    }

    /// A future of what `function(argument)` returns, called in a thread of the running loop's executor.
    #[pyo3(signature = (function, argument, /))]
    fn _in_thread<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        argument: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::in_thread(slf, function, argument)
    }

    /// Waits until check() would allow the call, at most `timeout` seconds, and makes it: a CheckResult. If the wait would take longer,
    /// at once: the denied CheckResult and the nanoseconds that were left.
    #[pyo3(signature = (key, cost, limit, timeout, /))]
    fn _acquire<'py>(
        &self,
        py: Python<'py>,
        key: Key,
        cost: Cost,
        limit: Option<LimitArg>,
        timeout: Option<WaitTimeout>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.wait_for(py, &OwnedItem::new(key, cost, limit), timeout.map(|timeout| timeout.0))
    }

    /// Begins to do so in the event loop that runs in this thread: the answer, or a future of it.
    #[pyo3(signature = (key, cost, limit, timeout, /))]
    fn _start_acquire<'py>(
        slf: &Bound<'py, Self>,
        key: Key,
        cost: Cost,
        limit: Option<LimitArg>,
        timeout: Option<WaitTimeout>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::start_waiting(slf, OwnedItem::new(key, cost, limit), timeout.map(|timeout| timeout.0))
    }

    /// How many callers wait for a key.
    #[pyo3(signature = (key, /))]
    fn _waiting(&self, py: Python<'_>, key: BriefKey<'_>) -> PyResult<usize> {
        self.engine()?.waiting(key.text()?).or_raise(py)
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

    /// Whether this limiter is read-only.
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
        let Some(open) = slf.get().get() else { return Ok(format!("<{name}, not initialised>")) };
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

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Limiter>()
}
