//! What the proofs on the simulated disk share. In order of layers: `store` opens stores, `state` compares them, `continuation` is
//! what must hold of a recovered one.

mod continuation;
mod state;
mod store;

pub use continuation::{assert_continues, assert_repeatable};
pub use state::{Answered, State, state};
pub use store::{MODES, SECOND, SEGMENT_BYTES, START, clock_at, is_refusal, limit, open, options};
