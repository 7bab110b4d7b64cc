//! One open store: what its lock protects ([`core`]), what can be said without writing ([`view`]), and what its threads
//! share
//! ([`shared`], [`wakers`]).

pub(crate) mod core;
mod once;
pub(crate) mod shared;
pub(crate) mod types;
pub(crate) mod view;
pub(crate) mod wakers;
