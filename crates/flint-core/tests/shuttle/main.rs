//! The engine under every kind of schedule: each lock, atomic, condition variable and thread of the crate, and each operation
//! of the simulated disk, is a point at which another thread may go on. Needs the feature `shuttle`.

mod batch;
mod closing;
mod compaction;
mod durable_checks;
mod explore;
mod spares;
mod support;
mod wakers;
