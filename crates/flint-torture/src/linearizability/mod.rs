//! Whether what concurrent callers saw can be explained by calls that ran one after the other.
//!
//! A [`recorder::Recorder`] notes when each call began and ended, in one order for all threads. The [`checker`] looks for an
//! order of the calls that respects this (a call that ended before another began comes first) and in which a sequential
//! [`limiter`], written down as naively as possible, gives every caller the answer that it got.

pub mod checker;
pub mod limiter;
pub mod recorder;
