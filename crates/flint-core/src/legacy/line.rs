//! The old log: one JSON object a line.
//!
//! ```text
//! {"ts":"...","event":{...}}                                          0.1
//! {"version":1,"ts":"...","event":{...},"checksum":"<64 digits>"}     0.2; SHA-256 of the line without ,"checksum":"..."
//! ```

use serde_json::Value;

use super::event::{Object, OldEvent, field, time};
use super::replay::Replay;
use super::{Problem, corrupt, hex_sha256};

/// What the log turned out to be.
#[derive(Debug, Default)]
pub(super) struct End {
    pub(super) torn_tail: Option<u64>,
    pub(super) is_v0_2: bool,
}

/// Verifies every line and applies those from byte `replay_from` on; the ones before are part of the snapshot already. Errors come
/// with the offset of the line.
pub(super) fn replay(
    log: &[u8],
    replay_from: u64,
    has_snapshot: bool,
    replay: &mut Replay,
) -> Result<End, (u64, Problem)> {
    let mut end = End::default();
    let mut at = 0;
    let mut number = 0u64;
    let is_line_start = usize::try_from(replay_from).is_ok_and(|from| from == 0 || log.get(from - 1) == Some(&b'\n'));
    if !is_line_start {
        let detail = format!(
            "the snapshot includes the log up to byte {replay_from}, which is not the end of a line of this log of {} bytes",
            log.len()
        );
        return Err((log.len() as u64, Problem::Corrupt(detail)));
    }
    while at < log.len() {
        number += 1;
        let offset = at as u64;
        let rest = &log[at..];
        let line = rest.split(|&byte| byte == b'\n').next().unwrap_or(rest);
        at += line.len() + 1;
        let object = match serde_json::from_slice(line) {
            Ok(Value::Object(object)) => object,
            // A write that a crash cut short is not a whole object yet. A log of nothing but text is not a log.
            _ if at >= log.len() && (offset > 0 || has_snapshot || looks_cut(line)) => {
                end.torn_tail = Some(offset);
                break;
            }
            Ok(_) => return Err((offset, Problem::Corrupt(format!("line {number}: not a JSON object")))),
            Err(error) => return Err((offset, Problem::Corrupt(format!("line {number}: not JSON: {error}")))),
        };
        let apply = offset >= replay_from;
        let is_v0_2 = verify_and_apply(line, &object, apply, replay)
            .map_err(|problem| (offset, problem.within(format_args!("line {number}"))))?;
        end.is_v0_2 |= is_v0_2;
    }
    Ok(end)
}

/// Whether this can be the beginning of the first line that was ever written, or space that was never filled.
fn looks_cut(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'{' | 0))
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
