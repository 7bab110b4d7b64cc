//! What a forked child must not do with its parent's files.
//!
//! A child inherits every descriptor. An inherited copy of the locked descriptor would keep the data directory locked after
//! the parent died, and a write through any of them would spoil the parent's log. So every descriptor that can lock or
//! change something is a [`ProcessFile`]: a handler that runs in the child closes its copies (closing a copy does not
//! unlock while the parent has its own), and from then on the inherited `ProcessFile` values are inert.
//!
//! Opening and closing them excludes forking (the gate below), so that no child is born between an `open` and its
//! registration or between a removal from the registry and the `close`.
//!
//! The handlers run for `fork` of the C library, which Python's `os.fork` uses; `posix_spawn` and `vfork` replace the
//! program, where `O_CLOEXEC` does the same.
#![expect(unsafe_code, reason = "pthread_atfork, and closing descriptors in its child handler, have no safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr;

use crate::sync::Ordering;
use crate::sync::process::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, OnceLock, yield_now};

/// How many forks lie between the process that loaded this library and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Closed (true) while descriptors are opened, closed or registered, and during a fork. A plain flag rather than a mutex: the
/// child can reopen it whatever other threads were waiting.
static GATE: AtomicBool = AtomicBool::new(false);

/// The newest slot. Slots are leaked and reused, never freed, so that the child's handler can walk them without a lock.
static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());

const FREE: i32 = -1;

struct Slot {
    fd: AtomicI32,
    next: Option<&'static Slot>,
}

/// Changes in a child process. A value made under another generation belongs to an ancestor: one atomic load tells.
#[inline]
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Proof that no fork can happen meanwhile.
pub(super) struct NoFork(());

impl Drop for NoFork {
    fn drop(&mut self) {
        GATE.store(false, Ordering::Release);
    }
}

/// Runs `f` while no thread can fork. Must not be nested, and `f` must be short: `fork` waits for it.
pub(super) fn exclude<T>(f: impl FnOnce(&NoFork) -> T) -> T {
    close_gate();
    f(&NoFork(()))
}

fn close_gate() {
    while GATE.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        yield_now();
    }
}

/// A descriptor that serves only the process that opened it.
pub(super) struct ProcessFile {
    /// `None` only while dropping.
    file: Option<File>,
    slot: &'static Slot,
    generation: u64,
}

impl ProcessFile {
    /// Opens a file and registers it, as one step in the eyes of a fork.
    pub(super) fn open(open: impl FnOnce() -> io::Result<File>) -> io::Result<Self> {
        install_handlers()?;
        exclude(|gate| Ok(Self::adopt(open()?, gate)))
    }

    /// Registers a file that was opened within the same [`exclude`]. [`install_handlers`] must have succeeded before.
    pub(super) fn adopt(file: File, _gate: &NoFork) -> Self {
        let slot = claim_slot(file.as_raw_fd());
        Self { file: Some(file), slot, generation: generation() }
    }

    /// The file. In a child of the process that opened it the number may long stand for something else, hence the error.
    pub(super) fn file(&self) -> io::Result<&File> {
        match &self.file {
            Some(file) if !self.is_inherited() => Ok(file),
            _ => Err(io::Error::other("the file was opened before this process was forked")),
        }
    }

    pub(super) fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

impl Drop for ProcessFile {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        if self.is_inherited() {
            // The child's handler has closed it; the number may have been given out again.
            let _closed = file.into_raw_fd();
            return;
        }
        exclude(|_| {
            self.slot.fd.store(FREE, Ordering::Relaxed);
            drop(file);
        });
    }
}

fn first_slot() -> Option<&'static Slot> {
    // SAFETY: SLOTS is null or points to a leaked, and so never freed or moved, Slot that was complete when it was stored.
    unsafe { SLOTS.load(Ordering::Acquire).as_ref() }
}

/// Called with the gate closed, so that slots have one writer.
fn claim_slot(fd: i32) -> &'static Slot {
    let first = first_slot();
    let mut at = first;
    while let Some(slot) = at {
        if slot.fd.load(Ordering::Relaxed) == FREE {
            slot.fd.store(fd, Ordering::Relaxed);
            return slot;
        }
        at = slot.next;
    }
    let slot: &'static mut Slot = Box::leak(Box::new(Slot { fd: AtomicI32::new(fd), next: first }));
    let shared = ptr::from_mut(slot);
    SLOTS.store(shared, Ordering::Release);
    // SAFETY: just leaked; from here on only shared references to it exist.
    unsafe { &*shared }
}

/// Registers the handlers, once in the life of the process.
pub(super) fn install_handlers() -> io::Result<()> {
    static RESULT: OnceLock<i32> = OnceLock::new();
    // SAFETY: the handlers are plain functions that live as long as the program and do only what is allowed there: `prepare`
    // waits for short critical sections that never fork; the other two use atomics, and `close` in the child.
    let code = *RESULT.get_or_init(|| unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) });
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

extern "C" fn prepare() {
    close_gate();
}

extern "C" fn in_parent() {
    GATE.store(false, Ordering::Release);
}

/// Only async-signal-safe calls: another thread of the parent may have held any lock, the allocator's included.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    let mut at = first_slot();
    while let Some(slot) = at {
        let fd = slot.fd.swap(FREE, Ordering::Relaxed);
        if fd != FREE {
            // SAFETY: the slot says that this number is the child's copy of a ProcessFile. Its owner in this process sees the
            // new generation and neither uses nor closes the number again.
            unsafe { libc::close(fd) };
        }
        at = slot.next;
    }
    GATE.store(false, Ordering::Release);
}
