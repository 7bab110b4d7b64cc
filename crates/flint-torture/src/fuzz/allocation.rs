//! How much memory an input costs. A few bytes that claim to be a gigabyte must not lead to that allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Less than nothing when more was freed here that other threads had allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with a count for each thread. A test binary installs it with `#[global_allocator]`; without it
/// every figure is zero.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting;

fn grown(bytes: usize) {
    LIVE.set(LIVE.get().saturating_add_unsigned(bytes));
    PEAK.set(PEAK.get().max(LIVE.get()));
}

fn shrunk(bytes: usize) {
    LIVE.set(LIVE.get().saturating_sub_unsigned(bytes));
}

// SAFETY: every call is passed on to the system's allocator as it is. The counters are thread-local, need no destructor and
// allocate nothing themselves.
#[expect(unsafe_code, reason = "the trait is unsafe; nothing else tells what a call allocates")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        shrunk(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        shrunk(layout.size());
        grown(new_size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// The most that this thread held at once while `work` ran, beyond what it held before.
pub(super) fn most_during<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, usize::try_from(PEAK.get().saturating_sub(before)).unwrap_or(0))
}

/// Whether the counting allocator is installed.
pub fn is_counted() -> bool {
    let (_, most) = most_during(|| std::hint::black_box(vec![1_u8; 1000]));
    most >= 1000
}
