//! A directory in memory, for files that are only read: no locks, no maps, nothing to make durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::sync::{Arc, Mutex};

use super::{Dir, File, Locked, Map, Mode, Overwrite};

/// The files by name. `path` is that of the directory which they stand in for.
pub(crate) struct MemoryDir {
    path: PathBuf,
    files: Mutex<BTreeMap<String, Arc<MemoryFile>>>,
}

#[derive(Default)]
struct MemoryFile(Mutex<Vec<u8>>);

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl MemoryDir {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), files: Mutex::new(BTreeMap::new()) }
    }
}

impl Dir for MemoryDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str, mode: Mode) -> io::Result<Arc<dyn File>> {
        let mut files = self.files.lock();
        match (files.get(name), mode) {
            (Some(_), Mode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(file), _) => Ok(file.clone()),
            (None, Mode::CreateNew) => Ok(files.entry(name.to_owned()).or_default().clone()),
            (None, _) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn subdir(&self, _name: &str, _create: bool) -> io::Result<Arc<dyn Dir>> {
        unsupported()
    }

    fn move_into(&self, _name: &str, _subdir: &str) -> io::Result<()> {
        unsupported()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        unsupported()
    }

    fn lock(&self, _name: &str, _content: &str) -> io::Result<Locked> {
        unsupported()
    }
}

impl File for MemoryFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.0.lock();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = from.checked_add(buf.len()).and_then(|until| content.get(from..until));
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.0.lock();
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let until = from.checked_add(data.len()).ok_or(io::ErrorKind::InvalidInput)?;
        if content.len() < until {
            content.resize(until, 0);
        }
        content[from..until].copy_from_slice(data);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn overwrite(&self, _len: u64) -> io::Result<Overwrite> {
        Ok(Overwrite::MayAllocate)
    }

    fn map(&self, _len: usize) -> io::Result<Box<dyn Map>> {
        unsupported()
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_under_its_newest_name() {
        let dir = MemoryDir::new(Path::new("/somewhere"));
        assert_eq!(dir.open("a", Mode::Read).err().unwrap().kind(), io::ErrorKind::NotFound);
        let file = dir.open("a", Mode::CreateNew).unwrap();
        assert_eq!(dir.open("a", Mode::CreateNew).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        file.write_all_at(b"content", 3).unwrap();
        dir.rename("a", "b").unwrap();
        assert_eq!(dir.list().unwrap(), ["b"]);
        let mut read = [1; 5];
        dir.open("b", Mode::Read).unwrap().read_exact_at(&mut read, 1).unwrap();
        assert_eq!(&read, b"\0\0con");
        assert_eq!(file.len().unwrap(), 10);
        assert_eq!(file.read_exact_at(&mut read, 6).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        dir.remove("b").unwrap();
        assert!(dir.remove("b").is_err() && dir.rename("b", "c").is_err());
    }
}
