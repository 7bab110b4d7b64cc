//! The simulated disk behind the storage traits.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SimDisk;
use super::content::Content;
use super::node::Node;
use super::state::{Directory, Effect, Entry, Op};
use crate::storage::{Dir, File, LockGuard, Locked, Map, Mode, Overwrite};

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn position(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| errno(libc::EFBIG))
}

pub(super) struct SimDir {
    pub(super) disk: SimDisk,
    pub(super) dir: usize,
    pub(super) path: PathBuf,
}

impl SimDir {
    fn effect(&self, name: &str, to: Option<Entry>) -> Effect {
        Effect { dir: self.dir, name: name.to_owned(), to }
    }
}

impl Dir for SimDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        let mut state = self.disk.state();
        state.alive()?;
        let node = match (state.dirs[self.dir].names.get(name).copied(), mode) {
            (Some(_), Mode::CreateNew) => return Err(errno(libc::EEXIST)),
            (Some(Entry::Dir(_)), _) => return Err(errno(libc::EISDIR)),
            (Some(Entry::File(node)), _) => node,
            (None, Mode::CreateNew) => {
                state.begin(Op::Change)?;
                state.need_room()?;
                state.create_file(self.dir, name)
            }
            (None, _) => return Err(errno(libc::ENOENT)),
        };
        Ok(Arc::new(SimFile { disk: self.disk.clone(), node, writable: mode != Mode::Read }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.disk.state();
        state.begin_read()?;
        let names = state.dirs[self.dir].names.iter();
        Ok(names.filter(|(_, entry)| matches!(entry, Entry::File(_))).map(|(name, _)| name.clone()).collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Op::Change)?;
        let entry = state.file(self.dir, from)?;
        if from != to {
            state.change(vec![self.effect(from, None), self.effect(to, Some(entry))], false);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Op::Change)?;
        state.file(self.dir, name)?;
        state.change(vec![self.effect(name, None)], false);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Op::Sync)?;
        state.sync_dir(self.dir);
        Ok(())
    }

    fn subdir(&self, name: &str, create: bool) -> io::Result<Arc<dyn Dir>> {
        let mut state = self.disk.state();
        state.alive()?;
        let path = self.path.join(name);
        let dir = match state.dirs[self.dir].names.get(name).copied() {
            Some(Entry::Dir(dir)) => dir,
            Some(Entry::File(_)) => return Err(errno(libc::ENOTDIR)),
            None if create => {
                state.begin(Op::Change)?;
                state.need_room()?;
                state.dirs.push(Directory::new(path.clone()));
                let dir = state.dirs.len() - 1;
                state.change(vec![self.effect(name, Some(Entry::Dir(dir)))], false);
                dir
            }
            None => return Err(errno(libc::ENOENT)),
        };
        if create {
            state.begin(Op::Sync)?;
            state.sync_dir(self.dir);
        }
        Ok(Arc::new(Self { disk: self.disk.clone(), dir, path }))
    }

    fn move_into(&self, name: &str, subdir: &str) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin(Op::Change)?;
        let entry = state.file(self.dir, name)?;
        let dir = match state.dirs[self.dir].names.get(subdir) {
            Some(Entry::Dir(dir)) => *dir,
            Some(Entry::File(_)) => return Err(errno(libc::ENOTDIR)),
            None => return Err(errno(libc::ENOENT)),
        };
        state.change(vec![Effect { dir, name: name.to_owned(), to: Some(entry) }], false);
        state.change(vec![self.effect(name, None)], true);
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok(if state.full { 0 } else { u64::MAX })
    }

    fn lock(&self, name: &str, content: &str) -> io::Result<Locked> {
        let mut state = self.disk.state();
        state.alive()?;
        let key = (self.dir, name.to_owned());
        match state.locks.get(&key) {
            Some(None) => return Ok(Locked::HeldHere { opened_as: self.path().to_path_buf() }),
            Some(Some(content)) => return Ok(Locked::HeldElsewhere { content: content.clone() }),
            None => {}
        }
        state.begin(Op::Change)?;
        let node = match state.dirs[self.dir].names.get(name) {
            Some(Entry::File(node)) => *node,
            Some(Entry::Dir(_)) => return Err(errno(libc::EISDIR)),
            None => {
                state.need_room()?;
                state.create_file(self.dir, name)
            }
        };
        // No promise rests on this content: no need to doubt it.
        let mut bytes = Content::default();
        bytes.write(content.as_bytes(), 0);
        state.nodes[node] = Node::durable(bytes);
        state.locks.insert(key.clone(), None);
        drop(state);
        Ok(Locked::Guard(Box::new(SimLock { disk: self.disk.clone(), key })))
    }
}

struct SimLock {
    disk: SimDisk,
    key: (usize, String),
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.key);
    }
}

struct SimFile {
    disk: SimDisk,
    node: usize,
    writable: bool,
}

impl File for SimFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_read()?;
        let content = &state.nodes[self.node].current;
        match position(offset)?.checked_add(buf.len()) {
            Some(end) if end <= content.len() => {
                content.read(buf, end - buf.len());
                Ok(())
            }
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        if !self.writable {
            return Err(errno(libc::EBADF));
        }
        let cut_short = state.begin(Op::Write)?;
        let offset = position(offset)?;
        let end = offset.checked_add(data.len()).ok_or_else(|| errno(libc::EFBIG))?;
        if cut_short {
            state.write(self.node, &data[..data.len() / 2], offset);
            return Err(errno(libc::ENOSPC));
        }
        if state.copies_on_write || end > state.nodes[self.node].current.len() {
            state.need_room()?;
        }
        state.write(self.node, data, offset);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.begin_read()?;
        Ok(state.nodes[self.node].current.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        if let Some(hook) = self.disk.before_sync.get() {
            hook();
        }
        let mut state = self.disk.state();
        match state.begin(Op::Sync) {
            Ok(_) => {
                state.nodes[self.node].sync();
                Ok(())
            }
            Err(error) => {
                if !state.crashed {
                    state.nodes[self.node].fail_sync();
                }
                Err(error)
            }
        }
    }

    fn overwrite(&self, _len: u64) -> io::Result<Overwrite> {
        let mut state = self.disk.state();
        state.begin_read()?;
        Ok(if state.copies_on_write { Overwrite::MayAllocate } else { Overwrite::InPlace })
    }

    fn map(&self, len: usize) -> io::Result<Box<dyn Map>> {
        let mut state = self.disk.state();
        state.begin(Op::Map)?;
        if !self.writable {
            return Err(errno(libc::EACCES));
        }
        if len == 0 || len > state.nodes[self.node].current.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        assert!(!state.copies_on_write, "a mapping that may kill the process");
        Ok(Box::new(SimMap { disk: self.disk.clone(), node: self.node, len }))
    }
}

struct SimMap {
    disk: SimDisk,
    node: usize,
    len: usize,
}

impl Map for SimMap {
    fn store(&mut self, offset: usize, data: &[u8]) {
        assert!(offset <= self.len && data.len() <= self.len - offset, "a store beyond the mapping");
        let mut state = self.disk.state();
        // After the power cut no process is left to store anything.
        if state.begin(Op::Store).is_ok() {
            state.write(self.node, data, offset);
        }
    }
}
