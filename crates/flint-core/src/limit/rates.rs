//! A limit: one to eight rates.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::rate::Rate;
use crate::error::{Error, Result};

/// Most rates in one limit.
pub const MAX_RATES: usize = 8;

/// One to [`MAX_RATES`] rates that are taken together or not at all. Limits with the same rates are equal, in any order.
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
            return Err(Error::InvalidLimit(format!(
                "{count} rates were given; a limit has 1 to {MAX_RATES}, such as \"10/second; 1000/day\""
            )));
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

    /// The limit with a burst that stands beside its text.
    ///
    /// # Errors
    /// `InvalidLimit`, also where it has several rates, or names a burst of its own.
    pub fn with_burst(self, burst: u64) -> Result<Self> {
        match self.rates() {
            [rate] if rate.burst() == rate.limit() => {
                Rate::new(rate.limit(), rate.per_ms(), Some(burst), rate.algorithm()).map(Self::single)
            }
            _ => Err(Error::InvalidLimit(format!(
                "burst={burst} is ambiguous for '{self}'; write it in the text, as in '100/m burst 200'"
            ))),
        }
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
    let why = if cost == 0 { "takes nothing" } else { "is more than the limit ever holds, however long the wait" };
    Error::InvalidCost(format!(
        "{cost} {why}; accepted is a cost from 1 to the limit's capacity of {capacity}, such as 1"
    ))
}

/// Whether both have the same rates, in any order.
pub(crate) fn same_rates<'a>(
    a: impl Iterator<Item = &'a Rate> + Clone,
    b: impl Iterator<Item = &'a Rate> + Clone,
) -> bool {
    let count = |rates: &mut dyn Iterator<Item = &'a Rate>, rate: &Rate| rates.filter(|other| *other == rate).count();
    a.clone().count() == b.clone().count()
        && a.clone().all(|rate| count(&mut a.clone(), rate) == count(&mut b.clone(), rate))
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        same_rates(self.rates().iter(), other.rates().iter())
    }
}

impl Eq for Limit {}

impl Hash for Limit {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut rates = self.rates;
        let rates = &mut rates[..usize::from(self.len)];
        rates.sort_unstable_by_key(|rate| (rate.limit(), rate.per_ms(), rate.burst(), rate.algorithm().name()));
        rates.hash(state);
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::limit::{Algorithm, parse_limit};

    #[test]
    fn limits_are_equal_in_any_order_of_their_rates() {
        let limit = |text| parse_limit(text, Algorithm::TokenBucket).unwrap();
        let sliding = |text| parse_limit(text, Algorithm::SlidingWindowLog).unwrap();
        let limits = [
            limit("2/minute; 9/hour"),
            limit("2/minute"),
            limit("2/minute; 9/hour; 9/hour"),
            limit("2/minute; 2/minute; 9/hour"),
            limit("2/minute; 9/hour burst 10"),
            sliding("2/minute; 9/hour"),
        ];
        assert_eq!(limits.iter().collect::<HashSet<_>>().len(), limits.len());
        for limit in &limits {
            let backwards: Vec<Rate> = limit.rates().iter().rev().copied().collect();
            let other = Limit::new(&backwards).unwrap();
            assert_eq!(other.rates(), backwards);
            assert!(limits.iter().all(|each| (each == limit) == (*each == other)));
            assert_eq!(HashSet::from([*limit, other]).len(), 1);
        }
    }
}
