//! `flint._native.Server`: the HTTP server over an open limiter.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flint_server::{Bounds, LogFormat, MetricsText, Settings, StartError, Stop, TlsFiles, TokenSource};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{choice, unsigned};
use crate::errors::invalid_argument;
use crate::limiter::Limiter;

const LOG_FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

/// A server that answers from a limiter, listening from its construction on.
///
/// limiter: an open flint.Limiter that may write, or a function that opens one, called once the other arguments are accepted. bind:
/// "ADDRESS:PORT" for TCP; port 0 lets the system choose. unix: path of a Unix socket. activated: take the sockets that systemd passed
/// instead. token: one token with all scopes; token_visible: it is part of the command line. token_file: path of a file of tokens, instead. tls_cert, tls_key: PEM files. allowed_hosts: further names that requests
/// may be for without a token. log_format: "text" or "json", for reports on standard error. metrics: called for the text of /metrics
/// about the limiter. Bounds: max_blocking, max_connections, header_timeout_ms, request_timeout_ms, idle_timeout_ms, body_bytes.
///
/// Raises InvalidArgument for settings that would be dangerous or make no sense, OSError for errors of the operating system.
#[pyclass(module = "flint._native", name = "Server", frozen)]
pub(crate) struct Server {
    server: Mutex<Option<flint_server::Server>>,
    scrapes: Arc<Scrapes>,
    stop: Stop,
    urls: Vec<String>,
}

fn raised(py: Python<'_>, error: &StartError) -> PyErr {
    if error.of_system { PyOSError::new_err(error.to_string()) } else { invalid_argument(py, error.to_string()) }
}

fn bounds(py: Python<'_>, given: Option<&Bound<'_, PyDict>>) -> PyResult<Bounds> {
    let mut bounds = Bounds::default();
    for (name, value) in given.into_iter().flatten() {
        let name: String = name.extract()?;
        let number = unsigned(value.as_borrowed()).filter(|number| *number >= 1).ok_or_else(|| {
            invalid_argument(py, format!("{name} must be an integer of at least 1, such as 64, not {value}"))
        })?;
        let size = usize::try_from(number).unwrap_or(usize::MAX);
        match name.as_str() {
            "max_blocking" => bounds.blocking = size.min(4096),
            "max_connections" => bounds.connections = size,
            "header_timeout_ms" => bounds.header_timeout_ms = number,
            "request_timeout_ms" => bounds.request_timeout_ms = number,
            "idle_timeout_ms" => bounds.idle_timeout_ms = number,
            "body_bytes" => bounds.body_bytes = size,
            _ => return Err(pyo3::exceptions::PyTypeError::new_err(format!("Server has no argument {name:?}"))),
        }
    }
    Ok(bounds)
}

/// The threads of the server that call Python, for the text of metrics.
#[derive(Default)]
struct Scrapes {
    ended: AtomicBool,
    running: AtomicUsize,
}

/// Counts one of them.
struct Scrape<'a>(&'a Scrapes);

impl Scrapes {
    /// `None` once the server has ended: no thread enters Python any more.
    fn begin(&self) -> Option<Scrape<'_>> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let scrape = Scrape(self);
        (!self.ended.load(Ordering::SeqCst)).then_some(scrape)
    }
}

impl Drop for Scrape<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn metrics_text(call: Py<PyAny>, scrapes: Arc<Scrapes>) -> MetricsText {
    Arc::new(move || {
        let Some(_scrape) = scrapes.begin() else { return Err("the server has ended".to_owned()) };
        Python::attach(|py| call.call0(py).and_then(|text| text.extract(py)).map_err(|error| error.to_string()))
    })
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (
        limiter, *, bind = None, unix = None, activated = false, token = None, token_visible = false, token_file = None,
        tls_cert = None, tls_key = None, require_tls = false, allowed_hosts = Vec::new(), log_format = None, metrics = None,
        **limits
    ))]
    #[expect(clippy::too_many_arguments, reason = "one per setting")]
    fn new(
        py: Python<'_>,
        limiter: &Bound<'_, PyAny>,
        bind: Option<&str>,
        unix: Option<PathBuf>,
        activated: bool,
        token: Option<String>,
        token_visible: bool,
        token_file: Option<PathBuf>,
        tls_cert: Option<PathBuf>,
        tls_key: Option<PathBuf>,
        require_tls: bool,
        allowed_hosts: Vec<String>,
        log_format: Option<&Bound<'_, PyAny>>,
        metrics: Option<Py<PyAny>>,
        limits: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let bind = bind.map(|text| address(py, text)).transpose()?;
        let tokens = match (token, token_file) {
            (None, None) => TokenSource::None,
            (Some(token), None) => TokenSource::Single { token, visible: token_visible },
            (None, Some(path)) => TokenSource::File(path),
            (Some(_), Some(_)) => {
                return Err(invalid_argument(
                    py,
                    "token and token_file exclude each other: a file has tokens for several clients, each on a line"
                        .to_owned(),
                ));
            }
        };
        let tls = match (tls_cert, tls_key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            _ => return Err(invalid_argument(py, "tls_cert and tls_key go together: name the files of the certificate and of its private key, such as \"cert.pem\" and \"key.pem\"".to_owned())),
        };
        let log = log_format.map_or(Ok(LogFormat::Text), |name| choice("log_format", name, &LOG_FORMATS))?;
        let scrapes = Arc::<Scrapes>::default();
        let settings = Settings {
            bind,
            unix,
            activated,
            tokens,
            tls,
            require_tls,
            allowed_hosts,
            bounds: bounds(py, limits)?,
            metrics: metrics.map(|call| metrics_text(call, scrapes.clone())),
        };
        let limiter = match limiter.cast::<Limiter>() {
            Ok(limiter) => limiter.clone(),
            Err(_) => {
                py.detach(|| flint_server::Server::examine(&settings)).map_err(|error| raised(py, &error))?;
                limiter.call0()?.cast_into::<Limiter>()?
            }
        };
        let engine = limiter.get().shared_engine()?;
        let server =
            py.detach(|| flint_server::Server::open(engine, &settings, log)).map_err(|error| raised(py, &error))?;
        Ok(Self { scrapes, stop: server.stopper(), urls: server.urls(), server: Mutex::new(Some(server)) })
    }

    /// Answer requests in this thread until stop() is called; with signals=True also until SIGTERM or SIGINT. Once only.
    #[pyo3(signature = (*, signals = false))]
    fn serve(&self, py: Python<'_>, signals: bool) -> PyResult<()> {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(server) = server else { return Err(PyRuntimeError::new_err("this Server has served already")) };
        let served = py.detach(|| server.run(signals)).map_err(|error| raised(py, &error));
        self.scrapes.ended.store(true, Ordering::SeqCst);
        served
    }

    /// Whether a thread of the server is still in `metrics` after serve() has returned. The interpreter must not be finalised then:
    /// that would end the thread in the middle of native code, which aborts the process.
    #[getter]
    fn scraping(&self) -> bool {
        self.scrapes.running.load(Ordering::SeqCst) > 0
    }

    /// Have serve() return: new connections are refused, open requests are answered. From any thread.
    fn stop(&self) {
        self.stop.stop();
    }

    /// Where it listens, as URLs.
    #[getter]
    fn urls(&self) -> Vec<String> {
        self.urls.clone()
    }
}

fn address(py: Python<'_>, text: &str) -> PyResult<SocketAddr> {
    let text = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| {
        invalid_argument(py, format!("{text:?} is no address to bind to; write ADDRESS:PORT, such as 127.0.0.1:7878"))
    })
}

pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Server>()
}
