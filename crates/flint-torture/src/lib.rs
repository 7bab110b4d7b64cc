//! Evidence that Flint keeps what it promises: crash states, failing disks, killed processes, damaged files, random input.
//!
//! The tests of this crate run bounded parts of it and count what they did; `make soak` runs the same code for longer. It
//! builds `flint-core` with the feature `test-hooks`, which nothing that is shipped enables.
//!
//! - `corruption` damages stores at rest: bits, lengths, records, files
//! - `crash` cuts the power and kills the process at every operation of a `story`, whose `ledger` says what may be recovered
//! - `faults` tells stories on disks that fail
//! - `fuzz` feeds changed bytes, text and whole directories to everything that reads
//! - `kill` starts real processes, kills them at exact points and judges what they left
//! - `linearizability` explains what concurrent callers saw by calls one after the other, or says that nothing can
//! - `old_release`: directories of releases 0.1 and 0.2
//! - `stage`, `random`, `evidence`: how stores are opened here, chance, counting

pub mod corruption;
pub mod crash;
pub mod evidence;
pub mod faults;
pub mod fuzz;
pub mod kill;
pub mod ledger;
pub mod linearizability;
pub mod old_release;
pub mod random;
pub mod stage;
pub mod story;
