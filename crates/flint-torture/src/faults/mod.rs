//! A scenario on a disk that fails at one operation, or from one operation on.
//!
//! What fails for lack of room, memory or descriptors changes nothing, does not stop the engine, and works when there is
//! some again. What fails otherwise may stop it: then every later call says so, no sync is tried again, and after opening
//! again nothing is missing that was acknowledged, nor after a power cut.
//!
//! `tally`: the faults, and counts; `run`: one scenario with one fault; `sweep`: every operation.

mod run;
mod sweep;
mod tally;

pub use sweep::sweep;
pub use tally::{FAULTS, Tally};
