//! Requests as bytes: head and body in one piece, ready to be sent and to be sent again.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use flint_core::engine::{Item, OnChange};
use flint_server::Bounds;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::body::Body;
use crate::convert::{Arg, Cost, Count, Key, choice};
use crate::errors::invalid_argument;
use crate::items::{OwnedItem, parse_items};
use crate::limit::{self, LimitArg};
use crate::limiter::TOP_BY_NAMES;
use crate::specs::{Spec, on_change as parse_on_change, parse_specs};

const LIMIT_MANY: &str = "POST /v1/limit-many";

/// Makes the requests of one client. Arguments are refused as the embedded methods refuse them, before anything is sent.
///
/// headers: what every request says, each line ending in CRLF. seed: 16 random bytes.
#[pyclass(module = "flint._native", name = "_Codec", frozen)]
pub(super) struct Codec {
    headers: Vec<u8>,
    /// With `count` it makes keys that no other client uses; replaced after a fork.
    seed: Mutex<u128>,
    count: AtomicU64,
}

impl Codec {
    /// A request; `keyed` ones carry a fresh idempotency key. A body that no server would take is refused here.
    fn request<'py>(
        &self,
        py: Python<'py>,
        line: &str,
        body: Option<&Body>,
        keyed: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let content = body.map_or(&[][..], Body::bytes);
        let bounds = Bounds::default();
        let most = if line == LIMIT_MANY { bounds.many_body_bytes } else { bounds.body_bytes };
        if content.len() > most {
            let message = format!(
                "the call takes {} bytes of JSON, and a server accepts {most} at a time: make several calls of it",
                content.len()
            );
            return Err(invalid_argument(py, message));
        }
        let mut request = Vec::with_capacity(line.len() + self.headers.len() + content.len() + 192);
        request.extend_from_slice(line.as_bytes());
        request.extend_from_slice(b" HTTP/1.1\r\n");
        request.extend_from_slice(&self.headers);
        if keyed {
            let seed = *self.seed.lock().expect("nothing panics with the seed in hand");
            let count = self.count.fetch_add(1, Ordering::Relaxed);
            write!(request, "Idempotency-Key: {seed:032x}-{count:x}\r\n").expect("memory is written to");
        }
        if body.is_some() {
            write!(request, "Content-Type: application/json\r\nContent-Length: {}\r\n", content.len())
                .expect("memory is written to");
        } else if !line.starts_with("GET") {
            request.extend_from_slice(b"Content-Length: 0\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(content);
        Ok(PyBytes::new(py, &request))
    }
}

fn query(path: &str, parts: &[(&str, &str)]) -> String {
    let mut line = format!("GET {path}");
    for (index, (name, value)) in parts.iter().enumerate() {
        line.push(if index == 0 { '?' } else { '&' });
        line.push_str(name);
        line.push('=');
        percent(&mut line, value);
    }
    line
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

fn change(body: &mut Body, on_change: OnChange) {
    match on_change {
        OnChange::Keep => {}
        OnChange::Reset => {
            body.raw(r#","on_change":"reset""#);
        }
    }
}

#[pymethods]
impl Codec {
    #[new]
    fn new(headers: Vec<u8>, seed: [u8; 16]) -> Self {
        Self { headers, seed: Mutex::new(u128::from_ne_bytes(seed)), count: AtomicU64::new(0) }
    }

    /// check(); `counted` is False for somebody who waits and asks again.
    #[pyo3(signature = (key, cost, limit, counted, /))]
    fn check<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
        counted: bool,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut body = Body::default();
        body.raw(r#"{"key":"#).text(key.text()?).cost(cost.0);
        if let Some(limit) = &limit {
            body.raw(r#","limit":"#).limit(limit.core());
        }
        body.raw(if counted { "}" } else { r#","count_denied":false}"# });
        self.request(py, "POST /v1/check", Some(&body), true)
    }

    /// check_all(): the request, the keys and the costs.
    #[pyo3(signature = (items, /))]
    fn check_all<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyList>, Vec<u64>)> {
        let items = parse_items(items)?;
        let borrowed: Vec<Item<'_>> = items.iter().map(OwnedItem::borrow).collect::<PyResult<_>>()?;
        let mut body = Body::default();
        body.raw(r#"{"items":["#)
            .each(&borrowed, |body, item| {
                if item.cost == 1 && item.limit.is_none() {
                    body.text(item.key);
                    return;
                }
                body.raw(r#"{"key":"#).text(item.key).cost(item.cost);
                if let Some(limit) = item.limit {
                    body.raw(r#","limit":"#).limit(limit);
                }
                body.raw("}");
            })
            .raw("]}");
        let keys = PyList::new(py, items.iter().map(|item| &item.key.0))?;
        let costs = borrowed.iter().map(|item| item.cost).collect();
        Ok((self.request(py, "POST /v1/check-all", Some(&body), true)?, keys, costs))
    }

    /// peek(); with `costs`, how long the last of them would wait.
    #[pyo3(signature = (key, cost, limit, costs = None, /))]
    fn peek<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        cost: Cost,
        limit: Option<LimitArg<'_>>,
        costs: Option<Vec<u64>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut body = Body::default();
        body.raw(r#"{"key":"#).text(key.text()?).cost(cost.0);
        if let Some(limit) = &limit {
            body.raw(r#","limit":"#).limit(limit.core());
        }
        if let Some(costs) = costs {
            body.raw(r#","costs":["#)
                .each(costs, |body, cost| {
                    body.number(cost);
                })
                .raw("]");
        }
        body.raw("}");
        self.request(py, "POST /v1/peek", Some(&body), false)
    }

    /// limit().
    #[expect(clippy::too_many_arguments, reason = "the arguments of the public API")]
    #[pyo3(signature = (key, rate, per, burst, on_change, algorithm = Arg::Missing, /))]
    fn limit<'py>(
        &self,
        py: Python<'py>,
        key: Key<'py>,
        rate: &Bound<'py, PyAny>,
        per: Option<&Bound<'py, PyAny>>,
        burst: Option<&Bound<'py, PyAny>>,
        on_change: Arg<'py>,
        algorithm: Arg<'py>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit::parse(rate, per, algorithm.get(), burst)?;
        let on_change = parse_on_change(on_change.get())?;
        let mut body = Body::default();
        body.raw(r#"{"key":"#).text(key.text()?).raw(r#","rate":"#).limit(&limit);
        change(&mut body, on_change);
        body.raw("}");
        self.request(py, "POST /v1/limits", Some(&body), false)
    }

    /// limit_many().
    #[pyo3(signature = (specs, /))]
    fn limit_many<'py>(&self, py: Python<'py>, specs: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let specs = parse_specs(specs)?;
        let keys: Vec<&str> = specs.iter().map(|spec| spec.key.text()).collect::<PyResult<_>>()?;
        let mut body = Body::default();
        body.raw(r#"{"limits":["#)
            .each(keys.iter().zip(&specs), |body, (key, Spec { limit, on_change, .. })| {
                body.raw(r#"{"key":"#).text(key).raw(r#","rate":"#).limit(limit);
                change(body, *on_change);
                body.raw("}");
            })
            .raw("]}");
        self.request(py, LIMIT_MANY, Some(&body), false)
    }

    /// A POST of a key to `path`.
    #[pyo3(signature = (path, key, cost = Cost(1), /))]
    fn post_key<'py>(&self, py: Python<'py>, path: &str, key: Key<'py>, cost: Cost) -> PyResult<Bound<'py, PyBytes>> {
        let mut body = Body::default();
        body.raw(r#"{"key":"#).text(key.text()?).cost(cost.0).raw("}");
        self.request(py, &format!("POST {path}"), Some(&body), false)
    }

    /// A POST of nothing to `path`.
    #[pyo3(signature = (path, /))]
    fn post<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyBytes>> {
        self.request(py, &format!("POST {path}"), None, false)
    }

    /// A GET of `path`.
    #[pyo3(signature = (path, /))]
    fn get<'py>(&self, py: Python<'py>, path: &str) -> PyResult<Bound<'py, PyBytes>> {
        self.request(py, &format!("GET {path}"), None, false)
    }

    /// delete().
    #[pyo3(signature = (key, /))]
    fn delete<'py>(&self, py: Python<'py>, key: Key<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut line = "DELETE /v1/limits?key=".to_owned();
        percent(&mut line, key.text()?);
        self.request(py, &line, None, false)
    }

    /// status(), as a list of at most one.
    #[pyo3(signature = (key, /))]
    fn status<'py>(&self, py: Python<'py>, key: Key<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.request(py, &query("/v1/limits", &[("key", key.text()?)]), None, false)
    }

    /// One page of list(), of at most `page` statuses.
    #[pyo3(signature = (prefix, page, after, /))]
    fn list<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<Key<'py>>,
        page: Count,
        after: Option<Key<'py>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let page = page.0.to_string();
        let mut parts = vec![("limit", page.as_str())];
        if let Some(prefix) = &prefix {
            parts.push(("prefix", prefix.text()?));
        }
        if let Some(after) = &after {
            parts.push(("after", after.text()?));
        }
        self.request(py, &query("/v1/limits", &parts), None, false)
    }

    /// top().
    #[pyo3(signature = (by, limit, /))]
    fn top<'py>(&self, py: Python<'py>, by: &Bound<'py, PyAny>, limit: Count) -> PyResult<Bound<'py, PyBytes>> {
        let by = choice("by", by, &TOP_BY_NAMES)?;
        self.request(py, &query("/v1/top", &[("by", by), ("limit", &limit.0.to_string())]), None, false)
    }

    /// history().
    #[pyo3(signature = (key, limit, /))]
    fn history<'py>(&self, py: Python<'py>, key: Key<'py>, limit: Count) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit.0.to_string();
        self.request(py, &query("/v1/history", &[("key", key.text()?), ("limit", &limit)]), None, false)
    }

    /// Idempotency keys start with other random bytes from here on: after a fork.
    #[pyo3(signature = (seed, /))]
    fn reseed(&self, seed: [u8; 16]) {
        *self.seed.lock().expect("nothing panics with the seed in hand") = u128::from_ne_bytes(seed);
    }
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Codec>()
}
