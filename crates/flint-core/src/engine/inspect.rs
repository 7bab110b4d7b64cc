//! Calls that read without deciding: one key, its history, and the engine's own figures.

use crate::error::Result;
use crate::history;
#[cfg(feature = "testing")]
use crate::idempotency::IdempotencyRecord;
use crate::limit::Key;
use crate::migrate;
use crate::stats;
use crate::store::view::View;
use crate::sync::Ordering;

use super::backend::{Backend, Reader, Writer};
use super::{Counters, Engine, Event, Status};

impl Engine {
    /// One key, or `None` if it has no limit.
    ///
    /// # Errors
    /// `InvalidKey`, `Stopped`, `Closed`, `Forked`.
    pub fn status(&self, key: &str) -> Result<Option<Status>> {
        Key::new(key)?;
        self.with_view(|view| view.status(key))
    }

    /// The newest `limit` events of a key, oldest first, as far back as segments are kept.
    ///
    /// # Errors
    /// `InvalidKey`, `Storage`, `Corrupt`, `Stopped`, `Closed`, `Forked`.
    pub fn history(&self, key: &str, limit: usize) -> Result<Vec<Event>> {
        Key::new(key)?;
        self.backend.usable()?;
        let now = match &self.backend {
            Backend::Writer(Writer { shared, .. }) => {
                let mut core = shared.core.lock();
                let now = history_now(&mut core.view, key);
                let head = core.view.table.find(key);
                let unsaved = head.map(|head| core.unsaved_denials(head)).unwrap_or_default();
                // What is appended while the files are read is left out, as it is left out of the denials.
                history::Now { seq: core.writer.seq(), unsaved, ..now }
            }
            Backend::Reader(Reader { view, seq, .. }) => {
                let now = history::Now { seq: *seq, ..history_now(&mut view.lock(), key) };
                let view = migrate::view(&*self.dir);
                return self.unless_closed(view.and_then(|view| history::read(view.dir(), key, now, limit)));
            }
        };
        self.unless_closed(history::read(&*self.dir, key, now, limit))
    }

    /// Totals since open. In a forked child, zeros.
    pub fn counters(&self) -> Counters {
        if self.is_forked() {
            return Counters::default();
        }
        match &self.backend {
            Backend::Reader(reader) => {
                let (sync_ns, sync_records) = (stats::no_syncs(), stats::no_records());
                let keys = reader.view.lock().table.len();
                Counters { keys, recovery_ns: self.recovery_ns, sync_ns, sync_records, ..Counters::default() }
            }
            Backend::Writer(Writer { shared, .. }) => {
                let core = shared.core.lock();
                Counters {
                    keys: core.view.table.len(),
                    allowed: core.allowed,
                    denied: core.denied,
                    seq: core.writer.seq(),
                    durable_seq: core.writer.durable_seq(),
                    log_bytes: core.writer.end(),
                    syncs: shared.syncs.load(Ordering::Relaxed),
                    rotations: core.writer.rotations(),
                    compactions: shared.compactions.load(Ordering::Relaxed),
                    recovery_ns: self.recovery_ns,
                    sync_ns: shared.sync_ns.read(),
                    sync_records: shared.sync_records.read(),
                }
            }
        }
    }

    /// Calls `each` with every remembered answer of an allowed call, oldest first, also with those that are too old but still
    /// there. Gives the engine time.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    #[cfg(feature = "testing")]
    pub fn idempotency_records(&self, each: &mut dyn FnMut(&IdempotencyRecord<'_>)) -> Result<u64> {
        self.with_view(|view| {
            let now = view.time.now();
            view.idempotency.for_each(0, each);
            now
        })
    }
}

/// A key as its history has to know it, with everything that is in the files.
fn history_now(view: &mut View, key: &str) -> history::Now {
    let now = view.time.now();
    let offset_ns = view.time.offset_ns(now);
    let (table, head) = (&view.table, view.table.find(key));
    let of_counter = |slot| (table.entry(slot).id, table.rates(slot).copied().collect());
    let counters = head.map(|head| table.counters(head).map(of_counter).collect()).unwrap_or_default();
    history::Now { counters, offset_ns, seq: u64::MAX, unsaved: Vec::new() }
}
