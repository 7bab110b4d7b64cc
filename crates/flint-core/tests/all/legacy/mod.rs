//! Reading the data directories of releases 0.1 and 0.2.

mod damage;
mod rules;
mod samples;
mod support;
