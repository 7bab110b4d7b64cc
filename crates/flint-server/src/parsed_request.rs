//! A request apart from HTTP: body, key of the path, query, form of the response, id of the call.

use bytes::Bytes;
use flint_core::engine::CallId;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::cancellation::Cancellation;
use crate::problem::{Code, Problem};
use crate::wire::exact::MEDIA_TYPE;
use crate::wire::request::Object;

/// An admitted request. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ParsedRequest {
    /// The body, empty where there is none.
    pub(crate) body: Bytes,
    /// The key in the path, decoded.
    pub(crate) path_key: Option<String>,
    /// What follows the question mark.
    pub(crate) query: Query,
    /// Whether the response is to have the exact form.
    pub(crate) exact: bool,
    /// The id of a call that may be repeated.
    pub(crate) call: Option<CallId>,
    /// Whether the client is gone.
    pub(crate) cancellation: Cancellation,
}

impl ParsedRequest {
    /// The body as JSON; an empty one is an empty object.
    ///
    /// # Errors
    /// `invalid_json`, `invalid_argument`.
    pub(crate) fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        let Object(body) = serde_json::from_slice(self.text())?;
        Ok(body)
    }

    /// The body as text; an empty one is an empty object.
    pub(crate) fn text(&self) -> &[u8] {
        if self.body.is_empty() { b"{}" } else { &self.body }
    }

    /// The key of the path, or of the query.
    ///
    /// # Errors
    /// `invalid_argument` without one.
    pub(crate) fn key(&self) -> Result<&str, Problem> {
        self.path_key
            .as_deref()
            .or(self.query.key.as_deref())
            .ok_or_else(|| Problem::new(Code::InvalidArgument, "the query needs key="))
    }
}

/// What a query may hold.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// Only keys that begin with this.
    pub(crate) prefix: Option<String>,
    /// At most that many.
    pub(crate) limit: Option<u64>,
    /// Only what comes after this key, or record.
    pub(crate) after: Option<String>,
    /// The key.
    pub(crate) key: Option<String>,
    /// What to sort by.
    pub(crate) by: Option<String>,
}

fn invalid(detail: String) -> Problem {
    Problem::new(Code::InvalidArgument, detail)
}

impl Query {
    /// Parses a query. Only the names in `allowed` are accepted, each once.
    ///
    /// # Errors
    /// `invalid_argument`.
    pub(crate) fn parse(text: &str, allowed: &[&str]) -> Result<Self, Problem> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = percent_decoded(&name.replace('+', " "))?;
            if !allowed.contains(&name.as_str()) {
                return Err(invalid(if allowed.is_empty() {
                    format!("this takes no query; leave {name:?} out")
                } else {
                    format!("the query has no {name:?}; it may have {}", allowed.join(", "))
                }));
            }
            let value = percent_decoded(&value.replace('+', " "))?;
            let twice = match name.as_str() {
                "prefix" => query.prefix.replace(value).is_some(),
                "after" => query.after.replace(value).is_some(),
                "key" => query.key.replace(value).is_some(),
                "by" => query.by.replace(value).is_some(),
                _ => {
                    let number = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
                    let number = number.ok_or_else(|| {
                        invalid(format!("limit must be an integer from 0 to 2^64 - 1, not {value:?}"))
                    })?;
                    query.limit.replace(number).is_some()
                }
            };
            if twice {
                return Err(invalid(format!("the query has {name} twice")));
            }
        }
        Ok(query)
    }
}

/// Decodes percent-encoded text.
///
/// # Errors
/// `invalid_argument` for what is not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Result<String, Problem> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid("the path or query is percent-encoded, but not UTF-8".to_owned())),
    }
}

/// Whether an `Accept` header asks for the exact form.
pub(crate) fn wants_exact(accept: Option<&[u8]>) -> bool {
    accept == Some(MEDIA_TYPE.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_once_and_strictly() {
        let query = Query::parse("key=a%2Fb%26c+d%2B&limit=5&prefix=%E2%82%AC", &["key", "limit", "prefix"]).unwrap();
        assert_eq!(query.key.as_deref(), Some("a/b&c d+"));
        assert_eq!(query.limit, Some(5));
        assert_eq!(query.prefix.as_deref(), Some("€"));
        assert_eq!(Query::parse("key=%2541", &["key"]).unwrap().key.as_deref(), Some("%41"));
        assert_eq!(Query::parse("key", &["key"]).unwrap().key.as_deref(), Some(""));
        for text in ["key=%FF", "kez=1", "key=1&key=2", "limit=-1", "limit=", "limit=18446744073709551616", "limit=1.0"]
        {
            assert_eq!(Query::parse(text, &["key", "limit"]).unwrap_err().code(), Code::InvalidArgument, "{text}");
        }
    }
}
