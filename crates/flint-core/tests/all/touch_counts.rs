//! In how many places an algorithm and a record kind are: those are the files that a new one touches.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Product files that name each algorithm, apart from its own file.
const ALGORITHM: [&str; 4] = [
    // The enum, and the only dispatch.
    "crates/flint-core/src/algorithm/mod.rs",
    // What users read and type checkers know.
    "crates/flint-py/src/call/limit.rs",
    "crates/flint-server/src/wire/limit.rs",
    "python/flint/_types.py",
];
/// Documents that a new algorithm touches.
const ALGORITHM_DOCS: [&str; 3] = ["CHANGELOG.md", "docs/http-api.md", "docs/storage-format.md"];

/// Product files that match on each kind of record, apart from its own file and the one that writes it.
const RECORD_KIND: [&str; 4] = [
    "crates/flint-core/src/dump.rs",
    "crates/flint-core/src/log/frame.rs",
    "crates/flint-core/src/log/record/mod.rs",
    "crates/flint-core/src/recovery/replay.rs",
];
const RECORD_KIND_DOCS: [&str; 1] = ["docs/storage-format.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "testing" {
            collect(&path, into);
        } else if [".rs", ".py", ".pyi"].iter().any(|end| name.ends_with(end)) && !name.ends_with("tests.rs") {
            into.push(path);
        }
    }
}

/// The product's sources, comments included, without what only tests use.
fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for dir in ["crates/flint-core/src", "crates/flint-py/src", "crates/flint-server/src", "python/flint"] {
        collect(&root().join(dir), &mut paths);
    }
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    let text = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
    };
    paths.iter().map(|path| (name(path), text(path))).collect()
}

/// The files that name any of `words`.
fn naming(sources: &[(String, String)], words: &[&str]) -> BTreeSet<String> {
    let named = sources.iter().filter(|(_, text)| words.iter().any(|word| text.contains(word)));
    named.map(|(name, _)| name.clone()).collect()
}

/// Counts the algorithms that are no default: the token bucket's name is also where a default is.
#[test]
fn a_new_algorithm_touches_at_most_eight_files() {
    let sources = sources();
    let own = "crates/flint-core/src/algorithm/";
    for (file, words) in [
        ("sliding_window_log", ["SlidingWindowLog", "sliding_window_log"]),
        ("fixed_window_counter", ["FixedWindowCounter", "fixed_window_counter"]),
    ] {
        let mut found = naming(&sources, &words);
        assert!(found.remove(&format!("{own}{file}.rs")), "{file} has a file of its own");
        // Where one algorithm's message recommends another.
        found.retain(|name| !name.starts_with(own) || name.ends_with("/mod.rs"));
        assert_eq!(found, ALGORITHM.map(str::to_owned).into(), "files that name {file}");
    }
    for name in ALGORITHM_DOCS {
        let text = fs::read_to_string(root().join(name)).unwrap();
        assert!(text.contains("sliding_window_log") || name == "CHANGELOG.md", "{name} does not name the algorithms");
    }
    assert!(1 + ALGORITHM.len() + ALGORITHM_DOCS.len() <= 8);
}

#[test]
fn a_new_record_kind_touches_at_most_seven_files() {
    let sources = sources();
    let own = "crates/flint-core/src/log/record/";
    // Each with the files that write it. Allow and Configure can also be grouped, as can Idempotency and Totals, which are never alone.
    for (kind, writers) in [
        ("Allow", &["store/core.rs"][..]),
        ("Configure", &["store/configure.rs", "store/core.rs"]),
        ("Reset", &["store/configure.rs"]),
        ("Delete", &["store/configure.rs"]),
        ("Denials", &["store/core.rs"]),
        ("Group", &["store/configure.rs", "store/core.rs"]),
        ("Anchor", &["bulk.rs", "store/core.rs"]),
        ("SnapshotMark", &["bulk.rs", "repair/mod.rs", "store/core.rs"]),
        ("Close", &["store/core.rs"]),
        ("Event", &["bulk.rs", "repair/mod.rs"]),
        ("Totals", &["store/configure.rs"]),
    ] {
        let is_named = |(name, text): &&(String, String)| {
            // `EventKind::Reset` and the like are events of a key's history; `Self::Reset` is a kind within the codec.
            let text = text.replace("EventKind::", "");
            let enums: &[&str] = if name.contains("/log/") { &["Kind", "Op", "Self"] } else { &["Kind", "Op"] };
            let is_whole = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric());
            (name.contains("/log/") || text.contains("log::record"))
                && enums.iter().any(|of| text.split(&format!("{of}::{kind}")).skip(1).any(is_whole))
        };
        let mut found: BTreeSet<String> = sources.iter().filter(is_named).map(|(name, _)| name.clone()).collect();
        found.retain(|name| !name.starts_with(own) || name.ends_with("/mod.rs"));
        for writer in writers {
            found.remove(&format!("crates/flint-core/src/{writer}"));
        }
        let allowed: BTreeSet<String> = RECORD_KIND.map(str::to_owned).into();
        assert!(found.is_subset(&allowed), "files that match on {kind}: {found:?}");
    }
    // Its own file, and the one that writes it.
    assert!(2 + RECORD_KIND.len() + RECORD_KIND_DOCS.len() <= 7);
}
