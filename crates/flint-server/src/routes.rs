//! The routes: one table, in which requests are looked up and of which the OpenAPI document is made.

use flint_core::Engine;
use schemars::{Schema, SchemaGenerator};

use crate::auth::Scope;
use crate::handlers::{Answer, Executor, HandlerResult, check, limits, log};
use crate::parsed_request::ParsedRequest;
use crate::problem::Problem;
use crate::wire::{check as checks, counters, report, request, status};

/// What handles the requests of a route.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// The health of server and storage.
    Health,
    /// The description of the API.
    OpenApi,
    /// The metrics.
    Metrics,
    /// Runs in the event loop, and in a thread where it would have to wait for the disk.
    Decide(fn(&Engine, &ParsedRequest, Executor) -> HandlerResult),
    /// Scans all keys or reads files, in a thread.
    Scan(fn(&Engine, &ParsedRequest) -> Result<Answer, Problem>),
    /// Takes a large body, or reads all files of the log, in a thread; one such request at a time.
    Bulk(fn(&Engine, &ParsedRequest) -> Result<Answer, Problem>),
}

/// Makes the schema of a type.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A path with one method.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    /// The method.
    pub(crate) method: &'static str,
    /// The path, with `{key}` in the place of a key.
    pub(crate) path: &'static str,
    /// The scope that a token needs; `None`: every token is accepted.
    pub(crate) scope: Option<Scope>,
    /// What handles it.
    pub(crate) handler: Handler,
    /// What it is for, in one sentence.
    pub(crate) summary: &'static str,
    /// Names that the query may hold.
    pub(crate) query: &'static [&'static str],
    /// What the body holds, and whether there has to be one.
    pub(crate) body: Option<(SchemaOf, bool)>,
    /// What the answer holds; `None` for text and the description.
    pub(crate) answer: Option<SchemaOf>,
    /// Whether it takes an `Idempotency-Key`.
    pub(crate) repeatable: bool,
    /// The bytes that an answer may take in memory, about; `None` where they are always few.
    pub(crate) answer_bytes: Option<fn(&Engine, &ParsedRequest) -> usize>,
}

/// Whether the server works.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Health")]
pub(crate) struct HealthAnswer {
    /// `ok`.
    pub(crate) status: &'static str,
    /// The server's version.
    pub(crate) version: &'static str,
}

const fn route(
    method: &'static str,
    path: &'static str,
    scope: Option<Scope>,
    handler: Handler,
    summary: &'static str,
) -> Route {
    Route {
        method,
        path,
        scope,
        handler,
        summary,
        query: &[],
        body: None,
        answer: None,
        repeatable: false,
        answer_bytes: None,
    }
}

impl Route {
    const fn query(self, query: &'static [&'static str]) -> Self {
        Self { query, ..self }
    }

    const fn body(self, body: SchemaOf) -> Self {
        Self { body: Some((body, true)), ..self }
    }

    const fn optional_body(self, body: SchemaOf) -> Self {
        Self { body: Some((body, false)), ..self }
    }

    const fn answer(self, answer: SchemaOf) -> Self {
        Self { answer: Some(answer), ..self }
    }

    const fn large(self, answer_bytes: fn(&Engine, &ParsedRequest) -> usize) -> Self {
        Self { answer_bytes: Some(answer_bytes), ..self }
    }

    const fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }
}

macro_rules! schema {
    ($type:ty) => {
        |generator| generator.subschema_for::<$type>()
    };
}

const CHECK: Option<Scope> = Some(Scope::Check);
const CONFIGURE: Option<Scope> = Some(Scope::Configure);
const ADMIN: Option<Scope> = Some(Scope::Admin);
const METRICS: Option<Scope> = Some(Scope::Metrics);

/// Every route; the busiest first.
static ROUTES: [Route; 21] = [
    route("POST", "/v1/check", CHECK, Handler::Decide(check::check), "Take tokens of a key if they are there")
        .body(schema!(request::CheckBody<'_>))
        .answer(schema!(checks::CheckAnswer<'_>))
        .repeatable(),
    route(
        "POST",
        "/v1/check-all",
        CHECK,
        Handler::Decide(check::check_all),
        "Take tokens of several keys, all or nothing",
    )
    .body(schema!(request::CheckAllBody<'_>))
    .answer(schema!(checks::MultiCheckAnswer<'_>))
    .large(check::check_all_bytes)
    .repeatable(),
    route(
        "POST",
        "/v1/peek",
        CHECK,
        Handler::Decide(check::peek),
        "Say what a check would say; takes and counts nothing",
    )
    .body(schema!(request::PeekBody<'_>))
    .answer(schema!(checks::CheckAnswer<'_>)),
    route(
        "POST",
        "/v1/deny",
        CHECK,
        Handler::Decide(check::deny),
        "Count the denial of a call that waited and gives up",
    )
    .body(schema!(request::DenyBody<'_>))
    .answer(schema!(check::CountedAnswer)),
    route(
        "GET",
        "/v1/limits/{key}",
        CHECK,
        Handler::Decide(limits::status),
        "One key's limit, what is left, its totals",
    )
    .answer(schema!(status::StatusAnswer<'_>)),
    route("GET", "/v1/limits", CHECK, Handler::Scan(limits::list), "Statuses in the order of their keys' bytes")
        .query(&["prefix", "limit", "after", "key"])
        .answer(schema!(limits::LimitsAnswer<'_>))
        .large(limits::list_bytes),
    route("POST", "/v1/limits", CONFIGURE, Handler::Decide(limits::configure), "Set a key's limit")
        .body(schema!(request::SpecBody<'_>))
        .answer(schema!(status::StatusAnswer<'_>)),
    route("POST", "/v1/limit-many", CONFIGURE, Handler::Bulk(limits::configure_many), "Set many limits, all or none")
        .body(schema!(request::LimitManyBody<'_>))
        .answer(schema!(limits::ConfiguredAnswer)),
    route("DELETE", "/v1/limits/{key}", CONFIGURE, Handler::Decide(limits::delete), "Forget a key")
        .answer(schema!(limits::DeletedAnswer)),
    route("DELETE", "/v1/limits", CONFIGURE, Handler::Decide(limits::delete), "Forget a key")
        .query(&["key"])
        .answer(schema!(limits::DeletedAnswer)),
    route("POST", "/v1/reset", CONFIGURE, Handler::Decide(limits::reset), "Give a key its full limit back")
        .body(schema!(request::ResetBody<'_>))
        .answer(schema!(limits::ResetAnswer)),
    route("POST", "/v1/log/flush", ADMIN, Handler::Decide(log::flush), "Answer when everything so far is on disk")
        .optional_body(schema!(request::NoBody))
        .answer(schema!(log::FlushedAnswer)),
    route(
        "POST",
        "/v1/log/compact",
        ADMIN,
        Handler::Scan(log::compact),
        "Write a snapshot and drop the log that it replaces",
    )
    .optional_body(schema!(request::NoBody))
    .answer(schema!(log::CompactedAnswer)),
    route(
        "GET",
        "/v1/log/records",
        ADMIN,
        Handler::Bulk(log::records),
        "Records of the log behind the one called after",
    )
    .query(&["after", "limit"])
    .answer(schema!(log::RecordsAnswer))
    .large(log::records_bytes),
    route("GET", "/v1/doctor", ADMIN, Handler::Scan(log::doctor), "Examine the data directory; changes nothing")
        .answer(schema!(report::ReportAnswer)),
    route("GET", "/v1/top", CHECK, Handler::Scan(log::top), "The keys with the largest totals")
        .query(&["by", "limit"])
        .answer(schema!(limits::LimitsAnswer<'_>))
        .large(log::top_bytes),
    route("GET", "/v1/history", CHECK, Handler::Scan(log::history), "The newest events of a key, oldest first")
        .query(&["key", "limit"])
        .answer(schema!(log::EventsAnswer))
        .large(log::history_bytes),
    route(
        "GET",
        "/v1/counters",
        METRICS,
        Handler::Decide(log::counters),
        "Totals since the server opened the directory",
    )
    .answer(schema!(counters::CountersAnswer)),
    route("GET", "/metrics", METRICS, Handler::Metrics, "Metrics in Prometheus' text format"),
    route("GET", "/v1/health", None, Handler::Health, "Whether the server works and its storage, too")
        .answer(schema!(HealthAnswer)),
    route("GET", "/v1/openapi.json", None, Handler::OpenApi, "This description"),
];

const KEYED: &str = "/v1/limits/";

/// What a method and a path lead to, with the key in the path, still encoded.
///
/// # Errors
/// `not_found`, `method_not_allowed`.
pub(crate) fn find<'a>(method: &str, path: &'a str) -> Result<(&'static Route, Option<&'a str>), Problem> {
    #[cfg(test)]
    if let Some(route) = tests::PANICKING.iter().find(|route| route.path == path) {
        return Ok((route, None));
    }
    let (pattern, key) = match path.strip_prefix(KEYED) {
        Some(key) if !key.is_empty() && !key.contains('/') => ("/v1/limits/{key}", Some(key)),
        _ => (path, None),
    };
    let mut of_path = all().filter(|route| route.path == pattern).peekable();
    if of_path.peek().is_none() {
        return Err(Problem::new(
            crate::problem::Code::NotFound,
            "there is no such path; /v1/openapi.json describes those that there are",
        ));
    }
    match of_path.find(|route| route.method == method) {
        Some(route) => Ok((route, key)),
        None => Err(Problem::method(match pattern {
            "/v1/limits" => "GET, POST, DELETE",
            "/v1/limits/{key}" => "GET, DELETE",
            _ if all().any(|route| route.path == pattern && route.method == "GET") => "GET",
            _ => "POST",
        })),
    }
}

/// Every route.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter()
}

/// The place of a route in [`all`].
pub(crate) fn index(route: &'static Route) -> usize {
    all().position(|other| std::ptr::eq(other, route)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    /// Handlers with a bug: one of the event loop, one of a thread.
    pub(super) static PANICKING: [Route; 2] = [
        route("POST", "/v1/panic", None, Handler::Decide(|_, _, _| panic!("deliberate")), ""),
        route("POST", "/v1/panic-in-a-thread", None, Handler::Scan(|_, _| panic!("deliberate")), ""),
    ];

    #[test]
    fn paths_lead_to_routes_and_others_are_distinguished() {
        let (route, key) = find("GET", "/v1/limits/a%2Fb").unwrap();
        assert_eq!((route.path, key), ("/v1/limits/{key}", Some("a%2Fb")));
        assert_eq!(find("DELETE", "/v1/limits").unwrap().0.scope, Some(Scope::Configure));
        for path in ["/", "", "/v1", "/v1/limits/", "/v1/limits/a/b", "/v1/check/", "/v1//check", "/V1/check"] {
            assert_eq!(find("GET", path).err().unwrap().code(), Code::NotFound, "{path}");
        }
        assert_eq!(find("GET", "/v1/check").err().unwrap().code(), Code::MethodNotAllowed);
        assert_eq!(find("PUT", "/v1/limits/k").err().unwrap().code(), Code::MethodNotAllowed);
    }

    #[test]
    fn what_reads_files_or_scans_all_keys_is_kept_out_of_the_event_loop() {
        let of = |wanted: fn(&Handler) -> bool| -> Vec<_> {
            all().filter(|route| wanted(&route.handler)).map(|route| (route.method, route.path)).collect()
        };
        assert_eq!(
            of(|handler| matches!(handler, Handler::Scan(_))),
            [
                ("GET", "/v1/limits"),
                ("POST", "/v1/log/compact"),
                ("GET", "/v1/doctor"),
                ("GET", "/v1/top"),
                ("GET", "/v1/history"),
            ]
        );
        assert_eq!(
            of(|handler| matches!(handler, Handler::Bulk(_))),
            [("POST", "/v1/limit-many"), ("GET", "/v1/log/records")]
        );
        assert_eq!(of(|handler| matches!(handler, Handler::Metrics)), [("GET", "/metrics")]);
    }

    #[test]
    fn the_methods_that_a_path_has_are_named() {
        for path in all().map(|route| route.path) {
            let sample = path.replace("{key}", "k");
            let response = find("PATCH", &sample).err().unwrap().response();
            let mut named: Vec<_> = response.headers()["allow"].to_str().unwrap().split(", ").collect();
            let mut there: Vec<_> = all().filter(|route| route.path == path).map(|route| route.method).collect();
            named.sort_unstable();
            there.sort_unstable();
            assert_eq!(named, there, "{path}");
        }
    }
}
