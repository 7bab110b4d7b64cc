//! The places that the tasks of an event loop have in the engine's queues.
//!
//! A place belongs to the future that its task awaits: it is given up when that is cancelled, or when nothing awaits it any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use flint_core::engine::{Answer, Place};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyWeakrefMethods, PyWeakrefReference};

use super::bell::{Bell, locked};
use crate::results::check::CheckResult;

type Waits = Arc<Mutex<HashMap<u64, Waiting>>>;

/// The result of an admission; for a wait that would be too long, the denied result and the nanoseconds that were left.
pub(crate) fn answer_object<'py>(py: Python<'py>, key: Py<PyString>, answer: Answer) -> PyResult<Bound<'py, PyAny>> {
    match answer {
        Answer::Admitted(outcome) => CheckResult::wrap(py, key, outcome).map(Bound::into_any),
        Answer::TooLate { outcome, left_ns } => {
            Ok((CheckResult::wrap(py, key, outcome)?, left_ns).into_pyobject(py)?.into_any())
        }
    }
}

/// Belongs to a future, which calls it when it is done: by an answer, or cancelled. It goes with the future.
#[pyclass(module = "flint._native", name = "_Place", frozen)]
struct Holder {
    id: u64,
    waits: Waits,
}

impl Holder {
    fn give_up(&self) {
        // Dropped without the lock: what is in it may run Python code.
        let waiting = locked(&self.waits).remove(&self.id);
        drop(waiting);
    }
}

#[pymethods]
impl Holder {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.give_up();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Tells the loop which of its places has an answer.
struct PlaceBell {
    id: u64,
    answered: Arc<Mutex<Vec<u64>>>,
    bell: Arc<Bell>,
}

impl Wake for PlaceBell {
    fn wake(self: Arc<Self>) {
        locked(&self.answered).push(self.id);
        self.bell.ring();
    }
}

struct Waiting {
    future: Py<PyWeakrefReference>,
    key: Py<PyString>,
    place: Place,
}

/// A place with an answer.
pub(super) struct Answered {
    pub(super) future: Py<PyAny>,
    pub(super) key: Py<PyString>,
    pub(super) answer: flint_core::Result<Answer>,
}

/// All places of a loop.
#[derive(Default)]
pub(super) struct Places {
    waits: Waits,
    next_id: AtomicU64,
    answered: Arc<Mutex<Vec<u64>>>,
}

impl Places {
    /// The number for the next place, and what wakes the loop when it has an answer.
    pub(super) fn waker(&self, bell: &Arc<Bell>) -> (u64, Waker) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        (id, Arc::new(PlaceBell { id, answered: self.answered.clone(), bell: bell.clone() }).into())
    }

    /// A future of the answer.
    pub(super) fn future<'py>(
        &self,
        event_loop: &Bound<'py, PyAny>,
        id: u64,
        place: Place,
        key: Py<PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = event_loop.py();
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        let waiting = Waiting { future: PyWeakrefReference::new(&future)?.unbind(), key, place };
        let holder = Bound::new(py, Holder { id, waits: self.waits.clone() })?;
        locked(&self.waits).insert(id, waiting);
        future.call_method1(intern!(py, "add_done_callback"), (holder,))?;
        Ok(future)
    }

    /// Takes out what has an answer. Of places that were given up nothing is left then.
    pub(super) fn take_answered(&self, py: Python<'_>) -> Vec<Answered> {
        let ids = std::mem::take(&mut *locked(&self.answered));
        let mut answered = Vec::with_capacity(ids.len());
        for id in ids {
            let waiting = locked(&self.waits).remove(&id);
            let Some(Waiting { future, key, place }) = waiting else { continue };
            let Some(future) = future.bind(py).upgrade() else { continue };
            if let Some(answer) = place.poll().transpose() {
                answered.push(Answered { future: future.unbind(), key, answer });
            }
        }
        answered
    }

    pub(super) fn is_empty(&self) -> bool {
        locked(&self.waits).is_empty()
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(waits) = self.waits.try_lock() {
            for Waiting { future, key, .. } in waits.values() {
                visit.call(future)?;
                visit.call(key)?;
            }
        }
        Ok(())
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Holder>()
}
