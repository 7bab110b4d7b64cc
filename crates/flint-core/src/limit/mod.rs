//! Limits: validated once here, trusted everywhere else.

mod grammar;
mod key;
mod period;
mod rate;
mod rates;

pub use crate::algorithm::Algorithm;
pub use grammar::{parse_limit, parse_period_ms};
pub use key::{Key, MAX_KEY_BYTES, MAX_OLD_KEY_BYTES};
pub use rate::{Rate, RateVerdict};
pub(crate) use rates::same_rates;
pub use rates::{Limit, MAX_RATES};
