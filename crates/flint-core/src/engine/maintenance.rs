//! Compaction, copies and verification.

use std::path::Path;

use crate::backup::{self, BackupReport};
use crate::compact;
use crate::doctor;
use crate::error::Result;

#[cfg(feature = "testing")]
use super::background;
use super::{Engine, Report};

impl Engine {
    /// Writes a snapshot and removes the log that it replaces, beyond what is kept as history. Checks go on in parallel.
    ///
    /// # Errors
    /// `Storage` (the store goes on without the snapshot), `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    pub fn compact(&self) -> Result<()> {
        compact::compact(self.writer("compact")?)
    }

    /// Copies the store to `output` while checks go on: its state and history at one moment of this call. `output` must not exist, or
    /// be empty, and must not lie in the data directory; the directory above it must exist. A read-only engine copies the directory
    /// as it is now.
    ///
    /// # Errors
    /// `InvalidArgument` for such an `output`; `Storage`, also when there is not enough room; `Stopped`, `Closed`, `Forked`; for a
    /// read-only engine what [`backup`](backup::backup) returns. After an error there is no copy, not even a part of one.
    pub fn backup(&self, output: &Path) -> Result<BackupReport> {
        self.backend.usable()?;
        match self.backend.store() {
            Some(store) => backup::of_store(store, output),
            None => backup::backup(self.path(), output),
        }
    }

    /// Verifies the files while checks go on.
    ///
    /// # Errors
    /// `Storage`, `Closed`, `Forked`. Damage is reported, not raised.
    pub fn doctor(&self) -> Result<Report> {
        self.backend.usable()?;
        self.unless_closed(doctor::examine_in(&*self.dir))
    }

    /// One round of what the background threads do, for stores opened without them.
    ///
    /// # Errors
    /// `Storage`, `Stopped`, `Closed`, `Forked`, `ReadOnly`.
    #[cfg(feature = "testing")]
    pub fn turn(&self) -> Result<()> {
        let shared = self.writer("turn")?;
        shared.usable()?;
        background::turn(shared)
    }
}
