//! The codec of the log: pure functions between bytes and values. `docs/storage-format.md` draws the bytes.
//!
//! A segment is a file: [`segment::SegmentHeader`], records back to back, zeros, [`segment::Seal`]. A record is a frame
//! ([`frame`]: length, sequence number, checksum chain) around one operation ([`record::Op`]). [`reader::Walker`] goes
//! through a segment record by record; [`reader::find_proof`] distinguishes damage from a torn tail.

mod cursor;
pub mod frame;
pub mod reader;
pub mod record;
pub mod segment;
