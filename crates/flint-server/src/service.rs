//! From a request to its answer.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flint_core::Engine;
use flint_core::engine::WaitPolicy;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::asked::{Asked, Query, decoded, to_json, wants_exact};
use crate::call::{Decided, Decision, Executor};
use crate::connection::{Connection, Connections};
use crate::durable::Durable;
use crate::gate::Gate;
use crate::once::call_id;
use crate::openapi;
use crate::pool::Pool;
use crate::problem::{Code, Problem};
use crate::report::{Level, LogFormat, Seldom};
use crate::route::{self, Act, HealthAnswer, Route};
use crate::start::{Bounds, MetricsText};
use crate::stats::Stats;
use crate::wire::exact::MEDIA_TYPE;

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every request is answered with.
pub(crate) struct Service {
    /// The limiter.
    pub(crate) engine: Arc<Engine>,
    /// Who gets in.
    pub(crate) gate: Gate,
    /// Bounds on what clients may do.
    pub(crate) bounds: Bounds,
    /// Requests that wait for the disk.
    pub(crate) durable: Durable,
    /// Threads.
    pub(crate) pool: Pool,
    /// Answers so far.
    pub(crate) stats: Stats,
    /// Open connections.
    pub(crate) connections: Connections,
    /// Text about the limiter.
    pub(crate) metrics: Option<MetricsText>,
    /// Where reports go.
    pub(crate) log: LogFormat,
    /// One large body at a time.
    pub(crate) many: Semaphore,
    /// For the report that connections cannot be accepted.
    pub(crate) no_descriptor: Seldom,
    /// For the report that the storage refuses calls.
    pub(crate) refused_by_storage: Seldom,
}

/// How far a request has come, for whoever answers it when something is wrong.
struct Progress {
    /// What it leads to, once that is known.
    route: Option<&'static Route>,
    /// Whether it has a body that was not read to its end.
    unread: bool,
}

impl Service {
    /// The answer to a request. `local` is true for a Unix socket.
    pub(crate) async fn answer(&self, request: Request<Incoming>, connection: &Connection, local: bool) -> Answer {
        if connection.asked() {
            // Requests that came together would otherwise be answered sixteen at a time, while other connections wait.
            tokio::task::yield_now().await;
        }
        let mut progress = Progress { route: None, unread: !request.body().is_end_stream() };
        let answered = unwinding(self.guarded(request, connection, local, &mut progress)).await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => {
                if problem.code() == Code::Storage && self.refused_by_storage.is_due() {
                    let message = format!("calls are refused: {}; this is said once a minute", problem.detail());
                    self.log.write(Level::Error, &message);
                }
                problem.response()
            }
            Err(_) => {
                self.log.write(Level::Error, "a request failed unexpectedly; please report it");
                Problem::new(Code::Internal, "the request failed unexpectedly; please report it").response()
            }
        };
        let status = response.status().as_u16();
        self.stats.count(progress.route.map(route::index), status);
        if progress.unread {
            // Nobody reads what is left of the request: the client has to know that its next one needs another connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        connection.answered(!matches!(status, 401 | 403));
        response
    }

    async fn guarded(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        local: bool,
        progress: &mut Progress,
    ) -> Result<Answer, Problem> {
        let (head, body) = request.into_parts();
        let (principal, scopes) = self.gate.admit(&head.headers, head.uri.authority().map(Authority::as_str), local)?;
        let (route, key) = route::find(head.method.as_str(), head.uri.path())?;
        progress.route = Some(route);
        if let Some(scope) = route.scope.filter(|scope| !scopes.has(*scope)) {
            let detail = format!("this needs the scope {}, which the token does not have", scope.name());
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let most = if matches!(route.act, Act::Many(_)) { self.bounds.many_body_bytes } else { self.bounds.body_bytes };
        let _turn = if matches!(route.act, Act::Many(_)) {
            let busy = || Problem::new(Code::Busy, "another request sets many limits; try again in a second");
            Some(self.many.try_acquire().map_err(|_| busy())?)
        } else {
            None
        };
        let body = self.body(route, &head.headers, body, connection, most).await?;
        progress.unread = false;
        let mut names = head.headers.get_all(&IDEMPOTENCY_KEY).iter().filter(|_| route.repeatable);
        let call = match (names.next(), names.next()) {
            (Some(_), Some(_)) => {
                return Err(Problem::new(Code::InvalidArgument, "the request has two Idempotency-Key headers"));
            }
            (Some(name), None) => Some(call_id(name, &principal, route.path, &body)?),
            (None, _) => None,
        };
        let asked = Asked {
            body,
            path_key: key.map(decoded).transpose()?,
            query: Query::parse(head.uri.query().unwrap_or_default(), route.query)?,
            exact: wants_exact(head.headers.get(ACCEPT).map(HeaderValue::as_bytes)),
            call,
        };
        self.in_time(connection, self.act(route, asked)).await
    }

    /// The body, once it is there and if it may be.
    async fn body(
        &self,
        route: &Route,
        headers: &HeaderMap,
        mut body: Incoming,
        connection: &Connection,
        most: usize,
    ) -> Result<Bytes, Problem> {
        if body.is_end_stream() {
            return match route.body {
                Some((_, true)) => Err(Problem::new(Code::InvalidJson, "the request needs a body of JSON")),
                _ => Ok(Bytes::new()),
            };
        }
        if route.body.is_none() {
            return Err(Problem::new(Code::InvalidArgument, "this request has no body"));
        }
        if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send Content-Type: application/json"));
        }
        let too_large = || {
            Problem::new(Code::BodyTooLarge, format!("the body is larger than {most} bytes, the most that is accepted"))
        };
        let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > most as u64) {
            return Err(too_large());
        }
        connection.awaits_body();
        let collected = async {
            let mut whole = Bytes::new();
            let mut parts = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame
                    .map_err(|_| Problem::new(Code::InvalidArgument, "the body ended too early or is malformed"))?;
                let Ok(data) = frame.into_data() else { continue };
                if whole.len() + parts.len() + data.len() > most {
                    return Err(too_large());
                }
                if whole.is_empty() && parts.is_empty() {
                    whole = data;
                } else {
                    parts.extend_from_slice(&std::mem::take(&mut whole));
                    parts.extend_from_slice(&data);
                }
            }
            Ok(if parts.is_empty() { whole } else { parts.freeze() })
        };
        let late = || Problem::new(Code::RequestTimeout, "the body did not arrive in time");
        let body = self.within(connection, collected).await.ok_or_else(late)??;
        connection.has_body();
        Ok(body)
    }

    /// What is left of a request's time.
    fn left(&self, connection: &Connection) -> Duration {
        let spent = self.connections.now_ms().saturating_sub(connection.began_ms());
        Duration::from_millis(self.bounds.request_timeout_ms.saturating_sub(spent).max(1))
    }

    /// Runs `work` until it is done or the request's time is over. Most is done at once and needs no timer.
    async fn within<T>(&self, connection: &Connection, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let first = std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
        match first {
            Poll::Ready(done) => Some(done),
            Poll::Pending => timeout(self.left(connection), work).await.ok(),
        }
    }

    async fn in_time(
        &self,
        connection: &Connection,
        work: impl Future<Output = Result<Answer, Problem>>,
    ) -> Result<Answer, Problem> {
        let late = || {
            Problem::new(
                Code::Timeout,
                "the answer took too long; what was asked for may have been done, and a repetition with the same \
                 Idempotency-Key tells",
            )
        };
        self.within(connection, work).await.ok_or_else(late)?
    }

    async fn act(&self, route: &'static Route, asked: Asked) -> Result<Answer, Problem> {
        match route.act {
            Act::Decide(decide) => self.decided(decide, asked).await,
            Act::Scan(scan) | Act::Many(scan) => {
                let exact = asked.exact;
                let body = self.pool.scan(&self.engine, move |engine| scan(engine, &asked)).await?;
                Ok(json(body, exact))
            }
            Act::Health => {
                self.engine.health()?;
                let answer = HealthAnswer { status: "ok", version: env!("CARGO_PKG_VERSION") };
                Ok(json(to_json(&answer)?, false))
            }
            Act::Describe => Ok(json(openapi::text(self.gate.needs_token()), false)),
            Act::Metrics => self.metrics().await,
        }
    }

    async fn decided(
        &self,
        decide: fn(&Engine, &Asked, Executor) -> Decision,
        asked: Asked,
    ) -> Result<Answer, Problem> {
        let exact = asked.exact;
        let at_once = match decide(&self.engine, &asked, Executor::Loop(WaitPolicy::Never))? {
            // Somebody decides at this moment: nobody holds the lock while the disk works.
            None => decide(&self.engine, &asked, Executor::Loop(WaitPolicy::Lock))?,
            decided => decided,
        };
        let Decided { body, seq, always, repeated } = match at_once {
            Some(decided) => decided,
            // The log needs room, which only the disk can give.
            None => {
                let patient = move |engine: &Engine| {
                    decide(engine, &asked, Executor::Thread).map(|decided| decided.expect("a thread waits"))
                };
                self.pool.run(&self.engine, patient).await?
            }
        };
        if always || self.engine.must_wait(seq) {
            self.durable.wait(&self.engine, seq).await?;
        }
        let mut response = json(body, exact);
        if repeated {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    async fn metrics(&self) -> Result<Answer, Problem> {
        let own = self.stats.text(&self.connections);
        let text = match self.metrics.clone() {
            None => own,
            Some(metrics) => {
                let limiter = self
                    .pool
                    .scan(&self.engine, move |_| metrics().map_err(|error| Problem::new(Code::Storage, error)));
                limiter.await? + &own
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
        Ok(response)
    }
}

fn json(body: impl Into<Bytes>, exact: bool) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    let kind = if exact { MEDIA_TYPE } else { "application/json" };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn is_json(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    value[..end].trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Runs `work` and catches its panics: they end this request and nothing else.
async fn unwinding<T>(work: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut work = pin!(work);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_its_own_work() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let panicked = runtime.block_on(unwinding(async {
            tokio::task::yield_now().await;
            panic!("deliberate");
        }));
        std::panic::set_hook(hook);
        let panicked: Result<(), _> = panicked;
        assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"deliberate"));
        assert_eq!(runtime.block_on(unwinding(async { 5 })).unwrap(), 5);
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/jsonp", false),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
