//! The description of the API, OpenAPI 3.1: made of the routes and of the types that go over the wire.

use std::sync::OnceLock;

use bytes::Bytes;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::problem::{Code, ProblemAnswer};
use crate::routes::{self, Handler, Route};

/// The document as JSON, made when it is first asked for: of a server that needs a token, or none.
pub(crate) fn text(needs_token: bool) -> Bytes {
    static TEXTS: [OnceLock<Bytes>; 2] = [const { OnceLock::new() }; 2];
    TEXTS[usize::from(needs_token)].get_or_init(|| Bytes::from(document(needs_token).to_string())).clone()
}

fn document(needs_token: bool) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<ProblemAnswer<'_>>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all() {
        let operation = operation(route, &mut generator, &json!(problem));
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.parts().0).collect();
    let mut schemas = generator.take_definitions(true);
    if let Some(code) = schemas.get_mut("Problem").and_then(|problem| problem.pointer_mut("/properties/code")) {
        code["enum"] = json!(codes);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Flint",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Shared rate limits over HTTP. A denied check is an answer like any other, with status 200.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": "/"}],
        "security": if needs_token { json!([{"token": []}]) } else { json!([]) },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    })
}

fn operation(route: &Route, generator: &mut schemars::SchemaGenerator, problem: &Value) -> Value {
    let mut parameters: Vec<Value> = route.query.iter().map(|name| query_parameter(route, name)).collect();
    if route.path.contains("{key}") {
        parameters.push(json!({
            "name": "key", "in": "path", "required": true, "description": "The key, percent-encoded.",
            "schema": {"type": "string", "minLength": 1},
        }));
    }
    if route.repeatable {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "Names the call: a repetition returns the first answer and takes nothing.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
        }));
    }
    let content = match (route.handler, route.answer) {
        (Handler::Metrics, _) => json!({"text/plain": {"schema": {"type": "string"}}}),
        (_, Some(answer)) => json!({"application/json": {"schema": answer(generator)}}),
        (_, None) => json!({"application/json": {"schema": {"type": "object"}}}),
    };
    let mut responses = Map::new();
    responses.insert("200".to_owned(), json!({"description": "Done, or decided.", "content": content}));
    for code in Code::ALL.into_iter().filter(|code| may_fail(route, *code)) {
        let (name, status, title) = code.parts();
        let response = responses.entry(status.as_str()).or_insert_with(
            || json!({"description": "", "content": {"application/problem+json": {"schema": problem}}}),
        );
        let before = response["description"].as_str().unwrap_or_default();
        let separator = if before.is_empty() { "" } else { " " };
        response["description"] = json!(format!("{before}{separator}{title} (`{name}`)."));
    }
    let mut operation = json!({
        "summary": route.summary,
        "operationId": operation_id(route),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(scope) = route.scope {
        operation["description"] = json!(format!("Needs the scope `{}` where tokens are set.", scope.name()));
    }
    if let Some((body, required)) = route.body {
        operation["requestBody"] =
            json!({"required": required, "content": {"application/json": {"schema": body(generator)}}});
    }
    operation
}

/// Whether a request for this route can fail with `code`.
fn may_fail(route: &Route, code: Code) -> bool {
    let (has_body, has_key) = (route.body.is_some(), route.path.contains("{key}") || route.query.contains(&"key"));
    match code {
        // These are about another path or method.
        Code::NotFound | Code::MethodNotAllowed => false,
        Code::InvalidJson | Code::RequestTimeout | Code::BodyTooLarge | Code::UnsupportedMediaType => has_body,
        Code::LimitNotFound | Code::InvalidKey => has_body || has_key,
        Code::InvalidLimit | Code::InvalidCost => has_body,
        Code::IdempotencyMismatch => route.repeatable,
        _ => true,
    }
}

fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/v1/").trim_matches('/');
    let words = path.replace(['/', '-', '.'], "_").replace("{key}", "key");
    format!("{}_{words}", route.method.to_lowercase())
}

fn query_parameter(route: &Route, name: &str) -> Value {
    let (description, schema) = match (route.path, name) {
        (_, "limit") => ("At most that many.", json!({"type": "integer", "minimum": 0, "maximum": 10_000})),
        ("/v1/log/records", "after") => {
            ("Only records with a higher number.", json!({"type": "integer", "minimum": 0, "maximum": u64::MAX}))
        }
        (_, "after") => ("Only keys behind this one.", json!({"type": "string"})),
        (_, "prefix") => ("Only keys that begin with this.", json!({"type": "string"})),
        (_, "by") => (
            "What to sort by.",
            json!({"type": "string", "enum": ["denied", "allowed", "allowed_cost", "denied_cost"], "default": "denied"}),
        ),
        _ => ("The key.", json!({"type": "string", "minLength": 1})),
    };
    let required = name == "key" && (route.path != "/v1/limits" || route.method == "DELETE");
    json!({"name": name, "in": "query", "required": required, "description": description, "schema": schema})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    into.insert(reference.clone());
                }
                object.values().for_each(|value| references(value, into));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }

    #[test]
    fn it_has_every_route_and_every_reference_leads_somewhere() {
        let document = document(true);
        for route in routes::all() {
            assert!(document["paths"][route.path][route.method.to_lowercase()].is_object(), "{}", route.path);
        }
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10);
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
        let ids: Vec<String> = routes::all().map(operation_id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }
}
