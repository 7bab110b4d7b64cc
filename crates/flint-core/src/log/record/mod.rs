//! What a record's body holds: one file per kind, with its plain data, its encoding and its decoding. Every body is a multiple
//! of eight bytes long.
//!
//! This file names the kinds, decodes any of them, has those whose body is a word or two, and knows which events of a key's
//! history each holds.

mod allow;
mod body;
mod configure;
mod denials;
mod event;
mod group;
mod idempotency;
mod totals;

pub use crate::log::cursor::Malformed;
pub use allow::{AllowOp, push_allow, push_allow_one};
pub use configure::{Changes, ConfigureOp, ConfigureRef, push_configure};
pub use denials::{Denial, Denials, push_denials};
pub use event::{EVENT_KINDS, EventOp, push_event};
pub use group::{GroupOp, GroupOps, GroupRef, GroupWriter, Purpose};
pub use idempotency::{IdempotencyOp, push_idempotency};
pub use totals::{TOTALS_LEN, TotalsOp, push_totals};

use crate::image::EventKind;
use crate::log::cursor::Cursor;
use crate::log::frame::Kind;
use body::push_words;

/// One operation of the log. The borrowed forms point into the record's bytes and were checked by [`decode`].
#[derive(Debug, Clone, Copy)]
pub enum Op<'a> {
    /// A check was allowed.
    Allow(AllowOp<'a>),
    /// A limit was set or changed.
    Configure(ConfigureRef<'a>),
    /// A counter got its full limit back.
    Reset {
        /// The counter's id.
        id: u64,
    },
    /// A counter was removed.
    Delete {
        /// The counter's id.
        id: u64,
    },
    /// Denial totals of some keys.
    Denials(Denials<'a>),
    /// Operations that belong together.
    Group(GroupRef<'a>),
    /// The wall time at the record's engine time.
    Anchor {
        /// Nanoseconds since the Unix epoch.
        wall_ns: u64,
    },
    /// A snapshot was published.
    SnapshotMark {
        /// Sequence number from which the log must be replayed over it.
        start: u64,
        /// Sequence number that the log must reach for it to be complete.
        end: u64,
    },
    /// The writer closed.
    Close,
    /// History carried over from an old release; changes no state.
    Event(EventOp<'a>),
}

/// Reads the body of a record of this kind, without the engine time. Any bytes may come in.
///
/// # Errors
/// What does not make sense, to be reported as corruption: the checksum was right, so that nothing less than a faulty
/// writer can explain it.
#[inline]
pub fn decode(kind: Kind, body: &[u8]) -> Result<Op<'_>, Malformed> {
    match kind {
        Kind::Allow => allow::decode(body).map(Op::Allow),
        Kind::Group => group::decode(body).map(Op::Group),
        _ => decode_rare(kind, body),
    }
}

#[inline(never)]
fn decode_rare(kind: Kind, body: &[u8]) -> Result<Op<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let op = match kind {
        Kind::Allow | Kind::Group => return decode(kind, body),
        Kind::Configure => return configure::decode(body).map(Op::Configure),
        Kind::Event => return event::decode(body).map(Op::Event),
        Kind::Denials => return denials::decode(body).map(Op::Denials),
        Kind::Reset => Op::Reset { id: cursor.u64()? },
        Kind::Delete => Op::Delete { id: cursor.u64()? },
        Kind::Anchor => Op::Anchor { wall_ns: cursor.u64()? },
        Kind::SnapshotMark => {
            let (start, end) = (cursor.u64()?, cursor.u64()?);
            if start > end {
                return Err("its snapshot starts after its end");
            }
            Op::SnapshotMark { start, end }
        }
        Kind::Close => Op::Close,
        Kind::Idempotency => return Err("an idempotency record is not in a group"),
        Kind::Totals => return Err("the totals of a counter are not in a group"),
    };
    cursor.end()?;
    Ok(op)
}

/// One event of a key's history.
#[derive(Debug, Clone)]
pub struct RecordEvent<'a> {
    /// What happened.
    pub kind: EventKind,
    /// The id of the counter; 0 for an event of an old release, which has none. Of several counters, the first.
    pub id: u64,
    /// The key, where the record names it.
    pub key: Option<&'a str>,
    /// Engine time.
    pub at_ns: u64,
    /// Cost; the sum for aggregated denials, 0 where there is none.
    pub cost: u64,
    /// Number of checks that it represents.
    pub count: u64,
    /// The after-images of an allowed check.
    pub images: &'a [u8],
    /// The rates of a limit that was set.
    pub rates: Option<Changes<'a>>,
}

impl Op<'_> {
    /// How many events of keys' histories a record with this operation holds.
    pub fn events(&self) -> u64 {
        match self {
            Self::Denials(denials) => denials.len() as u64,
            Self::Group(group) => group.events(),
            Self::Anchor { .. } | Self::SnapshotMark { .. } | Self::Close => 0,
            Self::Allow(_) | Self::Configure(_) | Self::Reset { .. } | Self::Delete { .. } | Self::Event(_) => 1,
        }
    }

    /// Calls `each` with every event of a record with this operation and this engine time.
    pub fn each_event(&self, now_ns: u64, each: &mut dyn FnMut(&RecordEvent<'_>)) {
        let event =
            |kind, id| RecordEvent { kind, id, key: None, at_ns: now_ns, cost: 0, count: 1, images: &[], rates: None };
        match *self {
            Self::Allow(op) => {
                each(&RecordEvent { cost: op.cost, images: op.images, ..event(EventKind::Allow, op.id) })
            }
            Self::Configure(op) => {
                let (key, rates) = (Some(op.key), Some(op.rates()));
                each(&RecordEvent { key, rates, ..event(EventKind::LimitConfigured, op.id) });
            }
            Self::Reset { id } => each(&event(EventKind::Reset, id)),
            Self::Delete { id } => each(&event(EventKind::LimitDeleted, id)),
            // Denials are written a while after they happened.
            Self::Denials(denials) => denials.for_each(|denial| {
                let (at_ns, cost, count) = (denial.last_denied_ns, denial.delta_cost, denial.delta);
                each(&RecordEvent { at_ns, cost, count, ..event(EventKind::Deny, denial.id) });
            }),
            Self::Group(group) => {
                let allow = if group.purpose == Purpose::CheckAll { EventKind::AllowAll } else { EventKind::Allow };
                for op in group.ops() {
                    match op {
                        GroupOp::Allow(op) => {
                            each(&RecordEvent { cost: op.cost, images: op.images, ..event(allow, op.id) });
                        }
                        GroupOp::Configure(op) => Self::Configure(op).each_event(now_ns, each),
                        // What happens to all counters of a key is one event.
                        GroupOp::Reset { id } => return Self::Reset { id }.each_event(now_ns, each),
                        GroupOp::Delete { id } if group.purpose == Purpose::Delete => {
                            return Self::Delete { id }.each_event(now_ns, each);
                        }
                        GroupOp::Delete { .. } | GroupOp::Totals(_) | GroupOp::Idempotency(_) => {}
                    }
                }
            }
            Self::Event(old) => {
                let (key, cost, count) = (Some(old.key), old.cost, old.count);
                each(&RecordEvent { key, cost, count, ..event(EventKind::ALL[usize::from(old.kind)], 0) });
            }
            Self::Anchor { .. } | Self::SnapshotMark { .. } | Self::Close => {}
        }
    }
}

/// Appends a reset.
pub fn push_reset(buf: &mut Vec<u8>, id: u64) {
    push_words(buf, [id]);
}

/// Appends a deletion.
pub fn push_delete(buf: &mut Vec<u8>, id: u64) {
    push_words(buf, [id]);
}

/// Appends an anchor: the wall time, in nanoseconds since the Unix epoch, at the record's engine time.
pub fn push_anchor(buf: &mut Vec<u8>, wall_ns: u64) {
    push_words(buf, [wall_ns]);
}

/// Appends the mark of a published snapshot.
pub fn push_snapshot_mark(buf: &mut Vec<u8>, start: u64, end: u64) {
    push_words(buf, [start, end]);
}
