//! Objects that the garbage collector does not have to visit.

use pyo3::ffi;
use pyo3::prelude::*;

/// Tells the collector that an object is part of no cycle, because it refers to no other object.
#[expect(unsafe_code, reason = "PyO3 makes all its classes known to the collector and has no way to except an object")]
pub(super) fn untrack<T>(object: &Bound<'_, T>) {
    // SAFETY: the object is alive, and its type has the flag Py_TPFLAGS_HAVE_GC, as those of all classes of PyO3 have. That an object
    // is tracked is no condition, neither here nor when it is deallocated.
    unsafe { ffi::PyObject_GC_UnTrack(object.as_ptr().cast()) }
}
