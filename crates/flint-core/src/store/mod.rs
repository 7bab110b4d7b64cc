//! One open store: what its lock protects (`core`, `idempotent`), what can be read without writing (`view`, with `listings`), and
//! what its threads share (`shared`, with `bell`, `wakers` and `notices`).

pub(crate) mod bell;
pub(crate) mod core;
mod idempotent;
pub(crate) mod listings;
pub(crate) mod notices;
pub(crate) mod shared;
pub(crate) mod view;
pub(crate) mod wakers;
