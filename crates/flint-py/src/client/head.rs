//! The head of an answer.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Longest head that is read.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

/// How a body is delimited, where it is not by its length.
const CHUNKED: i64 = -1;
const UNTIL_CLOSE: i64 = -2;

/// What the head of an answer says.
pub(super) struct Head<'a> {
    pub(super) status: u16,
    /// Where the body starts.
    pub(super) start: usize,
    /// The length of the body, -1 when it is chunked, -2 when the end of the connection ends it.
    pub(super) length: i64,
    /// Whether another request may follow on the connection.
    pub(super) stays: bool,
    pub(super) content_type: Option<&'a str>,
    /// `Retry-After`, where it is in seconds.
    pub(super) retry_after: Option<u64>,
}

/// The head of the HTTP/1.1 answer in `data`; `None` when it has not arrived whole.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(data: &[u8]) -> Result<Option<Head<'_>>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let start = match response.parse(data) {
        Ok(httparse::Status::Complete(start)) if start <= MAX_HEAD => start,
        Ok(httparse::Status::Partial) if data.len() <= MAX_HEAD => return Ok(None),
        Ok(_) => return Err(format!("the head is longer than {MAX_HEAD} bytes")),
        Err(error) => return Err(format!("it is not HTTP/1.1 ({error})")),
    };
    let status = response.code.unwrap_or_default();
    let (mut length, mut chunked) = (None, false);
    let mut stays = response.version == Some(1);
    let (mut content_type, mut retry_after) = (None, None);
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let given = value.parse::<u32>().ok().filter(|_| digits).map(i64::from);
            if given.is_none() || length.is_some_and(|before| Some(before) != given) {
                return Err(format!("its Content-Length is {value:?}"));
            }
            length = given;
        } else if is("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(format!("its Transfer-Encoding is {value:?}"));
            }
            chunked = true;
        } else if is("connection") {
            stays &= !value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        } else if is("content-type") {
            content_type = Some(value);
        } else if is("retry-after") {
            retry_after = value.parse().ok();
        }
    }
    let length = match (length, chunked) {
        (Some(_), true) => return Err("it has both Content-Length and Transfer-Encoding".to_owned()),
        (Some(length), false) => length,
        (None, true) => CHUNKED,
        (None, false) => UNTIL_CLOSE,
    };
    Ok(Some(Head { status, start, length, stays: stays && length != UNTIL_CLOSE, content_type, retry_after }))
}

/// (status, where the body starts, its length, whether the connection stays, Content-Type, Retry-After in seconds)
type Fields<'a> = (u16, usize, i64, bool, Option<&'a str>, Option<u64>);

/// What the head of the HTTP/1.1 answer in `data` says; None when it has not arrived whole.
///
/// The length is -1 for a chunked body, -2 for one that the end of the connection ends. Raises ValueError for what is no answer.
#[pyfunction]
#[pyo3(signature = (data, /))]
fn _head<'a>(data: &'a Bound<'_, PyBytes>) -> PyResult<Option<Fields<'a>>> {
    let head = parse(data.as_bytes()).map_err(PyValueError::new_err)?;
    Ok(head.map(|head| (head.status, head.start, head.length, head.stays, head.content_type, head.retry_after)))
}

pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_head, m)?)
}
