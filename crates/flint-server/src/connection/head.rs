//! The head of a response that hyper writes by itself, to a request that it cannot read: it gets the headers of every other response.

use std::borrow::Cow;

use crate::problem::EVERY_RESPONSE;

const END: &[u8] = b"\r\n\r\n";

/// What is to be written for `bytes`, to whose end hyper may have appended a response without a body. The JSON of other responses, and
/// the text of metrics, end otherwise.
pub(super) fn completed(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.ends_with(END) {
        return Cow::Borrowed(bytes);
    }
    let body = bytes.len() - END.len();
    let start = bytes[..body].windows(END.len()).rposition(|window| window == END).map_or(0, |end| end + END.len());
    // Behind the body of another response there is no empty line.
    let Some(start) = find_last(&bytes[start..body], b"HTTP/1.").map(|at| start + at) else {
        return Cow::Borrowed(bytes);
    };
    let head = &bytes[start..body];
    // An answer of class 1 is followed by another; one of ours has the headers.
    let is_error = matches!(head.get(9), Some(b'4' | b'5'));
    // A body may hold anything, the last chunk of one ends in a line without a colon, and JSON has none between lines.
    let is_head = lines(head).skip(1).all(|line| line.contains(&b':') && !line.contains(&b'"'));
    if !is_error || !is_head || find_last(head, EVERY_RESPONSE[0].0.as_bytes()).is_some() {
        return Cow::Borrowed(bytes);
    }
    let mut all = bytes[..body].to_vec();
    for (name, value) in EVERY_RESPONSE {
        all.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
    }
    all.extend_from_slice(END);
    Cow::Owned(all)
}

/// The lines of a head, whose last one has its end cut off.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|&byte| byte == b'\n')
}

fn find_last(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n";
    const HEADERS: &str = "x-content-type-options: nosniff\r\ncross-origin-resource-policy: same-origin\r\n";
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    #[test]
    fn a_response_of_hyper_has_the_headers_of_every_response() {
        for before in ["", ANSWER, &ANSWER.repeat(3)] {
            let written = completed(format!("{before}{REFUSAL}\r\n").as_bytes()).into_owned();
            assert_eq!(String::from_utf8(written).unwrap(), format!("{before}{REFUSAL}{HEADERS}\r\n"));
        }
    }

    #[test]
    fn other_bytes_are_written_as_they_are() {
        let whole = format!("{REFUSAL}{HEADERS}\r\n");
        // The last chunk of a body in which a key looks like a response.
        let chunk = "1f\r\n{\"key\":\"HTTP/1.1 400 Bad: x\"}\r\n0\r\n\r\n";
        for bytes in [ANSWER, &whole, chunk, "HTTP/1.1 100 Continue\r\n\r\n", "", "\r\n\r\n", "0\r\n\r\n"] {
            assert!(matches!(completed(bytes.as_bytes()), Cow::Borrowed(_)), "{bytes}");
        }
    }
}
