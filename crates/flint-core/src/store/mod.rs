//! One open store: what its lock protects (`core`, `configure` with `slices`, `idempotent`, `settle`, `waiting` with its `queues`), what
//! can be read without writing (`view`, with `items` and `listings`), and what its threads share (`shared`, with `spares`, `bell`,
//! `wakers` and `notices`).

pub(crate) mod bell;
pub(crate) mod configure;
pub(crate) mod core;
pub(crate) mod dir_lock;
mod idempotent;
mod items;
pub(crate) mod listings;
pub(crate) mod notices;
pub(crate) mod queues;
pub(crate) mod settle;
pub(crate) mod shared;
pub(crate) mod slices;
mod spares;
pub(crate) mod view;
pub(crate) mod waiting;
pub(crate) mod wakers;
