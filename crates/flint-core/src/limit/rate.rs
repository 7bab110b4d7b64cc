//! One rate, and the limit that one to eight of them make.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::grammar::{quoted, write_period};
use crate::{Error, Result};

/// Most rates in one limit.
pub const MAX_RATES: usize = 8;

/// Longest period: ten years of 365 days, milliseconds.
const MAX_PER_MS: u64 = 10 * YEAR_MS;
/// Longest time from empty to full: a hundred years of 365 days, milliseconds. In nanoseconds it fits in 63 bits, and so
/// does every duration that a decision reports.
const MAX_FILL_MS: u64 = 100 * YEAR_MS;
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;
/// Most runs that a sliding log may come to hold: at most one a millisecond, and at most one a token.
const MAX_LOG_RUNS: u64 = 1_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// How a rate counts. The discriminants are part of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Algorithm {
    /// Tokens come back continuously, up to a burst.
    TokenBucket = 0,
    /// At most `limit` in any period, whenever it starts.
    SlidingWindowLog = 1,
    /// At most `limit` in a window that starts at the first consumption.
    FixedWindowCounter = 2,
}

impl Algorithm {
    /// Every algorithm, in order of its code.
    pub const ALL: [Self; 3] = [Self::TokenBucket, Self::SlidingWindowLog, Self::FixedWindowCounter];

    /// The name that users write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenBucket => "token_bucket",
            Self::SlidingWindowLog => "sliding_window_log",
            Self::FixedWindowCounter => "fixed_window_counter",
        }
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// `InvalidLimit` for any other text; the message lists the names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::InvalidLimit(format!("unknown algorithm {}; use one of {names}", quoted(name)))
        })
    }

    /// The algorithm whose discriminant is `code`, as read from a file.
    #[inline]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::TokenBucket),
            1 => Some(Self::SlidingWindowLog),
            2 => Some(Self::FixedWindowCounter),
            _ => None,
        }
    }
}

/// `limit` tokens per period, with an algorithm and, for the token bucket, a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    limit: u64,
    per_ms: u64,
    /// Equal to `limit` for the window algorithms.
    burst: u64,
    algorithm: Algorithm,
}

impl Rate {
    /// A rate within the bounds that make every later calculation safe. Without `burst` it is `limit`.
    ///
    /// # Errors
    /// `InvalidLimit` when limit, period or burst is zero; when the period is over ten years; when filling an empty bucket
    /// (burst x period / limit) would take over a hundred years; when a sliding log could grow to over a million entries
    /// (the smaller of limit and period in milliseconds); when a window algorithm is given a burst other than its limit.
    pub fn new(limit: u64, per_ms: u64, burst: Option<u64>, algorithm: Algorithm) -> Result<Self> {
        let rate = Self { limit, per_ms, burst: burst.unwrap_or(limit), algorithm };
        match rate.problem() {
            None => Ok(rate),
            Some(problem) => Err(Error::InvalidLimit(problem)),
        }
    }

    /// A rate as an old release or a log record has it, without any check: a store whose limits are beyond today's bounds
    /// still has to open and be readable. Nothing panics on such a rate, but its figures may be saturated; ask
    /// [`Rate::is_valid`] before deciding a check by it.
    #[inline]
    pub const fn unchecked(limit: u64, per_ms: u64, burst: u64, algorithm: Algorithm) -> Self {
        Self { limit, per_ms, burst, algorithm }
    }

    /// Whether [`Rate::new`] would accept it.
    pub fn is_valid(&self) -> bool {
        self.problem().is_none()
    }

    /// Tokens per period.
    #[inline]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// The period, milliseconds.
    #[inline]
    pub const fn per_ms(&self) -> u64 {
        self.per_ms
    }

    /// The period, nanoseconds; saturated for a rate that is not valid.
    #[inline]
    pub const fn per_ns(&self) -> u64 {
        self.per_ms.saturating_mul(NS_PER_MS)
    }

    /// Tokens that a full bucket holds; the limit for the window algorithms.
    #[inline]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// How the rate counts.
    #[inline]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The most that can be consumed at once, and so the highest cost that can ever succeed.
    #[inline]
    pub const fn capacity(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket => self.burst,
            Algorithm::SlidingWindowLog | Algorithm::FixedWindowCounter => self.limit,
        }
    }

    fn problem(&self) -> Option<String> {
        let Self { limit, per_ms, burst, algorithm } = *self;
        if limit == 0 {
            return Some("the rate is 0; it must be at least 1".to_owned());
        }
        if per_ms == 0 {
            return Some("the period is 0; it must be at least 1 ms".to_owned());
        }
        if per_ms > MAX_PER_MS {
            return Some(format!(
                "the period is {per_ms} ms; it must be at most {MAX_PER_MS} ms (ten years of 365 days)"
            ));
        }
        if burst == 0 {
            return Some("the burst is 0; it must be at least 1".to_owned());
        }
        if algorithm != Algorithm::TokenBucket && burst != limit {
            let name = algorithm.name();
            return Some(format!(
                "{name} takes no burst other than its rate of {limit}, and {burst} was given; leave burst out or use token_bucket"
            ));
        }
        if u128::from(burst) * u128::from(per_ms) > u128::from(limit) * u128::from(MAX_FILL_MS) {
            return Some(format!(
                "a burst of {burst} would take over 100 years to come back at {limit} per {per_ms} ms; lower the burst, \
                 shorten the period or raise the rate until burst x period / rate is at most 100 years of 365 days"
            ));
        }
        if algorithm == Algorithm::SlidingWindowLog && limit.min(per_ms) > MAX_LOG_RUNS {
            return Some(format!(
                "sliding_window_log would keep up to {} entries for {limit} per {per_ms} ms; the rate or the period in \
                 milliseconds must be at most {MAX_LOG_RUNS}; use fixed_window_counter or token_bucket for more",
                limit.min(per_ms)
            ));
        }
        None
    }
}

/// The canonical grammar, which parses back to an equal rate; it leaves the algorithm out.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.limit)?;
        write_period(f, self.per_ms)?;
        if self.burst != self.limit {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

/// One to [`MAX_RATES`] rates that are taken together or not at all.
#[derive(Clone, Copy)]
pub struct Limit {
    /// The first `len` count; the others repeat the first.
    rates: [Rate; MAX_RATES],
    len: u8,
}

impl Limit {
    /// The limit of these rates, in this order.
    ///
    /// # Errors
    /// `InvalidLimit` for no rate, for more than [`MAX_RATES`], and for a rate that [`Rate::new`] would not accept.
    pub fn new(rates: &[Rate]) -> Result<Self> {
        let count = rates.len();
        let (Some(&first), Some(len)) = (rates.first(), u8::try_from(count).ok().filter(|_| count <= MAX_RATES)) else {
            return Err(Error::InvalidLimit(format!("{count} rates were given; a limit has 1 to {MAX_RATES}")));
        };
        if let Some(problem) = rates.iter().find_map(Rate::problem) {
            return Err(Error::InvalidLimit(problem));
        }
        let mut all = [first; MAX_RATES];
        all[..count].copy_from_slice(rates);
        Ok(Self { rates: all, len })
    }

    /// The limit of one rate, which is valid.
    #[inline]
    pub const fn single(rate: Rate) -> Self {
        Self { rates: [rate; MAX_RATES], len: 1 }
    }

    /// The rates, in the order given.
    #[inline]
    pub fn rates(&self) -> &[Rate] {
        &self.rates[..usize::from(self.len)]
    }

    /// The highest cost that can ever succeed: the smallest capacity.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.rates().iter().fold(u64::MAX, |least, rate| least.min(rate.capacity()))
    }

    /// Accepts a cost from 1 to the capacity.
    ///
    /// # Errors
    /// `InvalidCost` for any other: it could never succeed.
    #[inline]
    pub fn check_cost(&self, cost: u64) -> Result<()> {
        let capacity = self.capacity();
        if (1..=capacity).contains(&cost) { Ok(()) } else { Err(refused_cost(cost, capacity)) }
    }
}

#[cold]
fn refused_cost(cost: u64, capacity: u64) -> Error {
    Error::InvalidCost(format!(
        "{cost} could never succeed; this limit takes a cost from 1 to its capacity of {capacity}"
    ))
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        self.rates() == other.rates()
    }
}

impl Eq for Limit {}

impl Hash for Limit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rates().hash(state);
    }
}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limit").field(&self.rates()).finish()
    }
}

/// The canonical grammar, as `100/minute; 1000/day burst 2000`; it leaves the algorithm out.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, rate) in self.rates().iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            rate.fmt(f)?;
        }
        Ok(())
    }
}
