//! The inputs that are kept in the repository, a folder for each target.

use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use super::target::Target;

/// Bounds of a folder. What is full stays as it is.
const MAX_FILES: usize = 200;
const MAX_BYTES: usize = 300 << 10;

/// The folder of one target.
pub(super) struct Corpus {
    path: PathBuf,
    files: usize,
    bytes: usize,
}

impl Corpus {
    pub(super) fn of(target: Target) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name());
        let mut corpus = Self { path, files: 0, bytes: 0 };
        for input in corpus.inputs() {
            corpus.files += 1;
            corpus.bytes += input.len();
        }
        corpus
    }

    /// All inputs, in order of their names.
    pub(super) fn inputs(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return Vec::new() };
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable corpus").path()).collect();
        paths.sort();
        paths.iter().map(|path| std::fs::read(path).expect("a readable corpus")).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.files >= MAX_FILES || self.bytes >= MAX_BYTES
    }

    /// Adds an input; false if there is no room for it, or if it is there.
    pub(super) fn store(&mut self, input: &[u8]) -> bool {
        let path = self.path.join(format!("{}.bin", name(input)));
        if self.is_full() || self.bytes + input.len() > MAX_BYTES || path.exists() {
            return false;
        }
        self.files += 1;
        self.bytes += input.len();
        self.write(&path, input);
        true
    }

    /// Keeps an input that failed, whatever the room. What only a deliberate defect made fail is no part of the corpus.
    pub(super) fn store_crash(&self, input: &[u8]) -> PathBuf {
        let directory =
            if std::env::var_os("FLINT_DEFECT").is_some() { std::env::temp_dir() } else { self.path.clone() };
        let path = directory.join(format!("crash-{}.bin", name(input)));
        self.write(&path, input);
        path
    }

    fn write(&self, path: &Path, input: &[u8]) {
        let written = std::fs::create_dir_all(&self.path).and_then(|()| std::fs::write(path, input));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}; the input is {input:?}", path.display()));
    }
}

fn name(input: &[u8]) -> String {
    let mut hash = DefaultHasher::new();
    hash.write(input);
    format!("{:016x}", hash.finish())
}
