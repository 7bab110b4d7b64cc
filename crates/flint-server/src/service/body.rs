//! Reading the body of a request.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::deadline::within;
use super::state::Service;
use crate::auth::Principal;
use crate::budget::Reservation;
use crate::connection::Connection;
use crate::problem::{Code, Problem};
use crate::routes::Route;

/// A body, and its part of the budget where it is large.
#[derive(Debug, Default)]
pub(super) struct ReadBody {
    pub(super) bytes: Bytes,
    pub(super) reserved: Option<Reservation>,
}

/// Reads the body that the route requires or allows, of at most `max_bytes` bytes; empty where there is none.
///
/// # Errors
/// `invalid_json`, `invalid_argument`, `unsupported_media_type`, `body_too_large`, `request_timeout`.
pub(super) async fn read(
    service: &Service,
    route: &Route,
    headers: &HeaderMap,
    body: Incoming,
    connection: &Arc<Connection>,
    principal: Principal,
    max_bytes: usize,
) -> Result<ReadBody, Problem> {
    if body.is_end_stream() {
        return match route.body {
            Some((_, true)) => Err(Problem::new(Code::InvalidJson, "the request needs a body of JSON")),
            _ => Ok(ReadBody::default()),
        };
    }
    if route.body.is_none() {
        return Err(Problem::new(Code::InvalidArgument, "this request has no body"));
    }
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(Problem::new(Code::UnsupportedMediaType, "send Content-Type: application/json"));
    }
    if let Some(other) = headers.get_all(CONTENT_ENCODING).iter().find(|coding| !is_identity(coding)) {
        let detail = format!("the Content-Encoding is {other:?}; send the body as it is, without one");
        return Err(Problem::new(Code::UnsupportedMediaType, detail));
    }
    // A body whose length is announced is refused before it is read.
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large(max_bytes));
    }
    connection.body_expected();
    let late = || Problem::new(Code::RequestTimeout, "the body did not arrive in time");
    let announced = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(max_bytes);
    let reserve = service.bodies.reserve(principal, announced, connection);
    let reading = collect(body, max_bytes, service.bounds.body_bytes, reserve);
    let read = within(service, connection, reading).await.ok_or_else(late)??;
    if let Some(reserved) = &read.reserved {
        reserved.close();
    }
    connection.body_complete();
    Ok(read)
}

fn too_large(max_bytes: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("the body is larger than {max_bytes} bytes, the most that is accepted"))
}

/// Collects the frames of a body. The usual body is one frame, which is not copied; one of more than `few` bytes goes on when `reserve`
/// is ready.
async fn collect(
    mut body: Incoming,
    max_bytes: usize,
    few: usize,
    reserve: impl Future<Output = Reservation>,
) -> Result<ReadBody, Problem> {
    let (mut reserve, mut reserved) = (Some(reserve), None);
    // Freed before their part of the budget.
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Problem::new(Code::InvalidArgument, "the body ended too early or is malformed"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = whole.len() + parts.len() + data.len();
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        if length > few
            && let Some(reserve) = reserve.take()
        {
            let granted = reserve.await;
            granted.open();
            reserved = Some(granted);
        }
        if let Some(reserved) = &reserved {
            reserved.moved(data.len());
        }
        if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            parts.extend_from_slice(&std::mem::take(&mut whole));
            parts.extend_from_slice(&data);
        }
    }
    Ok(ReadBody { bytes: if parts.is_empty() { whole } else { parts.freeze() }, reserved })
}

fn is_identity(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")
}

fn is_json(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    value[..end].trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_by_its_media_type() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/jsonp", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
