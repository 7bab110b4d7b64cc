//! The operating system's files: `dir` (directories and files), `lock`, `map` (the only `unsafe` for mapping), `filesystem` (which
//! ones are refused), `holder` (the process that holds a lock), `new_dir` (a directory that is made for a copy).

mod dir;
mod filesystem;
pub(crate) mod holder;
mod lock;
mod map;
mod new_dir;

pub use dir::DiskDir;
pub use filesystem::reject_unsupported_fs;
pub(crate) use new_dir::{NewDir, Staged};
