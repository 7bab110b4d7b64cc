//! Counts of what a test really did; `scripts/check_evidence.py` compares them with their minimums.

use std::fs::OpenOptions;
use std::io::Write;

/// Prints the count, and appends it to the file that `FLINT_EVIDENCE` names, if that is set.
#[expect(clippy::print_stdout, reason = "the counts belong to the tests' output")]
pub(crate) fn record(name: &str, count: u64) {
    println!("evidence: {name} {count}");
    if let Some(path) = std::env::var_os("FLINT_EVIDENCE") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write a line: other tests append to the same file.
        file.write_all(format!("{name} {count}\n").as_bytes()).unwrap();
    }
}
