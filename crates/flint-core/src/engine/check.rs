//! Checks as methods.

use crate::error::Result;
use crate::item::Item;
use crate::limit::Limit;
use crate::outcome::{MultiOutcome, Outcome};

use super::{Check, CheckAll, CountDenial, Engine};

impl Engine {
    /// Executes [`Check::new`].
    ///
    /// # Errors
    /// As [`Check`] and [`Self::run`].
    pub fn check(&self, key: &str, cost: u64, limit: Option<&Limit>) -> Result<Outcome> {
        self.run(&Check::new(Item { key, cost, limit }))
    }

    /// Executes [`CheckAll`].
    ///
    /// # Errors
    /// As [`CheckAll`] and [`Self::run`].
    pub fn check_all(&self, items: &[Item<'_>]) -> Result<MultiOutcome> {
        self.run(&CheckAll { items })
    }

    /// Executes [`CountDenial`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn count_denial(&self, key: &str, cost: u64, limit: Option<&Limit>) -> Result<()> {
        self.run(&CountDenial { key, cost, limit })
    }

    /// The result that `check` would have now. Consumes and counts nothing.
    ///
    /// # Errors
    /// `InvalidKey`, `InvalidCost`, `InvalidLimit`, `LimitNotFound`, `Stopped`, `Closed`, `Forked`.
    pub fn peek(&self, key: &str, cost: u64, limit: Option<&Limit>) -> Result<Outcome> {
        self.with_view(|view| view.peek(&Item { key, cost, limit }))?
    }

    /// Nanoseconds until the last of `costs` would have been allowed if they were taken in this order, each as soon as it
    /// fits, and nothing else happened; `u64::MAX` if one never fits. Changes and counts nothing.
    ///
    /// # Errors
    /// `LimitNotFound`, `Stopped`, `Closed`, `Forked`.
    pub fn forecast(&self, key: &str, limit: Option<&Limit>, costs: &[u64]) -> Result<u64> {
        self.with_view(|view| view.forecast(key, limit, costs))?
    }
}
