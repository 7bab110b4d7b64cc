//! The old log: one JSON object a line.
//!
//! ```text
//! {"ts":"...","event":{...}}                                          0.1
//! {"version":1,"ts":"...","event":{...},"checksum":"<64 digits>"}     0.2; SHA-256 of the line without ,"checksum":"..."
//! ```

use std::io;
use std::ops::Range;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::event::{Object, OldEvent, field, time};
use super::replay::Replay;
use super::{Problem, corrupt, hex_sha256, read_pieces};
use crate::storage::File;
use crate::storage::partial::{Lines, TextLine};

/// The longest line that is read. Old releases had no bound, and keys of a few bytes.
const MAX_LINE_BYTES: usize = 64 << 20;

/// What the log turned out to be.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) torn_tail: Option<u64>,
    pub(super) is_v0_2: bool,
    pub(super) sha256: [u8; 32],
}

/// Why a log cannot be replayed.
pub(super) enum Stop {
    /// The disk does not return it, or memory is short.
    Unreadable(io::Error),
    /// What is at this byte, where a line starts.
    Refused(u64, Problem),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Verifies every line of a log of `len` bytes and applies those from byte `replay_from` on; the ones before are part of the
/// snapshot already.
pub(super) fn replay(
    log: &dyn File,
    len: u64,
    replay_from: u64,
    has_snapshot: bool,
    replay: &mut Replay,
) -> Result<End, Stop> {
    // The snapshot's position has to be the start of a line: any other means that log and snapshot do not belong together.
    let mut before = [0];
    if replay_from > 0 && replay_from <= len {
        log.read_exact_at(&mut before, replay_from - 1)?;
    }
    if replay_from > 0 && before != *b"\n" {
        let detail = format!(
            "the snapshot includes the log up to byte {replay_from}, which is not the end of a line of this log of {len} bytes"
        );
        return Err(Stop::Refused(len, Problem::Corrupt(detail)));
    }
    let mut end = End::default();
    let mut number = 0u64;
    let mut each = |range: Range<u64>, line: TextLine<'_>| {
        // Lines that the snapshot includes are verified as well: damage anywhere stops the migration.
        number += 1;
        let offset = range.start;
        let refuse = |problem| Stop::Refused(offset, problem);
        let (parsed, first) = match line {
            TextLine::Whole(line) => {
                (serde_json::from_slice(line).map_err(|error| error.to_string()), line.first().copied())
            }
            TextLine::Skipped(first, reason) => (Err(reason.to_owned()), Some(first)),
        };
        let (object, line) = match (parsed, line) {
            (Ok(Value::Object(object)), TextLine::Whole(line)) => (object, line),
            // A write that a crash cut short is not a whole object yet. A log of nothing but text is not a log.
            _ if range.end >= len && (offset > 0 || has_snapshot || looks_cut(first)) => {
                end.torn_tail = Some(offset);
                return Ok(());
            }
            (Ok(_), _) => return Err(refuse(Problem::Corrupt(format!("line {number}: not a JSON object")))),
            (Err(error), _) => return Err(refuse(Problem::Corrupt(format!("line {number}: not JSON: {error}")))),
        };
        let apply = offset >= replay_from;
        let is_v0_2 = verify_and_apply(line, &object, apply, replay)
            .map_err(|problem| refuse(problem.within(format_args!("line {number}"))))?;
        end.is_v0_2 |= is_v0_2;
        Ok(())
    };
    // One pass over the file: the hash identifies the log that was migrated. The first refusal ends the pass.
    let mut lines = Lines::new(MAX_LINE_BYTES);
    let mut hash = Sha256::new();
    let mut refused = None;
    read_pieces(log, len, &mut |piece| {
        hash.update(piece);
        refused = lines.push(piece, &mut each).err();
        Ok(refused.is_none())
    })?;
    if let Some(refused) = refused {
        return Err(refused);
    }
    // The last line may be without a line feed.
    lines.finish(&mut each)?;
    end.sha256 = hash.finalize().into();
    Ok(end)
}

/// Whether this can be the beginning of the first line that was ever written, or space that was never filled.
fn looks_cut(first: Option<u8>) -> bool {
    matches!(first, Some(b'{' | 0))
}

/// Returns whether the line is one that 0.1 could not have written.
fn verify_and_apply(line: &[u8], object: &Object, apply: bool, replay: &mut Replay) -> Result<bool, Problem> {
    // A damaged field name must not turn the checksum off.
    if let Some(unknown) = object.keys().find(|key| !matches!(key.as_str(), "version" | "ts" | "event" | "checksum")) {
        return corrupt(format!("unknown field {unknown:?}"));
    }
    if let Some(checksum) = object.get("checksum") {
        verify(line, checksum)?;
    }
    match object.get("version").map(Value::as_u64) {
        None | Some(Some(1)) => {}
        _ => return Err(Problem::Unsupported("a log version that this release cannot read".to_owned())),
    }
    let written_ns = time(field(object, "ts")?, "ts")?;
    let event = OldEvent::parse(field(object, "event")?)?;
    let is_v0_2 = object.contains_key("version") || object.contains_key("checksum") || event.is_v0_2();
    if apply {
        replay.note_time(written_ns);
        let at_ns = event.at_ns.unwrap_or(written_ns);
        replay.apply(event.what, at_ns)?;
    }
    Ok(is_v0_2)
}

/// The checksum is that of the text, not of its meaning, so it is cut out of the raw line. It is the last field; nothing
/// inside a string can look like it, because quotes are escaped there.
fn verify(line: &[u8], checksum: &Value) -> Result<(), Problem> {
    const FIELD: &[u8] = br#","checksum":""#;
    const FIELD_BYTES: usize = FIELD.len() + 64 + 2;
    let Some(cut) = line.len().checked_sub(FIELD_BYTES) else { return corrupt("the checksum is not a SHA-256") };
    let (body, tail) = line.split_at(cut);
    let digits = checksum.as_str().unwrap_or_default();
    let expected_tail = [FIELD, digits.as_bytes(), b"\"}"].concat();
    if tail != expected_tail {
        return corrupt("the checksum is not a SHA-256 at the end of the line");
    }
    let actual = hex_sha256(&[body, b"}"]);
    if actual != digits {
        return corrupt(format!("checksum mismatch: expected {digits}, got {actual}"));
    }
    Ok(())
}
