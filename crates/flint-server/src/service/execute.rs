//! Running a route's handler: in the event loop, or in a thread of the pool.

use flint_core::Engine;
use hyper::header::{HeaderName, HeaderValue};

use super::response::{self, Response, json};
use super::state::Service;
use crate::handlers::{Executor, HandlerResult, Reply, to_json};
use crate::openapi;
use crate::parsed_request::ParsedRequest;
use crate::problem::{Code, Problem};
use crate::routes::{Handler, HealthAnswer, Route};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Runs the handler of `route` and returns its response.
///
/// # Errors
/// Those of the handler; `busy` when the queue of the pool is full.
pub(super) async fn execute(
    service: &Service,
    route: &'static Route,
    request: ParsedRequest,
) -> Result<Response, Problem> {
    match route.handler {
        Handler::Decide(handler) => decide(service, handler, request).await,
        Handler::Scan(handler) | Handler::Bulk(handler) => {
            let exact = request.exact;
            let body = service.pool.scan(&service.engine, move |engine| handler(engine, &request)).await?;
            Ok(json(body, exact))
        }
        Handler::Health => {
            service.engine.health()?;
            let answer = HealthAnswer { status: "ok", version: env!("CARGO_PKG_VERSION") };
            Ok(json(to_json(&answer)?, false))
        }
        Handler::OpenApi => Ok(json(openapi::text(service.admission.needs_token()), false)),
        Handler::Metrics => metrics(service).await,
    }
}

async fn decide(
    service: &Service,
    handler: fn(&Engine, &ParsedRequest, Executor) -> HandlerResult,
    request: ParsedRequest,
) -> Result<Response, Problem> {
    let exact = request.exact;
    // 1. The decision, here if the log has room for its record.
    let Reply { body, seq, flush, repeated } = match handler(&service.engine, &request, Executor::EventLoop)? {
        Some(reply) => reply,
        // Making room takes the disk: the same request again, in a thread. Nothing changed so far.
        None => {
            let in_thread = move |engine: &Engine| {
                handler(engine, &request, Executor::Thread).map(|reply| reply.expect("a thread waits for room"))
            };
            service.pool.run(&service.engine, in_thread).await?
        }
    };
    // 2. The record is durable before the decision is acknowledged, if the sync mode says so.
    if flush || service.engine.must_wait(seq) {
        service.durability.wait(&service.engine, seq).await?;
    }
    // 3. The acknowledgement.
    let mut response = json(body, exact);
    if repeated {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn metrics(service: &Service) -> Result<Response, Problem> {
    let own = service.metrics.text(&service.connections);
    let text = match service.limiter_metrics.clone() {
        None => own,
        Some(limiter) => {
            let text = move |_: &Engine| limiter().map_err(|error| Problem::new(Code::Storage, error));
            service.pool.scan(&service.engine, text).await? + &own
        }
    };
    Ok(response::metrics(text))
}
