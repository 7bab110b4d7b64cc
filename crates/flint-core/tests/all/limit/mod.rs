//! What a limit may be, and how it is written.

mod grammar;
mod rate;
