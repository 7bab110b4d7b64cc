//! One request, before it is bytes.

use std::borrow::Cow;

use super::body::Body;

/// The route whose body may be the largest.
pub(crate) const LIMIT_MANY: &str = "POST /v1/limit-many";

/// A request without the headers that all requests of a client share.
pub(crate) struct Request {
    /// Method, path and query.
    pub(super) target: Cow<'static, str>,
    pub(super) body: Option<Body>,
}

impl Request {
    /// A request without query and body.
    pub(crate) const fn new(route: &'static str) -> Self {
        Self { target: Cow::Borrowed(route), body: None }
    }

    /// The same with this body.
    #[must_use]
    pub(crate) fn with_body(self, body: Body) -> Self {
        Self { body: Some(body), ..self }
    }

    /// The same with one more parameter in its query.
    #[must_use]
    pub(crate) fn with_query(self, name: &str, value: &str) -> Self {
        let mut target = self.target.into_owned();
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(name);
        target.push('=');
        percent(&mut target, value);
        Self { target: Cow::Owned(target), ..self }
    }
}

/// Percent-encoding of everything but unreserved characters (RFC 3986, 2.3).
fn percent(line: &mut String, value: &str) {
    use std::fmt::Write;
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => line.push(char::from(byte)),
            _ => write!(line, "%{byte:02X}").expect("memory is written to"),
        }
    }
}
