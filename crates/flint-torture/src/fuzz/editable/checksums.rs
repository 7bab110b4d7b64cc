//! The SHA-256 digests in snapshots and in the files of old releases.

use sha2::{Digest as _, Sha256};

use super::text::rfind;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Puts the right SHA-256 into the trailer of a snapshot, if it has the form of one.
pub(crate) fn fix_snapshot(bytes: &mut [u8]) {
    const FIELD: &[u8] = br#""sha256":""#;
    let Some(at) = rfind(bytes, FIELD).map(|at| at + FIELD.len()) else { return };
    if bytes.len() >= at + 64 {
        let digits = sha256_hex(&bytes[..at]);
        bytes[at..at + 64].copy_from_slice(digits.as_bytes());
    }
}

/// The line of an old log with the right checksum, if it has one.
pub(crate) fn fix_old_line(line: &[u8]) -> Vec<u8> {
    const FIELD: &[u8] = br#","checksum":""#;
    let Some(at) = rfind(line, FIELD) else { return line.to_vec() };
    let body = [&line[..at], b"}"].concat();
    let digits = sha256_hex(&body);
    [&line[..at], FIELD, digits.as_bytes(), b"\"}"].concat()
}

/// An old snapshot around this state.
pub(crate) fn old_snapshot(state: &[u8], checksum: &str) -> Vec<u8> {
    let mut out = format!("{{\"format_version\":1,\"checksum\":\"{checksum}\",\"snapshot\":\"").into_bytes();
    for &byte in state {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.extend_from_slice(b"\"}\n");
    out
}

/// The JSON text inside an old snapshot, which holds no escapes but those of quotes and backslashes.
pub(crate) fn inner_state(bytes: &[u8]) -> Option<Vec<u8>> {
    const FIELD: &[u8] = br#""snapshot":"#;
    let at = rfind(bytes, FIELD)? + FIELD.len();
    let start = at + bytes[at..].iter().position(|&byte| byte == b'"')? + 1;
    let mut out = Vec::new();
    let mut rest = bytes[start..].iter();
    loop {
        match rest.next()? {
            b'"' => return Some(out),
            b'\\' => out.push(*rest.next()?),
            &byte => out.push(byte),
        }
    }
}
