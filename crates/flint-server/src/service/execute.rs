//! Running a route's handler: in the event loop, or in a thread of the pool.

use std::sync::Arc;

use bytes::Bytes;
use flint_core::Engine;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use super::answer_body::{AnswerBody, Maker};
use super::deadline::within;
use super::response::{self, Response, json};
use super::state::Service;
use crate::auth::Principal;
use crate::budget::Reservation;
use crate::connection::Connection;
use crate::handlers::{Answer, Executor, HandlerResult, Pieces, Reply, to_json};
use crate::openapi;
use crate::parsed_request::ParsedRequest;
use crate::problem::{Code, Problem};
use crate::routes::{Handler, HealthAnswer, Route};

const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Answers that take less memory are not counted: a connection has more for its buffers.
const FEW: usize = 32 * 1024;

/// What a handler is run for.
pub(super) struct Job<'a> {
    pub(super) route: &'static Route,
    pub(super) request: ParsedRequest,
    pub(super) principal: Principal,
    pub(super) connection: &'a Arc<Connection>,
    /// The part of the budget that the body takes.
    pub(super) body: Option<Reservation>,
}

/// Runs the handler of a route and returns its response.
///
/// # Errors
/// Those of the handler; `busy` when the queue of the pool is full.
pub(super) async fn execute(service: &Service, job: Job<'_>) -> Result<Response, Problem> {
    // Dropped when the request is answered, is late, or has lost its client.
    let _ends = job.request.cancellation.on_drop();
    match job.route.handler {
        Handler::Decide(handler) => decide(service, handler, job).await,
        Handler::Scan(handler) => scan(service, handler, job, None).await,
        Handler::Bulk(handler) => {
            let busy =
                || Problem::new(Code::Busy, "other requests set many limits or read the log; try again in a second");
            let permit = within(service, job.connection, service.bulk.clone().acquire_owned()).await;
            let permit = permit.and_then(Result::ok).ok_or_else(busy)?;
            scan(service, handler, job, Some(permit)).await
        }
        Handler::Health => {
            service.engine.health()?;
            let answer = HealthAnswer { status: "ok", version: env!("CARGO_PKG_VERSION") };
            Ok(json(whole(to_json(&answer)?), false))
        }
        Handler::OpenApi => Ok(json(AnswerBody::whole(openapi::text(service.admission.needs_token()), None), false)),
        Handler::Metrics => {
            job.connection.is_heavy();
            metrics(service).await
        }
    }
}

fn whole(body: impl Into<Bytes>) -> AnswerBody {
    AnswerBody::whole(body.into(), None)
}

/// Memory for the answer, before anything is done for it.
///
/// # Errors
/// `busy` when the request's time is over before there is room.
async fn reserved(service: &Service, job: &Job<'_>) -> Result<Option<Reservation>, Problem> {
    let Some(answer_bytes) = job.route.answer_bytes else { return Ok(None) };
    let bytes = answer_bytes(&service.engine, &job.request);
    if bytes <= FEW {
        return Ok(None);
    }
    let busy = || {
        Problem::new(
            Code::Busy,
            "the memory for large answers is taken until other clients have read theirs; try again in a second",
        )
    };
    let room = service.answers.reserve(job.principal, bytes, job.connection);
    within(service, job.connection, room).await.ok_or_else(busy).map(Some)
}

/// What of `reserved` an answer of `bytes` bytes keeps.
fn fitted(reserved: Option<Reservation>, bytes: usize) -> Option<Reservation> {
    let mut reserved = reserved.filter(|_| bytes > FEW)?;
    reserved.resize(bytes);
    Some(reserved)
}

async fn scan(
    service: &Service,
    handler: fn(&Engine, &ParsedRequest) -> Result<Answer, Problem>,
    job: Job<'_>,
    permit: Option<OwnedSemaphorePermit>,
) -> Result<Response, Problem> {
    job.connection.is_heavy();
    let reserved = reserved(service, &job).await?;
    let Job { request, body, .. } = job;
    let exact = request.exact;
    let work = move |engine: &Engine| {
        // They go with the work, which may outlive the request, and after the body itself.
        let (_held, request) = ((permit, body), request);
        request.cancellation.check()?;
        let answer = handler(engine, &request)?;
        let (first, rest) = first_piece(engine, answer)?;
        let bytes = first.len() + rest.as_ref().map_or(0, |rest| rest.bytes(engine));
        Ok((first, rest, fitted(reserved, bytes)))
    };
    let (first, rest, reserved) = service.pool.scan(&service.engine, work).await?;
    let body = match rest {
        None => AnswerBody::whole(first.into(), reserved),
        Some(rest) => {
            let maker = Maker { engine: service.engine.clone(), permits: service.makers.clone() };
            AnswerBody::in_pieces(first.into(), rest, maker, reserved)
        }
    };
    Ok(json(body, exact))
}

/// An answer, or its beginning and what makes the rest.
type FirstPiece = (Vec<u8>, Option<Box<dyn Pieces>>);

/// A short answer is whole, and has a `Content-Length`.
fn first_piece(engine: &Engine, answer: Answer) -> Result<FirstPiece, Problem> {
    match answer {
        Answer::Whole(body) => Ok((body, None)),
        Answer::Pieces(mut pieces) => {
            let mut first = Vec::new();
            let more = pieces.next(engine, &mut first)?;
            Ok((first, more.then_some(pieces)))
        }
    }
}

async fn decide(
    service: &Service,
    handler: fn(&Engine, &ParsedRequest, Executor) -> HandlerResult,
    job: Job<'_>,
) -> Result<Response, Problem> {
    let reserved = reserved(service, &job).await?;
    let request = job.request;
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
    let reserved = fitted(reserved, body.len());
    let mut response = json(AnswerBody::whole(body.into(), reserved), exact);
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
