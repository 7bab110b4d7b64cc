//! Directories as releases 0.1 and 0.2 left them.

use std::path::Path;

use flint_core::files;
use sha2::{Digest as _, Sha256};

use crate::directory::Files;

/// Names of what old releases wrote and still opens, in `tests/legacy-data`.
pub const SAMPLES: [&str; 4] = ["v0_1_log_only", "v0_2_log_only", "v0_2_torn_tail", "v0_2_snapshot_and_tail"];

/// The files of one of them.
///
/// # Panics
/// When the sample is not there.
pub fn sample(name: &str) -> Files {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/legacy-data").join(name).join("data");
    let files = std::fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    files
        .map(|file| {
            let path = file.expect("a directory entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
            (name, std::fs::read(&path).expect("a readable sample"))
        })
        .collect()
}

/// A directory of 0.2 with a snapshot of four keys, a log that the snapshot includes in part, and nothing more: small enough to try
/// everything with it. It is in the form of the sample with a snapshot, which has 200 keys.
pub fn small_snapshot() -> Files {
    let config = |key: &str, algorithm: &str| {
        format!(r#"{{"algorithm":"{algorithm}","key":"{key}","per_millis":3600000,"rate":9}}"#)
    };
    let (bucket, window, log, unused) = (
        config("b", "token_bucket"),
        config("w", "fixed_window_counter"),
        config("l", "sliding_window_log"),
        config("u", "token_bucket"),
    );
    let event = |kind: &str, key: &str, second: u64, cost: u64| {
        format!(r#"{{"type":"{kind}","key":"{key}","at":"{}","cost":{cost}}}"#, stamp(second))
    };
    let included = line(4, &event("ALLOW", "l", 4, 1));
    let totals = |allowed: u64, cost: u64, at: &str| {
        format!(
            r#"{{"last_allowed_at":{at},"last_denied_at":null,"last_reset_at":null,"total_allowed":{allowed},"total_allowed_cost":{cost},"total_denied":0,"total_denied_cost":0}}"#
        )
    };
    let quoted = |second| format!("\"{}\"", stamp(second));
    let state = [
        format!(r#""buckets":{{"b":{{"last_refill":{},"tokens":6.5}}}}"#, quoted(3)),
        format!(r#""configs":{{"b":{bucket},"l":{log},"u":{unused},"w":{window}}}"#),
        format!(r#""fixed_windows":{{"w":{{"count":2,"window_start":{}}}}}"#, quoted(1)),
        format!(
            r#""history":[{{"config":{bucket},"type":"LIMIT_CONFIGURED"}},{},{}]"#,
            event("ALLOW", "w", 1, 2),
            event("ALLOW", "b", 3, 3)
        ),
        format!(
            r#""metrics":{{"b":{},"l":{},"u":{},"w":{}}}"#,
            totals(1, 3, &quoted(3)),
            totals(1, 1, &quoted(4)),
            totals(0, 0, "null"),
            totals(1, 2, &quoted(1))
        ),
        format!(r#""sliding_windows":{{"l":[{}]}}"#, quoted(4)),
    ];
    let inner = format!(
        r#"{{"aof_offset":{},"created_at":{},"format_version":1,"state":{{{}}}}}"#,
        included.len(),
        quoted(5),
        state.join(",")
    );
    let snapshot = format!(
        "{{\n  \"format_version\": 1,\n  \"created_at\": {},\n  \"checksum\": \"{}\",\n  \"snapshot\": \"{}\"\n}}\n",
        quoted(5),
        sha256_hex(&inner),
        inner.replace('"', "\\\"")
    );
    let tail = [
        event("ALLOW", "b", 6, 2),
        format!(r#"{{"type":"LIMIT_CONFIGURED","config":{}}}"#, config("n", "sliding_window_log")),
        event("ALLOW", "n", 8, 4),
        event("DENY", "l", 9, 9),
        format!(r#"{{"type":"RESET","key":"w","at":{}}}"#, quoted(10)),
        event("ALLOW", "w", 11, 1),
    ];
    let tail = (6..).zip(&tail).map(|(second, event)| line(second, event));
    let log = std::iter::once(included).chain(tail).collect::<String>();
    [(files::LEGACY_AOF, log), (files::LEGACY_SNAPSHOT, snapshot)]
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .into()
}

/// A line of a log of 0.2.
fn line(second: u64, event: &str) -> String {
    let body = format!("{{\"version\":1,\"ts\":\"{}\",\"event\":{event}", stamp(second));
    format!("{body},\"checksum\":\"{}\"}}\n", sha256_hex(&format!("{body}}}")))
}

/// A few minutes before the scenarios begin.
fn stamp(second: u64) -> String {
    format!("2023-11-14T22:10:{second:02}.500000000Z")
}

fn sha256_hex(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}
