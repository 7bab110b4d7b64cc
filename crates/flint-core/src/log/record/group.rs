//! Kind Group: several operations under one checksum, applied together or not at all.

use super::allow::{self, AllowOp};
use super::body::{PADDING, push_words};
use super::configure::{self, ConfigureRef};
use super::idempotency::{self, IdempotencyOp};
use super::totals::{self, TotalsOp};
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
    /// One limit set, in the place of several counters.
    Limit = 5,
    /// A key with several counters reset.
    Reset = 6,
    /// A key with several counters deleted.
    Delete = 7,
}

impl Purpose {
    const ALL: [Self; 7] =
        [Self::LimitMany, Self::CheckAll, Self::CheckWithLimit, Self::Check, Self::Limit, Self::Reset, Self::Delete];

    /// Whether a group of this purpose may hold the operation.
    const fn holds(self, op: &GroupOp<'_>) -> bool {
        match self {
            Self::LimitMany | Self::Limit => {
                matches!(op, GroupOp::Configure(_) | GroupOp::Totals(_) | GroupOp::Delete { .. })
            }
            Self::CheckAll | Self::CheckWithLimit | Self::Check => {
                matches!(op, GroupOp::Allow(_) | GroupOp::Configure(_) | GroupOp::Idempotency(_))
            }
            Self::Reset => matches!(op, GroupOp::Reset { .. }),
            Self::Delete => matches!(op, GroupOp::Delete { .. }),
        }
    }
}

/// An operation that can be grouped.
#[derive(Debug, Clone, Copy)]
pub enum GroupOp<'a> {
    /// A check was allowed.
    Allow(AllowOp<'a>),
    /// A limit was set or changed.
    Configure(ConfigureRef<'a>),
    /// A counter was reset.
    Reset {
        /// Its id.
        id: u64,
    },
    /// A counter was removed.
    Delete {
        /// Its id.
        id: u64,
    },
    /// The totals of a counter, after those of removed ones were added.
    Totals(TotalsOp),
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

    /// How many events of keys' histories it holds.
    pub fn events(&self) -> u64 {
        match self.purpose {
            Purpose::CheckAll | Purpose::CheckWithLimit | Purpose::Check => {
                u64::from(self.count) - u64::from(self.has_idempotency)
            }
            Purpose::LimitMany | Purpose::Limit => {
                self.ops().filter(|op| matches!(op, GroupOp::Configure(_))).count() as u64
            }
            Purpose::Reset | Purpose::Delete => u64::from(self.count.min(1)),
        }
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
    let purpose = cursor.u32()?;
    let known = Purpose::ALL.into_iter().find(|known| *known as u32 == purpose);
    let purpose = known.ok_or("its purpose is unknown")?;
    let ops = cursor.rest();
    let mut cursor = Cursor::new(ops);
    let mut found = 0;
    let mut has_idempotency = false;
    while !cursor.is_empty() {
        if has_idempotency {
            return Err("something follows its idempotency record");
        }
        let op = decode_op(&mut cursor)?;
        if let GroupOp::Idempotency(record) = op {
            has_idempotency = true;
            if !purpose.holds(&op) || is_multi(record.answer) != (purpose == Purpose::CheckAll) {
                return Err("its idempotency record is of another call");
            }
        }
        if !purpose.holds(&op) {
            return Err("it holds an operation that is none of its purpose");
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
        Some(Kind::Reset) => only_id(body).map(|id| GroupOp::Reset { id }),
        Some(Kind::Delete) => only_id(body).map(|id| GroupOp::Delete { id }),
        Some(Kind::Totals) => totals::decode(body).map(GroupOp::Totals),
        Some(Kind::Idempotency) => idempotency::decode(body).map(GroupOp::Idempotency),
        _ => Err("it groups an operation that cannot be grouped"),
    }
}

fn only_id(body: &[u8]) -> Result<u64, Malformed> {
    let mut cursor = Cursor::new(body);
    let id = cursor.u64()?;
    cursor.end()?;
    Ok(id)
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

    /// Appends one operation, whose body `push` appends with the function that belongs to `kind`. Idempotency comes last.
    ///
    /// # Panics
    /// If `push` appends more than a record may hold.
    #[inline]
    pub fn op(&mut self, buf: &mut Vec<u8>, kind: Kind, push: impl FnOnce(&mut Vec<u8>)) {
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
