//! Kind Group: several operations under one checksum, applied together or not at all.

use super::allow::{self, AllowOp};
use super::body::{PADDING, push_words};
use super::configure::{self, ConfigureRef};
use super::idempotency::{self, IdempotencyOp};
use crate::idempotency::is_multi;
use crate::log::cursor::{Cursor, Malformed};
use crate::log::frame::{Kind, WORD};

/// Which call a group is of.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Several limits set at once.
    LimitMany = 1,
    /// A check of several keys.
    CheckAll = 2,
    /// A check that brought its limit.
    CheckWithLimit = 3,
    /// A check of one key, which is a group because it may be repeated.
    Check = 4,
}

/// An operation that can be grouped.
#[derive(Debug, Clone, Copy)]
pub enum GroupOp<'a> {
    /// A check was allowed.
    Allow(AllowOp<'a>),
    /// A limit was set or changed.
    Configure(ConfigureRef<'a>),
    /// The answer of the call; at most one, at the end.
    Idempotency(IdempotencyOp<'a>),
}

/// The operations of a group.
#[derive(Debug, Clone, Copy)]
pub struct GroupRef<'a> {
    /// Which call the group is of.
    pub purpose: Purpose,
    /// Number of operations.
    pub count: u32,
    /// Whether the last one is an idempotency record.
    pub has_idempotency: bool,
    ops: &'a [u8],
}

impl<'a> GroupRef<'a> {
    /// The operations in order.
    pub fn ops(&self) -> GroupOps<'a> {
        GroupOps(Cursor::new(self.ops))
    }
}

/// The operations of a [`GroupRef`].
#[derive(Debug, Clone)]
pub struct GroupOps<'a>(Cursor<'a>);

impl<'a> Iterator for GroupOps<'a> {
    type Item = GroupOp<'a>;

    fn next(&mut self) -> Option<GroupOp<'a>> {
        if self.0.is_empty() {
            return None;
        }
        // `decode` has read every operation once: the error cannot happen.
        decode_op(&mut self.0).ok()
    }
}

pub(super) fn decode(body: &[u8]) -> Result<GroupRef<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let count = cursor.u32()?;
    let purpose = match cursor.u32()? {
        1 => Purpose::LimitMany,
        2 => Purpose::CheckAll,
        3 => Purpose::CheckWithLimit,
        4 => Purpose::Check,
        _ => return Err("its purpose is unknown"),
    };
    let ops = cursor.rest();
    let mut cursor = Cursor::new(ops);
    let mut found = 0;
    let mut has_idempotency = false;
    while !cursor.is_empty() {
        if has_idempotency {
            return Err("something follows its idempotency record");
        }
        if let GroupOp::Idempotency(record) = decode_op(&mut cursor)? {
            has_idempotency = true;
            if purpose == Purpose::LimitMany || is_multi(record.answer) != (purpose == Purpose::CheckAll) {
                return Err("its idempotency record is of another call");
            }
        }
        found += 1;
    }
    if found != count {
        return Err("its count does not fit its operations");
    }
    Ok(GroupRef { purpose, count, has_idempotency, ops })
}

#[inline]
fn decode_op<'a>(cursor: &mut Cursor<'a>) -> Result<GroupOp<'a>, Malformed> {
    let kind_and_words = cursor.u32()?;
    if cursor.u32()? != 0 {
        return Err(PADDING);
    }
    let body = cursor.bytes((kind_and_words >> 8) as usize * WORD)?;
    let [code, ..] = kind_and_words.to_le_bytes();
    match Kind::from_code(code) {
        Some(Kind::Allow) => allow::decode(body).map(GroupOp::Allow),
        Some(Kind::Configure) => configure::decode(body).map(GroupOp::Configure),
        Some(Kind::Idempotency) => idempotency::decode(body).map(GroupOp::Idempotency),
        _ => Err("it groups an operation that cannot be grouped"),
    }
}

/// Writes a group: several operations under one checksum.
#[derive(Debug)]
#[must_use = "a group is unreadable until it is finished"]
pub struct GroupWriter {
    /// Where the group's head is in the buffer.
    at: usize,
    purpose: Purpose,
    count: u32,
}

impl GroupWriter {
    /// Appends the head of a group.
    pub fn begin(buf: &mut Vec<u8>, purpose: Purpose) -> Self {
        let at = buf.len();
        push_words(buf, [0]);
        Self { at, purpose, count: 0 }
    }

    /// Appends one operation, whose body `push` appends with the function that belongs to `kind`: Allow or
    /// Configure, or at last Idempotency.
    ///
    /// # Panics
    /// If `push` appends more than a record may hold.
    #[inline]
    pub fn op(&mut self, buf: &mut Vec<u8>, kind: Kind, push: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(matches!(kind, Kind::Allow | Kind::Configure | Kind::Idempotency), "{kind:?} in a group");
        let at = buf.len();
        push_words(buf, [0]);
        push(buf);
        let words = (buf.len() - at - WORD) / WORD;
        let words = u32::try_from(words).ok().filter(|&words| words < 1 << 24).expect("a body fits a record");
        buf[at..at + 4].copy_from_slice(&(u32::from(kind.code()) | words << 8).to_le_bytes());
        self.count += 1;
    }

    /// Number of operations so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Fills in the group's head.
    pub fn finish(self, buf: &mut [u8]) {
        let head = u64::from(self.count) | u64::from(self.purpose as u32) << 32;
        buf[self.at..self.at + WORD].copy_from_slice(&head.to_le_bytes());
    }
}
