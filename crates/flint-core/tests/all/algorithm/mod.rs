//! Each algorithm against a definition of its own.

mod fixed_window_counter;
mod sliding_window_log;
mod token_bucket;
