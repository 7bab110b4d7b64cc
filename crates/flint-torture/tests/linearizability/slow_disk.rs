//! A simulated disk whose syncs take as long as other threads can run: what is acknowledged too early is then seen to be.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use flint_core::storage::{Dir, File, Locked, Map, Mode, Overwrite};

pub(crate) struct SlowDir(pub(crate) Arc<dyn Dir>);

struct SlowFile(Arc<dyn File>);

fn give_way() {
    for _ in 0..4 {
        thread::yield_now();
    }
}

impl Dir for SlowDir {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile(self.0.open(name, mode)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        give_way();
        self.0.sync()
    }

    fn subdir(&self, name: &str, create: bool) -> io::Result<Arc<dyn Dir>> {
        Ok(Arc::new(Self(self.0.subdir(name, create)?)))
    }

    fn move_into(&self, name: &str, subdir: &str) -> io::Result<()> {
        self.0.move_into(name, subdir)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }

    fn lock(&self, name: &str, content: &str) -> io::Result<Locked> {
        self.0.lock(name, content)
    }
}

impl File for SlowFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        give_way();
        self.0.sync_data()
    }

    fn overwrite(&self, len: u64) -> io::Result<Overwrite> {
        self.0.overwrite(len)
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Map>> {
        self.0.map(len)
    }
}
