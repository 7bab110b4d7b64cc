//! What the proofs on the simulated disk share: when and how stores are opened there.

use std::sync::Arc;

use flint_core::clock::ManualClock;
use flint_core::engine::{Engine, Options, SyncMode};
use flint_core::image::KeyImage;
use flint_core::limit::{Algorithm, Limit, parse_limit};
use flint_core::storage::sim::SimDisk;
use flint_core::{Error, Result};

/// When every story starts: nanoseconds since the Unix epoch.
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
/// What [`Engine::open_in`] says.
pub fn open(disk: &SimDisk, options: Options) -> Result<Engine> {
    Engine::open_in(disk.dir(), options)
}

/// The limit that `text` says.
///
/// # Panics
/// When it says none.
pub fn limit(text: &str, algorithm: Algorithm) -> Limit {
    parse_limit(text, algorithm).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Every key's state, which does not depend on the moment.
///
/// # Panics
/// When the store is closed.
pub fn images(engine: &Engine) -> Vec<KeyImage> {
    engine.images().expect("the store is open")
}

/// A recovered store is written, closed and opened `then`: the same.
///
/// # Panics
/// When it is not, naming `what` led there.
pub fn goes_on(disk: &SimDisk, engine: Engine, then: &Options, what: &str) {
    let given = limit("5/minute", Algorithm::TokenBucket);
    let check = |key: &str, with| match engine.check(key, 1, with) {
        Err(error) if !is_refusal(&error) => panic!("{what}: {error}"),
        _ => {}
    };
    for _ in 0..2 {
        check("one more", Some(&given));
        for image in images(&engine).iter().take(4) {
            check(&image.key, None);
        }
    }
    let before = images(&engine);
    engine.close().unwrap_or_else(|error| panic!("{what}: closing: {error}"));
    drop(engine);
    let engine = open(disk, then.clone()).unwrap_or_else(|error| panic!("{what}: once more: {error}"));
    assert!(engine.recovery().clean, "{what}: the end of a clean session was torn");
    assert!(images(&engine) == before, "{what}: other keys after closing and opening again");
    if then.sync == SyncMode::Batch {
        // A clean end twice in a row; in the other mode the store is left as by a process that ends without saying so.
        engine.close().unwrap_or_else(|error| panic!("{what}: closing again: {error}"));
    }
}

/// Whether a call was refused for what was asked, which changes nothing, and not for what the disk did.
pub fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::LimitNotFound { .. } | Error::InvalidCost { .. } | Error::InvalidLimit(_) | Error::InvalidArgument(_)
    )
}
