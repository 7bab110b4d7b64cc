//! The server: accepts connections until it is told to end, then lets open requests finish.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use flint_core::Engine;
use flint_core::engine::Severity;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sd_notify::NotifyState;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_rustls::TlsAcceptor;

use crate::connection::{Connection, Connections, SWEEP_EVERY};
use crate::descriptors;
use crate::durable::Durable;
use crate::gate::Gate;
use crate::listen::{self, Listener};
use crate::local::LocalStream;
use crate::pool::Pool;
use crate::problem::{Code, Problem};
use crate::report::{Level, LogFormat, Seldom};
use crate::service::Service;
use crate::start::{Bounds, Settings, StartError, TlsFiles};
use crate::stats::Stats;
use crate::tls;

/// After an `accept` that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that listens and does not answer yet.
pub struct Server {
    listeners: Vec<Listener>,
    warnings: Vec<String>,
    service: Arc<Service>,
    tls: Option<Tls>,
    stop: watch::Sender<bool>,
}

struct Tls {
    files: TlsFiles,
    acceptor: RwLock<TlsAcceptor>,
}

impl Tls {
    fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
        Gate::new(settings.tokens.clone(), &settings.allowed_hosts)?;
        if let Some(files) = &settings.tls {
            tls::load(files)?;
        }
        listen::examine(settings)
    }

    /// Opens the sockets of `settings`.
    ///
    /// # Errors
    /// Settings that would be dangerous, files that cannot be read, addresses that cannot be had.
    pub fn open(engine: Arc<Engine>, settings: &Settings, log: LogFormat) -> Result<Self, StartError> {
        let gate = Gate::new(settings.tokens.clone(), &settings.allowed_hosts)?;
        let tls = match &settings.tls {
            Some(files) => {
                let acceptor = RwLock::new(TlsAcceptor::from(tls::load(files)?));
                Some(Tls { files: files.clone(), acceptor })
            }
            None => None,
        };
        let (listeners, mut warnings) = listen::open(settings)?;
        warnings.extend(settings.tls.as_ref().and_then(tls::judge));
        let each = listeners.iter().map(Listener::descriptors).max().unwrap_or(1);
        let (connections, scarce) = descriptors::provide(settings.bounds.connections, each);
        warnings.extend(scarce);
        let bounds = Bounds { connections, ..settings.bounds.clone() };
        let service = Arc::new(Service {
            engine,
            gate,
            durable: Durable::default(),
            pool: Pool::new(bounds.blocking),
            stats: Stats::default(),
            connections: Connections::new(bounds.clone()),
            bounds,
            metrics: settings.metrics.clone(),
            log,
            many: Semaphore::new(1),
            no_descriptor: Seldom::default(),
            refused_by_storage: Seldom::default(),
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
    /// What the operating system refuses.
    pub fn run(self, signals: bool) -> Result<(), StartError> {
        let blocking = self.service.bounds.blocking;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(blocking + 8)
            .thread_name("flint-work")
            .build()
            .map_err(failed)?;
        let shutdown_timeout = Duration::from_millis(self.service.bounds.shutdown_timeout_ms);
        let ended = runtime.block_on(self.serve(signals));
        // What still runs in a thread works on the engine, whose closing waits for it.
        runtime.shutdown_timeout(shutdown_timeout);
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
        // Before anybody is told that it listens: who knows that may send signals.
        let signals = signals.then(Signals::new).transpose()?;
        let mut told = stop.subscribe();
        let mut accepting = Vec::new();
        for listener in listeners {
            accepting.push(tokio::spawn(accept(listener, service.clone(), tls.clone(), told.clone())));
        }
        tokio::spawn(sweep(service.clone()));
        tokio::spawn(wake(service.clone()));
        for url in urls {
            log.write(Level::Info, &format!("listening on {url}"));
        }
        notify(&[NotifyState::Ready], log);
        match signals {
            Some(signals) => signals.until_the_end(&service, tls.as_deref(), &mut told).await,
            // The sender lives as long as this: the error cannot happen.
            None => drop(told.wait_for(|stop| *stop).await),
        }
        log.write(Level::Info, "shutting down");
        notify(&[NotifyState::Stopping], log);
        stop.send_replace(true);
        for task in accepting {
            // The sockets are closed when this has ended: nobody connects any more.
            let _ = task.await;
        }
        let all_ended = async {
            while service.connections.count() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let patience = Duration::from_millis(service.bounds.shutdown_timeout_ms);
        if tokio::time::timeout(patience, all_ended).await.is_err() {
            let left = service.connections.count();
            log.write(Level::Warning, &format!("{left} connections were dropped: they did not end in time"));
            service.connections.end();
        }
        Ok(())
    }
}

fn failed(error: io::Error) -> StartError {
    StartError::system(format!("the server cannot run: {error}"))
}

fn notify(states: &[NotifyState<'_>], log: LogFormat) {
    if let Err(error) = sd_notify::notify(states) {
        log.write(Level::Warning, &format!("systemd could not be told: {error}"));
    }
}

/// The signals that a server of its own process listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they end the process no more.
    fn new() -> Result<Self, StartError> {
        let [terminate, interrupt, hangup] = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()]
            .map(|kind| signal(kind).map_err(failed));
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hangup: hangup? })
    }

    /// Returns when the server has to end.
    async fn until_the_end(mut self, service: &Service, tls: Option<&Tls>, told: &mut watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = told.wait_for(|stop| *stop) => return,
                _ = self.hangup.recv() => reload(service, tls),
            }
        }
    }
}

fn reload(service: &Service, tls: Option<&Tls>) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now], service.log);
    }
    match service.gate.reload() {
        Ok(()) => service.log.write(Level::Info, "read the tokens again"),
        Err(error) => service.log.write(Level::Error, &format!("{error}; the tokens stay as they were")),
    }
    if let Some(tls) = tls {
        match tls::load(&tls.files) {
            Ok(config) => {
                *tls.acceptor.write().unwrap_or_else(PoisonError::into_inner) = TlsAcceptor::from(config);
                service.log.write(Level::Info, "read the certificate again");
            }
            Err(error) => service.log.write(Level::Error, &format!("{error}; the certificate stays as it was")),
        }
    }
    notify(&[NotifyState::Ready], service.log);
}

/// Wakes the requests whose records are on disk.
async fn wake(service: Arc<Service>) {
    if let Err(error) = service.durable.serve(&service.engine).await {
        service.log.write(Level::Error, &format!("nobody is told any more what is on disk: {error}"));
    }
}

/// Drops what takes too long, passes on what the engine has to say, and tells systemd that the loop turns.
async fn sweep(service: Arc<Service>) {
    let mut every = interval(SWEEP_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let mut told = tokio::time::Instant::now();
    loop {
        let now = every.tick().await;
        service.connections.sweep();
        if service.engine.has_notices() {
            for notice in service.engine.take_notices() {
                let level = match notice.severity {
                    Severity::Warning => Level::Warning,
                    Severity::Error => Level::Error,
                };
                service.log.write(level, &notice.message);
            }
        }
        if watchdog.is_some_and(|every| now.duration_since(told) >= every) {
            told = now;
            notify(&[NotifyState::Watchdog], service.log);
        }
    }
}

async fn accept(listener: Listener, service: Arc<Service>, tls: Option<Arc<Tls>>, mut told: watch::Receiver<bool>) {
    match listener {
        Listener::Tcp(socket, address) => {
            let socket = match TcpListener::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => return service.log.write(Level::Error, &format!("cannot listen on {address}: {error}")),
            };
            while let Some(accepted) = next(socket.accept(), &mut told).await {
                let Some((stream, _)) = admitted(accepted, &service).await else { continue };
                let _ = stream.set_nodelay(true);
                match &tls {
                    None => connected(stream, false, service.clone(), told.clone()),
                    Some(tls) => shaken(tls.acceptor(), stream, service.clone(), told.clone()),
                }
            }
        }
        Listener::Unix(socket, path, _file) => {
            let socket = match UnixListener::from_std(socket) {
                Ok(socket) => socket,
                Err(error) => {
                    return service.log.write(Level::Error, &format!("cannot listen on {}: {error}", path.display()));
                }
            };
            while let Some(accepted) = next(socket.accept(), &mut told).await {
                let Some((stream, _)) = admitted(accepted, &service).await else { continue };
                match stream.into_std().and_then(LocalStream::new) {
                    Ok(stream) => connected(stream, true, service.clone(), told.clone()),
                    Err(error) => service.log.write(Level::Warning, &format!("cannot take a connection over: {error}")),
                }
            }
        }
    }
}

/// What `accept` gives; `None` when the server ends.
async fn next<T>(accept: impl Future<Output = T>, told: &mut watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        biased;
        _ = told.wait_for(|stop| *stop) => None,
        accepted = accept => Some(accepted),
    }
}

async fn admitted<T>(accepted: io::Result<T>, service: &Service) -> Option<T> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(error) => {
            if service.no_descriptor.is_due() {
                let message = format!("cannot accept connections: {error}; this is said once a minute");
                service.log.write(Level::Warning, &message);
            }
            // Descriptors are missing, most likely; those that come free do so while others end.
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn connected<S>(stream: S, local: bool, service: Arc<Service>, told: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Some(connection) = service.connections.admit() else {
        tokio::spawn(turn_away(stream));
        return;
    };
    let noted = connection.clone();
    let task = tokio::spawn(async move {
        let _place = Place { service: &service, connection: &connection };
        speak(stream, local, &service, &connection, told).await;
    });
    noted.set_task(task.abort_handle());
}

fn shaken(acceptor: TlsAcceptor, stream: tokio::net::TcpStream, service: Arc<Service>, told: watch::Receiver<bool>) {
    // Nothing can be said before the handshake.
    let Some(connection) = service.connections.admit() else { return };
    let noted = connection.clone();
    let task = tokio::spawn(async move {
        let _place = Place { service: &service, connection: &connection };
        if let Ok(stream) = acceptor.accept(stream).await {
            speak(stream, false, &service, &connection, told).await;
        }
    });
    noted.set_task(task.abort_handle());
}

/// Gives the connection's place back, also when its task is aborted.
struct Place<'a> {
    service: &'a Service,
    connection: &'a Arc<Connection>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.service.connections.leave(self.connection);
    }
}

async fn speak<S>(
    stream: S,
    local: bool,
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    mut told: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = TokioIo::new(crate::stream::Noted::new(stream, connection.clone()));
    let answer = service_fn(|request| {
        let (service, connection) = (service.clone(), connection.clone());
        async move { Ok::<_, Infallible>(service.answer(request, &connection, local).await) }
    });
    let bounds = &service.bounds;
    let conversation = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(bounds.headers)
        .max_header_size(bounds.head_bytes)
        .max_buf_size(bounds.head_bytes.max(8 * 1024) * 2)
        // Answers are written as they come. Collecting those to requests that came together has no bound in hyper: a client
        // that asks without end and reads nothing would fill the memory, and the refusal of a head that cannot be read would
        // stay in the buffer.
        .writev(false)
        .serve_connection(stream, answer);
    let mut conversation = pin!(conversation);
    // What went wrong concerns the client alone, who was told where that was possible.
    tokio::select! {
        _ = conversation.as_mut() => return,
        _ = told.wait_for(|stop| *stop) => {}
    }
    conversation.as_mut().graceful_shutdown();
    let _ = conversation.await;
}

/// Says that there is no place.
async fn turn_away<S: AsyncWrite + Unpin>(mut stream: S) {
    let busy = Problem::new(Code::Busy, "too many connections are open; try again in a second").unasked();
    let said = async {
        let _ = stream.write_all(&busy).await;
        let _ = stream.shutdown().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), said).await;
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
        fn ask(&mut self, line: &str) -> (String, String) {
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
                let (status, body) = one.ask(&format!("POST {path}"));
                assert_eq!(status, "HTTP/1.1 500 Internal Server Error");
                assert!(body.contains(r#""code":"internal""#) && !body.contains("deliberate"), "{body}");
            }
        }
        for client in [&mut one, &mut other] {
            assert_eq!(client.ask("GET /v1/health").0, "HTTP/1.1 200 OK");
            assert_eq!(client.ask("GET /v1/doctor").0, "HTTP/1.1 200 OK", "a thread is free");
        }
        stop.stop();
        running.join().unwrap().unwrap();
        engine.close().unwrap();
    }
}
