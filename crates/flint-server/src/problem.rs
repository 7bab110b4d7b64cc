//! Errors as `application/problem+json` (RFC 9457) with a stable `code`.

use bytes::Bytes;
use flint_core::Error;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

/// What every response has. No page of another origin gets the answer, not even as an image or a script.
pub(crate) const EVERY_RESPONSE: [(&str, &str); 2] =
    [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")];

/// Everything that a request can fail with. The codes are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The body is no JSON.
    InvalidJson,
    /// A key that is not accepted.
    InvalidKey,
    /// A limit that is not understood or not accepted.
    InvalidLimit,
    /// A cost that could never succeed.
    InvalidCost,
    /// Anything else that is wrong with the request's content.
    InvalidArgument,
    /// No token, or none that is known.
    Unauthorized,
    /// The token's scopes do not cover this.
    Forbidden,
    /// The request comes from a web page.
    OriginRefused,
    /// The `Host` is none of this server's.
    HostRefused,
    /// No limit is set for the key and none came with the call.
    LimitNotFound,
    /// There is no such path.
    NotFound,
    /// The path has other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The body is too large.
    BodyTooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyMismatch,
    /// A bug.
    Internal,
    /// The storage returned an error.
    Storage,
    /// A queue or the table of connections is full.
    Busy,
    /// The answer took too long; the request may have been executed.
    Timeout,
    /// The server is shutting down.
    ShuttingDown,
}

impl Code {
    /// Every code, for the document that describes the API.
    pub(crate) const ALL: [Self; 21] = [
        Self::InvalidJson,
        Self::InvalidKey,
        Self::InvalidLimit,
        Self::InvalidCost,
        Self::InvalidArgument,
        Self::Unauthorized,
        Self::Forbidden,
        Self::OriginRefused,
        Self::HostRefused,
        Self::LimitNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::IdempotencyMismatch,
        Self::Internal,
        Self::Storage,
        Self::Busy,
        Self::Timeout,
        Self::ShuttingDown,
    ];

    /// Its name, status and title.
    pub(crate) const fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidJson => ("invalid_json", StatusCode::BAD_REQUEST, "The body is not JSON"),
            Self::InvalidKey => ("invalid_key", StatusCode::BAD_REQUEST, "The key is not accepted"),
            Self::InvalidLimit => ("invalid_limit", StatusCode::BAD_REQUEST, "The limit is not accepted"),
            Self::InvalidCost => {
                ("invalid_cost", StatusCode::BAD_REQUEST, "The cost exceeds what the limit ever allows")
            }
            Self::InvalidArgument => ("invalid_argument", StatusCode::BAD_REQUEST, "An argument is not accepted"),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A valid token is needed"),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "The token does not allow this"),
            Self::OriginRefused => ("origin_refused", StatusCode::FORBIDDEN, "Requests of web pages are refused"),
            Self::HostRefused => ("host_refused", StatusCode::FORBIDDEN, "The host is not this server's"),
            Self::LimitNotFound => ("limit_not_found", StatusCode::NOT_FOUND, "The key has no limit"),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, "The path does not exist"),
            Self::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "The path does not have this method")
            }
            Self::RequestTimeout => {
                ("request_timeout", StatusCode::REQUEST_TIMEOUT, "The request did not arrive in time")
            }
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body has to be JSON")
            }
            Self::IdempotencyMismatch => (
                "idempotency_mismatch",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
            ),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "The server has a bug"),
            Self::Storage => ("storage", StatusCode::SERVICE_UNAVAILABLE, "The storage returned an error"),
            Self::Busy => ("busy", StatusCode::SERVICE_UNAVAILABLE, "The server is overloaded"),
            Self::Timeout => ("timeout", StatusCode::SERVICE_UNAVAILABLE, "The answer took too long"),
            Self::ShuttingDown => ("shutting_down", StatusCode::SERVICE_UNAVAILABLE, "The server is shutting down"),
        }
    }
}

/// Longest `detail` that is sent, bytes.
const MAX_DETAIL: usize = 4 * 1024;

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    key: Option<String>,
    allow: Option<&'static str>,
}

/// The body of a failed request.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct ProblemAnswer<'a> {
    /// What went wrong, in the same words for every request.
    title: &'static str,
    /// The status, again.
    status: u16,
    /// A name that stays: what programs look at.
    code: &'static str,
    /// What went wrong with this request and what to do.
    detail: &'a str,
    /// The key that has no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl Problem {
    /// With a sentence on this request.
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), key: None, allow: None }
    }

    /// A method that the path does not have; `allow` names those that it has.
    pub(crate) fn method(allow: &'static str) -> Self {
        let detail = format!("this path has the methods {allow}");
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed, detail) }
    }

    /// What went wrong with this request.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// What kind it is.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    /// The body of the answer.
    fn body(&self) -> Vec<u8> {
        let (code, status, title) = self.code.parts();
        // What a message repeats of the request may be as long as the request.
        let end = (0..=MAX_DETAIL.min(self.detail.len())).rev().find(|end| self.detail.is_char_boundary(*end));
        let detail = &self.detail[..end.unwrap_or(0)];
        let answer = ProblemAnswer { title, status: status.as_u16(), code, detail, key: self.key.as_deref() };
        serde_json::to_vec(&answer).unwrap_or_default()
    }

    /// The whole response for a connection whose request is not read, and which is closed.
    pub(crate) fn unrequested(&self) -> Vec<u8> {
        let (body, (_, status, _)) = (self.body(), self.code.parts());
        let always = EVERY_RESPONSE.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\ncontent-length: {}\r\n\
             {always}connection: close\r\n\r\n",
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    /// The answer.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let (_, status, _) = self.code.parts();
        let mut response = Response::new(Bytes::from(self.body()));
        *response.status_mut() = status;
        let mut header = |name: HeaderName, value: &'static str| {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        };
        header(CONTENT_TYPE, "application/problem+json");
        match self.code {
            Code::Unauthorized => header(WWW_AUTHENTICATE, "Bearer"),
            Code::Busy | Code::ShuttingDown => header(RETRY_AFTER, "1"),
            _ => {}
        }
        if let Some(allow) = self.allow {
            header(ALLOW, allow);
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::InvalidKey(_) => Code::InvalidKey,
            Error::InvalidLimit(_) => Code::InvalidLimit,
            Error::InvalidCost(_) => Code::InvalidCost,
            Error::InvalidArgument(_) => Code::InvalidArgument,
            Error::LimitNotFound { .. } => Code::LimitNotFound,
            Error::CallMismatch => Code::IdempotencyMismatch,
            Error::Closed => Code::ShuttingDown,
            Error::Storage { .. }
            | Error::NoRoom { .. }
            | Error::Stopped { .. }
            | Error::Corrupt { .. }
            | Error::Unsupported { .. }
            | Error::ReadOnly { .. } => Code::Storage,
            _ => Code::Internal,
        };
        let detail = error.to_string();
        let key = if let Error::LimitNotFound { key } = error { Some(key) } else { None };
        Self { key, ..Self::new(code, detail) }
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        let code = if error.is_data() { Code::InvalidArgument } else { Code::InvalidJson };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_refused_gets_the_same_headers() {
        let response = String::from_utf8(Problem::new(Code::Busy, "b").unrequested()).unwrap();
        for header in ["x-content-type-options: nosniff", "cross-origin-resource-policy: same-origin", "retry-after: 1"]
        {
            assert!(response.contains(&format!("\r\n{header}\r\n")), "{response}");
        }
    }

    #[test]
    fn a_detail_is_bounded() {
        let problem = Problem::new(Code::InvalidArgument, "ä".repeat(1_000_000));
        assert!(problem.body().len() < MAX_DETAIL + 200);
    }
}
