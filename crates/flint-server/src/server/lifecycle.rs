//! A server: opening its sockets, running, ending.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flint_core::Engine;
use sd_notify::NotifyState;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::accept::accept;
use super::descriptors;
use super::periodic::{sweep, wake};
use super::signals::Signals;
use super::systemd::notify;
use crate::auth::Admission;
use crate::blocking_pool::BlockingPool;
use crate::budget::Budget;
use crate::connection::Connections;
use crate::durability::DurabilityWaiters;
use crate::error::StartError;
use crate::listen::{self, Listener};
use crate::log::{Level, LogFormat, OncePerMinute};
use crate::memory::{self, Memory};
use crate::metrics::ServerMetrics;
use crate::service::Service;
use crate::settings::{Bounds, Settings};
use crate::tls::{self, ReloadableAcceptor};

/// How long threads may go on after the last connection has ended.
const THREADS_END: Duration = Duration::from_secs(1);
/// Threads that make the pieces of answers. More would take the cores from checks.
const MAKERS: usize = 2;

/// A server that listens and does not accept connections yet.
pub struct Server {
    listeners: Vec<Listener>,
    warnings: Vec<String>,
    service: Arc<Service>,
    tls: Option<ReloadableAcceptor>,
    stop: watch::Sender<bool>,
}

/// Ends a server, from any thread.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Has the server stop accepting, finish what is open, and return.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Whether a server could be opened with `settings` now, before there is an engine for it: a start that is refused leaves nothing
    /// behind. It listens nowhere.
    ///
    /// # Errors
    /// As [`Server::open`].
    pub fn examine(settings: &Settings) -> Result<(), StartError> {
        Admission::new(settings.tokens.clone(), &settings.allowed_hosts)?;
        if let Some(files) = &settings.tls {
            tls::load(files)?;
        }
        listen::examine(settings)
    }

    /// Opens the sockets of `settings`.
    ///
    /// # Errors
    /// Settings that would be dangerous, files that cannot be read, addresses that are not available.
    pub fn open(engine: Arc<Engine>, settings: &Settings, log: LogFormat) -> Result<Self, StartError> {
        // What can be refused without a socket comes first.
        let admission = Admission::new(settings.tokens.clone(), &settings.allowed_hosts)?;
        let tls = settings.tls.as_ref().map(ReloadableAcceptor::open).transpose()?;
        let (listeners, mut warnings) = listen::open(settings)?;
        warnings.extend(settings.tls.as_ref().and_then(tls::key_warning));
        warnings.extend(settings.tls.as_ref().and_then(tls::validity_warning));
        // As many connections as there are descriptors for.
        let each = listeners.iter().map(Listener::descriptors).max().unwrap_or(1);
        let (connections, too_few) = descriptors::provide(settings.bounds.connections, each);
        warnings.extend(too_few);
        let bounds = Bounds { connections, ..settings.bounds.clone() };
        let connections = Connections::new(bounds.clone());
        connections.share(admission.has_several_tokens());
        let memory = Memory::default();
        let service = Arc::new(Service {
            engine,
            admission,
            durability: DurabilityWaiters::default(),
            pool: BlockingPool::new(bounds.blocking),
            metrics: ServerMetrics::default(),
            connections,
            limiter_metrics: settings.metrics.clone(),
            log,
            bulk: Arc::new(Semaphore::new(1)),
            bodies: Budget::new(bounds.many_bodies_bytes, bounds.many_bodies_bytes_per_client, memory.clone()),
            answers: Budget::new(bounds.answers_bytes, bounds.answers_bytes_per_client, memory.clone()),
            makers: Arc::new(Semaphore::new(MAKERS)),
            memory,
            bounds,
            accept_failure: OncePerMinute::default(),
            storage_failure: OncePerMinute::default(),
        });
        Ok(Self { listeners, warnings, service, tls, stop: watch::Sender::new(false) })
    }

    /// Where it listens, as URLs.
    pub fn urls(&self) -> Vec<String> {
        self.listeners.iter().map(|listener| listener.url(self.tls.is_some())).collect()
    }

    /// What ends it.
    pub fn stopper(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Answers requests in this thread until it is stopped; with `signals` also until SIGTERM or SIGINT, and reads tokens and
    /// certificate again on SIGHUP.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn run(self, signals: bool) -> Result<(), StartError> {
        if signals {
            // The process is the server's. That of an application is its own.
            memory::return_large_blocks();
        }
        let blocking = self.service.bounds.blocking;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking + 8)
            .thread_name("flint-work")
            .build()
            .map_err(cannot_run)?;
        let ended = runtime.block_on(self.serve(signals));
        // No client waits for an answer any more. Threads that are still at work use the engine, whose close() waits for them, or
        // make the text of metrics, which the caller of this has to expect.
        runtime.shutdown_timeout(THREADS_END);
        ended
    }

    async fn serve(self, signals: bool) -> Result<(), StartError> {
        let log = self.service.log;
        let urls = self.urls();
        let Self { listeners, warnings, service, tls, stop } = self;
        for warning in warnings {
            log.write(Level::Warning, &warning);
        }
        let tls = tls.map(Arc::new);
        // 1. Signals, before the log says that it listens: from then on another process may send some.
        let signals = signals.then(Signals::new).transpose().map_err(cannot_run)?;
        // 2. Connections.
        let mut stopping = stop.subscribe();
        let mut accepting = Vec::new();
        for listener in listeners {
            accepting.push(tokio::spawn(accept(listener, service.clone(), tls.clone(), stopping.clone())));
        }
        tokio::spawn(sweep(service.clone()));
        tokio::spawn(wake(service.clone()));
        for url in urls {
            log.write(Level::Info, &format!("listening on {url}"));
        }
        notify(&[NotifyState::Ready], log);
        // 3. Until it is stopped.
        match signals {
            Some(signals) => signals.wait_for_end(&service, tls.as_deref(), &mut stopping).await,
            // The sender lives as long as this: the error cannot happen.
            None => drop(stopping.wait_for(|stop| *stop).await),
        }
        log.write(Level::Info, "shutting down");
        notify(&[NotifyState::Stopping], log);
        stop.send_replace(true);
        for task in accepting {
            // The socket is closed when this has ended: no client connects any more.
            let _ = task.await;
        }
        // 4. Open requests finish, those that do not in time are dropped.
        let all_ended = async {
            while service.connections.count() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(Duration::from_millis(service.bounds.shutdown_timeout_ms), all_ended).await.is_err() {
            let left = service.connections.count();
            log.write(Level::Warning, &format!("{left} connections were dropped: they did not end in time"));
            service.connections.abort_all();
        }
        Ok(())
    }
}

fn cannot_run(error: io::Error) -> StartError {
    StartError::system(format!("the server cannot run: {error}"))
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("urls", &self.urls()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::Path;
    use std::thread;

    use flint_core::engine::Options;

    use super::*;

    struct Client(BufReader<UnixStream>);

    impl Client {
        fn new(path: &Path) -> Self {
            Self(BufReader::new(UnixStream::connect(path).unwrap()))
        }

        /// The answer to a request without a body.
        fn request(&mut self, line: &str) -> (String, String) {
            write!(self.0.get_mut(), "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").unwrap();
            let (mut status, mut length) = (String::new(), 0);
            self.0.read_line(&mut status).unwrap();
            loop {
                let mut header = String::new();
                self.0.read_line(&mut header).unwrap();
                match header.trim().split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            (status.trim().to_owned(), String::from_utf8(body).unwrap())
        }
    }

    #[test]
    fn the_panic_of_a_handler_is_a_problem_of_its_request_alone() {
        const AT_ONCE: usize = 2;
        let dir = tempfile::tempdir().unwrap();
        let engine = Arc::new(Engine::open(&dir.path().join("data"), Options::default()).unwrap());
        let socket = dir.path().join("s");
        let settings = Settings {
            unix: Some(socket.clone()),
            bounds: Bounds { blocking: AT_ONCE, ..Bounds::default() },
            ..Settings::default()
        };
        let server = Server::open(engine.clone(), &settings, LogFormat::Text).unwrap();
        let stop = server.stopper();
        let running = thread::spawn(move || server.run(false));
        let (mut one, mut other) = (Client::new(&socket), Client::new(&socket));
        // More often than there are threads, and places in the queue before them.
        for (path, times) in [("/v1/panic", 3), ("/v1/panic-in-a-thread", 100)] {
            for _ in 0..times {
                let (status, body) = one.request(&format!("POST {path}"));
                assert_eq!(status, "HTTP/1.1 500 Internal Server Error");
                assert!(body.contains(r#""code":"internal""#) && !body.contains("deliberate"), "{body}");
            }
        }
        for client in [&mut one, &mut other] {
            assert_eq!(client.request("GET /v1/health").0, "HTTP/1.1 200 OK");
            assert_eq!(client.request("GET /v1/doctor").0, "HTTP/1.1 200 OK", "a thread is free");
        }
        stop.stop();
        running.join().unwrap().unwrap();
        engine.close().unwrap();
    }
}
