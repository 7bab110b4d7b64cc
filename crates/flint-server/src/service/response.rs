//! Building responses.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response as HttpResponse;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use crate::wire::exact::MEDIA_TYPE;

/// A response with its whole body.
pub(crate) type Response = HttpResponse<Full<Bytes>>;

const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn with_type(body: Bytes, media_type: &'static str) -> Response {
    let mut response = HttpResponse::new(Full::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// JSON, or the exact form of it.
pub(super) fn json(body: impl Into<Bytes>, exact: bool) -> Response {
    with_type(body.into(), if exact { MEDIA_TYPE } else { "application/json" })
}

/// Metrics as text.
pub(super) fn metrics(text: String) -> Response {
    with_type(Bytes::from(text), METRICS_TYPE)
}
