//! Counting what tests really did.
//!
//! With `FLINT_EVIDENCE` set, each count is a line of that file, and `scripts/check_evidence.py` compares the sums with the
//! minimums at the end of `make test`.

use std::fs::OpenOptions;
use std::io::Write as _;

/// Prints and notes that a test did `name` `count` times.
///
/// # Panics
/// When the file cannot be written: a run whose evidence is lost has none.
#[expect(clippy::print_stdout, reason = "shown when a test fails or is run with --nocapture")]
pub fn record(name: &str, count: u64) {
    println!("evidence: {name} {count}");
    if let Some(path) = std::env::var_os("FLINT_EVIDENCE") {
        let mut file =
            OpenOptions::new().create(true).append(true).open(&path).expect("the evidence file can be opened");
        // One write, so that lines of parallel tests do not mix.
        file.write_all(format!("{name} {count}\n").as_bytes()).expect("the evidence file can be written");
    }
}
