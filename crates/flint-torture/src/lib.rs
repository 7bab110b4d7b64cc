//! Evidence that Flint keeps what it promises: crash states, failing disks, killed processes, damaged files, random input.
//!
//! The tests of this crate run bounded parts of it and count what they did; `make soak` runs the same code for longer. It
//! builds `flint-core` with the feature `test-hooks`, which nothing that is shipped enables.
//!
//! In order of layers; a module uses only those above it:
//!
//! - `evidence`, `random`: counting what was done, random numbers from a seed
//! - `directory`, `old_release`: the files of a directory, and directories of releases 0.1 and 0.2
//! - `harness`: how stores are opened on the simulated disk, their state, and what must hold of a recovered one
//! - `scenario`: sequences of calls
//! - `expected_states`: the states that a store may have after each of their disk operations
//! - `crash`: the power is cut and the process killed at every operation of a scenario
//! - `faults`: scenarios on disks that fail
//! - `kill`: real processes, killed at exact points, and what they left
//! - `corruption`: damaged stores at rest: bits, lengths, records, files
//! - `fuzz`: changed bytes, text and whole directories for everything that reads
//! - `linearizability`: whether a sequential order explains what concurrent callers saw

pub mod corruption;
pub mod crash;
pub mod directory;
pub mod evidence;
pub mod expected_states;
pub mod faults;
pub mod fuzz;
pub mod harness;
pub mod kill;
pub mod linearizability;
pub mod old_release;
pub mod random;
pub mod scenario;
