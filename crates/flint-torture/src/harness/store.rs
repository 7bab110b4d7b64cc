//! Opening stores on the simulated disk.

use std::sync::Arc;

use flint_core::clock::ManualClock;
use flint_core::engine::{Engine, Options, SyncMode};
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::testing::sim::SimDisk;
use flint_core::{Error, Result};

/// When every scenario starts: nanoseconds since the Unix epoch.
pub const START: u64 = 1_700_000_000_000_000_000;
/// One second.
pub const SECOND: u64 = 1_000_000_000;
/// The smallest segments there are.
pub const SEGMENT_BYTES: u64 = 16 << 10;

/// Both modes.
pub const MODES: [SyncMode; 2] = [SyncMode::Always, SyncMode::Batch];

/// A store with small segments and no background threads, so that the same calls make the same operations.
pub fn options(sync: SyncMode, clock: &Arc<ManualClock>) -> Options {
    Options { sync, segment_bytes: SEGMENT_BYTES, clock: clock.clone(), threads: false, ..Options::default() }
}

/// A clock that shows `wall_ns`.
pub fn clock_at(wall_ns: u64) -> Arc<ManualClock> {
    Arc::new(ManualClock::new(wall_ns))
}

/// Opens what is on `disk`.
///
/// # Errors
/// Those of [`Engine::open_in`].
pub fn open(disk: &SimDisk, options: Options) -> Result<Engine> {
    Engine::open_in(disk.dir(), options)
}

/// The limit that `text` states.
///
/// # Panics
/// When it states none.
pub fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Whether a call was refused for what was asked, which changes nothing, and not for what the disk did.
pub fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::LimitNotFound { .. } | Error::InvalidCost { .. } | Error::InvalidLimit(_) | Error::InvalidArgument(_)
    )
}
