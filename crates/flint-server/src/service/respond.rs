//! The response to a request: admission, route, body, handler; a problem where one of these fails.

use std::sync::Arc;

use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Version};

use super::answer_body::AnswerBody;
use super::execute::{Job, execute};
use super::response::Response;
use super::state::Service;
use super::{body, deadline, panics};
use crate::auth::Principal;
use crate::cancellation::Cancellation;
use crate::connection::Connection;
use crate::idempotency::call_id;
use crate::log::Level;
use crate::parsed_request::{ParsedRequest, Query, percent_decoded, wants_exact};
use crate::problem::{Code, EVERY_RESPONSE, Problem};
use crate::routes::{self, Handler, Route};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How far a request has come, also when it failed on the way.
struct Progress {
    /// Its route, once it is known.
    route: Option<&'static Route>,
    /// Whether it has a body that was not read to its end.
    unread: bool,
}

/// The response to a request. `local` is true for a Unix socket.
pub(crate) async fn respond(
    service: &Service,
    request: Request<Incoming>,
    connection: &Arc<Connection>,
    local: bool,
) -> Response {
    if connection.head_complete() {
        // Pipelined requests would otherwise be answered sixteen at a time, while other connections wait.
        tokio::task::yield_now().await;
    }
    let mut progress = Progress { route: None, unread: !request.body().is_end_stream() };
    let served = panics::catching(serve(service, request, connection, local, &mut progress)).await;
    let mut response = match served {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => {
            if problem.code() == Code::Storage && service.storage_failure.is_due() {
                let message = format!("calls are refused: {}; logged once a minute", problem.detail());
                service.log.write(Level::Error, &message);
            }
            of_problem(&problem)
        }
        Err(_) => {
            service.log.write(Level::Error, "a request failed unexpectedly; please report it");
            of_problem(&Problem::new(Code::Internal, "the request failed unexpectedly; please report it"))
        }
    };
    let status = response.status().as_u16();
    service.metrics.count(progress.route.map(routes::index), status);
    let headers = response.headers_mut();
    for (name, value) in EVERY_RESPONSE {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if progress.unread {
        // The rest of the request is not read: the client's next request needs another connection.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    connection.answered(!matches!(status, 401 | 403));
    response
}

fn of_problem(problem: &Problem) -> Response {
    problem.response().map(|body| AnswerBody::whole(body, None))
}

/// Refuses a request of HTTP/1.1 that does not say for which host it is, or says so twice (RFC 9112, 3.2).
fn require_host(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version >= Version::HTTP_11 => {
            Err(Problem::new(Code::InvalidArgument, "the request has no Host header; HTTP/1.1 requires one"))
        }
        (Some(_), Some(_)) => Err(Problem::new(Code::InvalidArgument, "the request has two Host headers; send one")),
        _ => Ok(()),
    }
}

async fn serve(
    service: &Service,
    request: Request<Incoming>,
    connection: &Arc<Connection>,
    local: bool,
    progress: &mut Progress,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    // 1. Admission comes first: a client without a token learns nothing about paths.
    require_host(head.version, &head.headers)?;
    let authority = head.uri.authority().map(Authority::as_str);
    let (principal, scopes) = service.admission.admit(&head.headers, authority, local)?;
    if !service.connections.claim(connection, principal) {
        return Err(Problem::new(Code::Busy, "this token has too many connections open; try again in a second"));
    }
    // 2. The route, and whether the token allows it.
    let (route, key) = routes::find(head.method.as_str(), head.uri.path())?;
    progress.route = Some(route);
    if let Some(scope) = route.scope.filter(|scope| !scopes.has(*scope)) {
        let detail = format!("this needs the scope {}, which the token does not have", scope.name());
        return Err(Problem::new(Code::Forbidden, detail));
    }
    // 3. The body.
    let is_bulk = matches!(route.handler, Handler::Bulk(_));
    let max_bytes = if is_bulk { service.bounds.many_body_bytes } else { service.bounds.body_bytes };
    let body::ReadBody { bytes, reserved } =
        body::read(service, route, &head.headers, body, connection, principal, max_bytes).await?;
    progress.unread = false;
    // 4. The request apart from HTTP.
    let request = ParsedRequest {
        call: idempotent_call(route, &head.headers, &principal, &bytes)?,
        body: bytes,
        path_key: key.map(percent_decoded).transpose()?,
        query: Query::parse(head.uri.query().unwrap_or_default(), route.query)?,
        exact: wants_exact(head.headers.get(ACCEPT).map(HeaderValue::as_bytes)),
        cancellation: Cancellation::default(),
    };
    // 5. The handler, within what is left of the request's time.
    let late = || {
        Problem::new(
            Code::Timeout,
            "the answer took too long; the call may have been executed: repeat it with the same Idempotency-Key for \
             its answer",
        )
    };
    let job = Job { route, request, principal, connection, body: reserved };
    deadline::within(service, connection, execute(service, job)).await.ok_or_else(late)?
}

/// The id of a call that may be repeated.
fn idempotent_call(
    route: &Route,
    headers: &HeaderMap,
    principal: &Principal,
    body: &[u8],
) -> Result<Option<flint_core::engine::CallId>, Problem> {
    let mut keys = headers.get_all(&IDEMPOTENCY_KEY).iter().filter(|_| route.repeatable);
    match (keys.next(), keys.next()) {
        (Some(_), Some(_)) => Err(Problem::new(Code::InvalidArgument, "the request has two Idempotency-Key headers")),
        (Some(key), None) => call_id(key, principal, route.path, body).map(Some),
        (None, _) => Ok(None),
    }
}
