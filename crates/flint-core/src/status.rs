//! One key as `status`, `list` and `top` show it. Plain data; its times are wall-clock times.

use crate::image::Origin;
use crate::limit::Rate;

/// One key as `status`, `list` and `top` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The key.
    pub key: String,
    /// Its rates.
    pub rates: Vec<Rate>,
    /// Index of the most restrictive rate: fewest remaining, ties to the first.
    pub binding: usize,
    /// Where the limit came from.
    pub origin: Origin,
    /// A limit of an old release that is outside today's bounds: checks raise InvalidLimit until it is redefined.
    pub out_of_bounds: bool,
    /// What is left.
    pub remaining: u64,
    /// Nanoseconds until a check of cost 1 would be allowed; 0 when it would be now.
    pub retry_after_ns: u64,
    /// When the full limit is back, nanoseconds since the Unix epoch.
    pub reset_at_wall_ns: u64,
    /// Allowed checks.
    pub total_allowed: u64,
    /// Denied checks.
    pub total_denied: u64,
    /// Cost of allowed checks.
    pub total_allowed_cost: u64,
    /// Cost of denied checks.
    pub total_denied_cost: u64,
    /// Wall-clock nanoseconds.
    pub last_allowed_at_ns: Option<u64>,
    /// Wall-clock nanoseconds.
    pub last_denied_at_ns: Option<u64>,
    /// Wall-clock nanoseconds.
    pub last_reset_at_ns: Option<u64>,
}

/// What `top` sorts by, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopBy {
    /// Number of allowed checks.
    Allowed,
    /// Number of denied checks.
    Denied,
    /// Cost of allowed checks.
    AllowedCost,
    /// Cost of denied checks.
    DeniedCost,
}

impl Status {
    /// The total that `top` sorts by.
    pub(crate) const fn total(&self, by: TopBy) -> u64 {
        match by {
            TopBy::Allowed => self.total_allowed,
            TopBy::Denied => self.total_denied,
            TopBy::AllowedCost => self.total_allowed_cost,
            TopBy::DeniedCost => self.total_denied_cost,
        }
    }
}
