//! Real processes that die at exact points, and what the next process finds.
//!
//! In order of layers: `report`, `workload`, `process`, `points`, `session`, `expected`, `recovered`, `run`, `random_points`.
//!
//! A worker process executes a workload (`workload`) in a real directory and reports each call that returned. It dies at a store
//! into the mapping or at a system call (`process`). Then the store has to be sound, to hold what was reported and at most the
//! call that was under way, and to continue as if nothing had happened (`recovered`). Some die a second time while they recover.
//! The page cache outlives a process, so that this holds in both sync modes.

mod expected;
mod points;
pub mod process;
mod random_points;
mod recovered;
mod report;
pub mod run;
pub mod session;
pub mod workload;

pub use random_points::run;
pub use report::Report;
