//! Compaction and verification.

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

    /// Verifies the files while checks go on.
    ///
    /// # Errors
    /// `Storage`, `Closed`, `Forked`. Damage is reported, not raised.
    pub fn doctor(&self) -> Result<Report> {
        self.backend.usable()?;
        doctor::examine_in(&*self.dir)
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
