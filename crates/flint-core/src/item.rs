//! What a caller passes to the calls that decide.

use crate::limit::Limit;

/// One key's part in a check.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// The key.
    pub key: &'a str,
    /// Tokens to take, at least 1.
    pub cost: u64,
    /// A limit given with the call; an explicitly configured one takes precedence.
    pub limit: Option<&'a Limit>,
}

/// What happens to consumption when a key's limit changes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// Unchanged rates keep their state, new ones start with what was used.
    #[default]
    Keep,
    /// Every rate starts afresh.
    Reset,
}
