//! The operating system's files: `dir` (directories and files), `durable` (syncing them), `ownership` (whose are trusted, and the owner of new ones), `lock`,
//! `map` (the only `unsafe` for mapping), `blocks` (whether a file may be mapped; the only `unsafe` for ioctl), `filesystem` (which
//! ones are refused), `holder` (the process that holds a lock), `new_dir` (a directory that is made for a copy).

mod blocks;
mod dir;
mod durable;
mod filesystem;
pub(crate) mod holder;
mod lock;
mod map;
mod new_dir;
mod ownership;

pub use dir::DiskDir;
pub use filesystem::reject_unsupported_fs;
pub(crate) use new_dir::{NewDir, Staged};
