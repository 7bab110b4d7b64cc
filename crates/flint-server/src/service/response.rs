//! Building responses.

use bytes::Bytes;
use hyper::Response as HttpResponse;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use super::answer_body::AnswerBody;
use crate::wire::exact::MEDIA_TYPE;

/// A response.
pub(crate) type Response = HttpResponse<AnswerBody>;

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn with_type(body: AnswerBody, media_type: &'static str) -> Response {
    let mut response = HttpResponse::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// JSON, or the exact form of it.
pub(super) fn json(body: AnswerBody, exact: bool) -> Response {
    with_type(body, if exact { MEDIA_TYPE } else { "application/json" })
}

/// Metrics as text.
pub(super) fn metrics(text: String) -> Response {
    with_type(AnswerBody::whole(Bytes::from(text), None), METRICS_TYPE)
}
