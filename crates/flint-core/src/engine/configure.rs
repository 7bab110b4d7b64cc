//! Changes of limits as methods.

use crate::error::Result;
use crate::item::OnChange;
use crate::limit::Limit;

use super::{Delete, Engine, Reset, SetLimit, SetLimits};

impl Engine {
    /// Executes [`SetLimit`].
    ///
    /// # Errors
    /// As [`SetLimit`] and [`Self::run`].
    pub fn limit(&self, key: &str, limit: &Limit, on_change: OnChange) -> Result<()> {
        self.run(&SetLimit { key, limit, on_change }).map(drop)
    }

    /// Executes [`SetLimits`].
    ///
    /// # Errors
    /// As [`SetLimits`] and [`Self::run`].
    pub fn limit_many(&self, specs: &[(&str, Limit, OnChange)]) -> Result<()> {
        let specs: Vec<_> = specs.iter().map(|(key, limit, on_change)| (*key, limit, *on_change)).collect();
        self.run(&SetLimits { specs: &specs }).map(drop)
    }

    /// Executes [`Reset`].
    ///
    /// # Errors
    /// As [`Reset`] and [`Self::run`].
    pub fn reset(&self, key: &str) -> Result<()> {
        self.run(&Reset { key }).map(drop)
    }

    /// Executes [`Delete`].
    ///
    /// # Errors
    /// As [`Delete`] and [`Self::run`].
    pub fn delete(&self, key: &str) -> Result<()> {
        self.run(&Delete { key }).map(drop)
    }
}
