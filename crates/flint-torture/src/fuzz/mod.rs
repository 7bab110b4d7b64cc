//! Fuzzing in process, on stable Rust: inputs are changed at random, and those that make the code do something new are kept
//! and changed further. What counts as new is what can be seen from outside (`features`), not coverage.
//!
//! - `records`, `snapshot_lines`, `legacy_lines`, `grammar`: one parser each; `directories`: whole stores, made by a
//!   `directory_script`: edits of one of the `stores`, taken apart into an `editable` form
//! - `script`: an input as a sequence of choices; `log_edits`, `text_edits`, `file_edits`: what it can choose
//! - `mutate`, `random`: changing inputs; `corpus`: the inputs that are kept in the repository
//! - `watch`: inputs that do not end; `allocation`: inputs that take all memory
//!
//! A finding panics, and its input stays in the corpus as `crash-….bin`, so that it is tried again until it is mended.

mod allocation;
mod corpus;
mod directories;
mod directory_script;
mod editable;
mod features;
mod file_edits;
mod grammar;
mod legacy_lines;
mod log_edits;
mod mutate;
mod random;
mod records;
mod run;
mod script;
mod snapshot_lines;
mod stores;
mod target;
mod text_edits;
mod watch;

pub use allocation::{Counting, is_counted};
pub use run::{Budget, Report, replay, replay_input, run, run_and_store, run_for};
pub use target::Target;
