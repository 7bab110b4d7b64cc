//! The reference and what drives it beside the engine.

pub(crate) mod driver;
pub(crate) mod reference;
