//! The real disk and the simulated one. Forks are in a program of their own (`tests/fork.rs`).

mod disk;
mod sim;
