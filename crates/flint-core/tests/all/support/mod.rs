//! What the scenarios share.

pub(crate) mod engine;
pub(crate) mod eventually;
pub(crate) mod evidence;
pub(crate) mod gated_disk;
pub(crate) mod recovery;
pub(crate) mod scratch;
pub(crate) mod seeded;
