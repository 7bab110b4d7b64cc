//! Returning memory to the operating system.
//!
//! glibc keeps what was freed for the next allocation, in each thread's arena, and takes a freed large block as a sign that the next one
//! of that size should not be returned either. After one large request the process would stay as large as that request made it, or larger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many bytes that are freed are returned to the operating system; the allocator keeps fewer.
const MANY: usize = 1024 * 1024;

/// Whether much was freed since the last [`trim`].
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory(Arc<AtomicBool>);

impl Memory {
    /// `bytes` bytes were freed.
    pub(crate) fn freed(&self, bytes: usize) {
        if bytes > MANY {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether [`trim`] is due; from here on it is not.
    pub(crate) fn is_due(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Blocks of this size and more are the operating system's own pages, which it gets when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 1024 * 1024;

/// Fixes the size from which on blocks are returned at once, for the whole process. glibc would raise it to that of the largest that was
/// freed, up to 32 MiB; large arrays that grow would then be copied from one hole of the heap to the next.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library; see the SAFETY line")]
pub(crate) fn return_large_blocks() {
    // SAFETY: it sets a number of the allocator, under the allocator's lock, and concerns later allocations alone.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Other allocators return memory by themselves, or cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn return_large_blocks() {}

/// Returns free memory to the operating system. Takes time that grows with the heap: for a thread of its own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a function of the C library; see the SAFETY line")]
pub(crate) fn trim() {
    // SAFETY: it takes the allocator's own locks and changes nothing that is allocated.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators return memory by themselves, or cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn trim() {}
