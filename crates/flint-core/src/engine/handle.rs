//! The type whose methods are the public calls.

use std::path::Path;

use crate::error::{Error, Result};
use crate::recovery::Recovery;
use crate::storage::Dir;
use crate::store::notices::Notice;
use crate::store::shared::Shared;
use crate::store::view::View;
use crate::sync::Arc;

use super::backend::Backend;

/// A limiter over one data directory. `Send + Sync`: share it behind an `Arc`.
pub struct Engine {
    pub(super) dir: Arc<dyn Dir>,
    pub(super) backend: Backend,
    pub(super) recovery: Recovery,
    pub(super) recovery_ns: u64,
}

impl Engine {
    /// The data directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What open found and did.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Whether calls may be made: the storage works and the handle is open.
    ///
    /// # Errors
    /// `Stopped`, `Closed`, `Forked`.
    pub fn health(&self) -> Result<()> {
        self.backend.usable()
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.backend.is_closed()
    }

    /// Whether this process was forked from the one that opened the store. One atomic load.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.backend.is_forked()
    }

    /// Whether a background thread has left a notice. One atomic load.
    #[inline]
    pub fn has_notices(&self) -> bool {
        self.backend.store().is_some_and(|store| store.notices.any())
    }

    /// Takes the notices of background threads.
    pub fn take_notices(&self) -> Vec<Notice> {
        if self.is_forked() {
            return Vec::new();
        }
        self.backend.store().map(|store| store.notices.take()).unwrap_or_default()
    }

    /// The store, for the call `name` of the public API.
    ///
    /// # Errors
    /// `ReadOnly`, or why a read-only engine cannot be used at all.
    #[inline]
    pub(super) fn writer(&self, name: &'static str) -> Result<&Shared> {
        match self.backend.store() {
            Some(store) => Ok(store),
            None => Err(self.read_only(name)),
        }
    }

    #[cold]
    fn read_only(&self, op: &'static str) -> Error {
        match self.backend.usable() {
            Ok(()) => Error::ReadOnly { op, path: self.path().to_path_buf() },
            Err(error) => error,
        }
    }

    pub(super) fn with_view<T>(&self, look: impl FnOnce(&mut View) -> T) -> Result<T> {
        self.backend.with_view(look)
    }

    /// The result of reading files, which fails in the middle if another thread closes the engine.
    pub(super) fn unless_closed<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| if self.is_closed() { Error::Closed } else { error })
    }

    /// Between two slices: lets calls that wait for the lock have it first.
    pub(super) fn give_way(&self) {
        if let Some(store) = self.backend.store() {
            store.give_way();
        }
    }
}
