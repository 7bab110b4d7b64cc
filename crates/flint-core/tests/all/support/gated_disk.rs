//! A disk whose syncs of files wait at a gate: what goes on while the disk is busy is then no question of time.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use flint_core::storage::{Dir, File, Locked, Map, Mode, Overwrite};

/// Long enough for any machine.
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Passage {
    /// For which files; none when it is open.
    closed: Option<fn(&str) -> bool>,
    waiting: usize,
}

type Shared = Arc<(Mutex<Passage>, Condvar)>;

/// The gate in front of a disk.
pub(crate) struct Gate {
    inner: Arc<dyn Dir>,
    passage: Shared,
}

impl Gate {
    pub(crate) fn new(inner: Arc<dyn Dir>) -> Self {
        Self { inner, passage: Shared::default() }
    }

    pub(crate) fn dir(&self) -> Arc<dyn Dir> {
        Arc::new(GatedDir { inner: self.inner.clone(), passage: self.passage.clone() })
    }

    /// Closes it for all files until the answer is dropped.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.close_for(|_| true)
    }

    pub(crate) fn close_for(&self, files: fn(&str) -> bool) -> Closed<'_> {
        self.passage.0.lock().unwrap().closed = Some(files);
        Closed(self)
    }

    /// Returns when a sync waits at the gate. Fails where none comes: an engine that leaves it out makes no test hang.
    pub(crate) fn wait_for_a_sync(&self) {
        let passage = self.passage.0.lock().unwrap();
        let (passage, timeout) =
            self.passage.1.wait_timeout_while(passage, LONGEST, |passage| passage.waiting == 0).unwrap();
        drop(passage);
        assert!(!timeout.timed_out(), "no sync came");
    }
}

/// A closed gate. It opens before an engine that was opened earlier is dropped, also when the test fails: else the engine, and with
/// it the test, would wait for ever.
#[must_use]
pub(crate) struct Closed<'a>(&'a Gate);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.passage.0.lock().unwrap().closed = None;
        self.0.passage.1.notify_all();
    }
}

struct GatedDir {
    inner: Arc<dyn Dir>,
    passage: Shared,
}

impl Dir for GatedDir {
    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        let (name, passage) = (name.to_owned(), self.passage.clone());
        Ok(Arc::new(GatedFile { inner: self.inner.open(&name, mode)?, name, passage }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn subdir(&self, name: &str, create: bool) -> io::Result<Arc<dyn Dir>> {
        self.inner.subdir(name, create)
    }

    fn move_into(&self, name: &str, subdir: &str) -> io::Result<()> {
        self.inner.move_into(name, subdir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn lock(&self, name: &str, content: &str) -> io::Result<Locked> {
        self.inner.lock(name, content)
    }
}

struct GatedFile {
    inner: Arc<dyn File>,
    name: String,
    passage: Shared,
}

impl File for GatedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_all_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let (lock, changed) = &*self.passage;
        let mut passage = lock.lock().unwrap();
        while passage.closed.is_some_and(|files| files(&self.name)) {
            passage.waiting += 1;
            changed.notify_all();
            passage = changed.wait(passage).unwrap();
            passage.waiting -= 1;
        }
        drop(passage);
        self.inner.sync_data()
    }

    fn overwrite(&self, len: u64) -> io::Result<Overwrite> {
        self.inner.overwrite(len)
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Map>> {
        self.inner.map(len)
    }
}
