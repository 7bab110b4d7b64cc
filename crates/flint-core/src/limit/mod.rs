//! Limits: validated once here, trusted everywhere else.

mod grammar;
mod key;
mod rate;

pub use grammar::{parse_limit, parse_period_ms};
pub use key::{Key, MAX_KEY_BYTES};
pub use rate::{Algorithm, Limit, MAX_RATES, Rate};
