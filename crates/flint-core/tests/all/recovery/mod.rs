//! What an engine finds when it opens a directory after a crash, damage, or an older release. Sweeps over every crash state are in
//! `flint-torture`.

mod corrupt;
mod counters;
mod forged;
mod io_errors;
mod migration;
mod power_cut;
mod repair;
mod time;
mod torn_tail;
