//! A directory taken apart into fields that can be changed one by one, and put together again with every checksum right.
//!
//! In order of layers: `text`, `checksums`, `segment`, `directory`.

mod checksums;
mod directory;
mod segment;
mod text;

#[cfg(test)]
pub(super) use checksums::inner_state;
pub(super) use checksums::{fix_old_line, fix_snapshot, old_snapshot, sha256_hex};
pub(super) use directory::EditableDirectory;
pub(super) use segment::{Record, Seal, Segment};
pub(super) use text::{decimals_of, rfind, set_decimal};
