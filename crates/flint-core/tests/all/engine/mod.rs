//! The engine's calls, on a simulated disk or on a real directory.

mod acquire;
mod backup;
mod bad_input;
mod batch;
mod call_limits;
mod check;
mod check_all;
mod concurrency;
mod counters;
mod denials;
mod dump;
mod first_path;
mod forecast;
mod history;
mod idempotent;
mod independence;
mod listing;
mod memory;
mod model;
mod read_only;
mod redefinition;
mod slices;
mod waiting;
