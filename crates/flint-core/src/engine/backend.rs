//! What an engine works on: a store that it has locked, or a view of the files that is only read.

use crate::error::{Error, Result};
use crate::storage::fork;
use crate::store::shared::Shared;
use crate::store::view::View;
use crate::sync::{Arc, AtomicBool, JoinHandle, Mutex, Ordering};

pub(super) enum Backend {
    Writer(Writer),
    Reader(Reader),
}

/// An open store.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// `None` once it was closed.
    pub(super) resources: Mutex<Option<Resources>>,
}

/// The threads of an open store.
pub(super) struct Resources {
    pub(super) threads: Vec<JoinHandle<()>>,
    /// Whether one of them serves `Shared::wakers`; it starts with the first waker.
    pub(super) serves_wakers: bool,
    /// Whether the queues of those that wait for a limit are served; that starts with the first waiter.
    pub(super) serves_queues: bool,
}

/// The state of the files as they were when they were read.
pub(super) struct Reader {
    pub(super) view: Box<Mutex<View>>,
    /// The newest record of it.
    pub(super) seq: u64,
    closed: AtomicBool,
    fork_generation: u64,
}

impl Reader {
    pub(super) fn new(view: View, seq: u64) -> Self {
        Self {
            view: Box::new(Mutex::new(view)),
            seq,
            closed: AtomicBool::new(false),
            fork_generation: fork::generation(),
        }
    }

    fn usable(&self) -> Result<()> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        if self.is_closed() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn is_forked(&self) -> bool {
        fork::generation() != self.fork_generation
    }
}

impl Backend {
    /// The store, unless the files are only read.
    #[inline]
    pub(super) fn store(&self) -> Option<&Shared> {
        match self {
            Self::Writer(writer) => Some(&writer.shared),
            Self::Reader(_) => None,
        }
    }

    pub(super) fn usable(&self) -> Result<()> {
        match self {
            Self::Writer(writer) => writer.shared.usable(),
            Self::Reader(reader) => reader.usable(),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        match self {
            Self::Writer(writer) => writer.shared.is_closed(),
            Self::Reader(reader) => reader.is_closed(),
        }
    }

    #[inline]
    pub(super) fn is_forked(&self) -> bool {
        match self {
            Self::Writer(writer) => writer.shared.is_forked(),
            Self::Reader(reader) => reader.is_forked(),
        }
    }

    /// Runs `look` on the keys and the time, under the lock.
    pub(super) fn with_view<T>(&self, look: impl FnOnce(&mut View) -> T) -> Result<T> {
        self.usable()?;
        match self {
            Self::Writer(writer) => {
                let mut core = writer.shared.core.lock();
                if core.closed { Err(Error::Closed) } else { Ok(look(&mut core.view)) }
            }
            Self::Reader(reader) => Ok(look(&mut reader.view.lock())),
        }
    }
}
