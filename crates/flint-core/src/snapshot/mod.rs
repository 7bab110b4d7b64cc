//! The snapshot file: the state of every key and the remembered answers as JSON lines in one exact form, with a SHA-256 over the whole.
//!
//! ```text
//! {"format":"flint-snapshot","version":2,"features":0,"store":"00000000deadbeef","start":420,...}     Header
//! {"id":1,"seq":420,"key":"user:1","rates":[["token_bucket",100,60000,100]],"state":[[0,17]]}         one line a counter
//! {"receipt":"00…","fingerprint":"00…","seq":419,"at_ns":17,"answer":"01…"}                           one line an answer
//! {"end":431,"next_id":2,"keys":1,"receipts":1,"sha256":"..."}                                        Trailer
//! ```
//!
//! Any JSON reader understands it, but only what [`Writer`] produces is accepted: fixed field order, no spaces, defaults left
//! out, shortest numbers. `docs/storage-format.md` has the grammar.

mod lines;
mod parse;
mod read;
mod remains;
mod write;

#[cfg(test)]
mod tests;

pub use read::{Body, read, read_header};
pub use remains::{Remains, read_remains};
pub use write::Writer;

/// The version that this code writes. It reads all versions up to it.
pub const VERSION: u64 = crate::files::SNAPSHOT_VERSION;

/// The first version whose lines say which counter of a key was used last.
const VERSION_WITH_USE: u64 = 2;

/// The longest line that is written: a key of 64 KiB with every character escaped, eight rates, and for each a sliding log of up to
/// a million runs, 42 characters each; and as much again for limits of old releases that were out of bounds.
const MAX_LINE_BYTES: usize = 1 << 30;

/// Optional features that this code knows: none so far.
const KNOWN_FEATURES: u64 = 0;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The store that the snapshot belongs to.
    pub store_id: u64,
    /// Every record up to this sequence number is included.
    pub start: u64,
    /// Engine time when the snapshot was started, nanoseconds.
    pub engine_ns: u64,
    /// Wall-clock time at that engine time, nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// The old release's files that the store was made from, where it was.
    pub migrated: Option<Migrated>,
}

/// Where a migrated store came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// "0.1" or "0.2".
    pub release: &'static str,
    /// SHA-256 of the old log as it was read.
    pub sha256: [u8; 32],
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// No counter includes a record above this sequence number; the log must reach at least this far.
    pub end: u64,
    /// The first id that was never given out.
    pub next_id: u64,
    /// Number of counters.
    pub keys: u64,
    /// Number of answers.
    pub answers: u64,
    /// SHA-256 of all bytes of the file before the 64 digits of this value.
    pub sha256: [u8; 32],
}

/// The names of releases whose stores can be migrated.
const RELEASES: [&str; 2] = ["0.1", "0.2"];

// The fixed texts between the values, shared by writer and parser so that they cannot drift apart.
const FORMAT: &[u8] = br#"{"format":"flint-snapshot","version":"#;
const FEATURES: &[u8] = br#","features":"#;
const STORE: &[u8] = br#","store":""#;
const START: &[u8] = br#"","start":"#;
const ENGINE_NS: &[u8] = br#","engine_ns":"#;
const WALL_NS: &[u8] = br#","wall_ns":"#;
const MIGRATED: &[u8] = br#","migrated":"#;
const RELEASE: &[u8] = br#"{"release":""#;
const RELEASE_SHA256: &[u8] = br#"","sha256":""#;
const ID: &[u8] = br#"{"id":"#;
const SEQ: &[u8] = br#","seq":"#;
const KEY: &[u8] = br#","key":""#;
const ORIGIN_CALL: &[u8] = br#","origin":"call""#;
const USED: &[u8] = br#","used":["#;
const OUT_OF_BOUNDS: &[u8] = br#","out_of_bounds":true"#;
const RATES: &[u8] = br#","rates":["#;
const STATE: &[u8] = br#","state":["#;
const TOTALS: &[u8] = br#","totals":["#;
const END: &[u8] = br#"{"end":"#;
const NEXT_ID: &[u8] = br#","next_id":"#;
const KEYS: &[u8] = br#","keys":"#;
const ANSWERS: &[u8] = br#","receipts":"#;
const SHA256: &[u8] = br#","sha256":""#;
const IDEMPOTENCY: &[u8] = br#"{"receipt":""#;
const FINGERPRINT: &[u8] = br#"","fingerprint":""#;
const ANSWER_SEQ: &[u8] = br#"","seq":"#;
const AT_NS: &[u8] = br#","at_ns":"#;
const ANSWER: &[u8] = br#","answer":""#;
const CLOSE_STRING: &[u8] = b"\"}\n";
const CLOSE: &[u8] = b"}\n";
