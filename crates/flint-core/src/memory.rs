//! Memory that the allocator holds.

/// Returns free memory to the system. The allocator of glibc keeps all that lies before a block that is in use.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "malloc_trim has no safe interface")]
pub(crate) fn release() {
    // SAFETY: it may be called at any time and in any thread, and touches only pages that belong to no allocation.
    unsafe { libc::malloc_trim(0) };
}

/// Returns free memory to the system. Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn release() {}
