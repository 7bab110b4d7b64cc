//! A limit as JSON. Nothing is parsed here that the grammar of `flint-core` parses.

use flint_core::limit::{Algorithm, Limit, Rate, parse_limit, parse_period_ms};
use flint_core::{Error, Result};
use schemars::JsonSchema;
use serde_json::Value;

use super::bounded::Bounded;

/// Levels of lists in lists: more mean nothing.
const MAX_DEPTH: usize = 4;

/// How a limit may be written; for the document that describes the API.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Limit")]
pub enum LimitSchema {
    /// The grammar: `100/minute`, `10 per 2 hours`, `5/250ms`, `100/m burst 200`, several joined by `;` or `,`.
    Text(String),
    /// One limit by its parts.
    Parts(LimitParts),
    /// Limits whose rates are joined, which is how algorithms are mixed.
    Several(Vec<LimitSchema>),
}

/// A limit by its parts.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a description: nothing makes one")]
pub struct LimitParts {
    /// Tokens per period, or grammar text that has the period in it.
    rate: RateSchema,
    /// The period where `rate` is a number: text such as `1m` or `250ms`, or whole seconds.
    per: Option<PeriodSchema>,
    /// `token_bucket`, `sliding_window_log` or `fixed_window_counter`.
    algorithm: Option<String>,
    /// Tokens that a full bucket holds.
    burst: Option<u64>,
}

/// A rate.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Rate")]
pub enum RateSchema {
    /// Tokens per period.
    Number(u64),
    /// Grammar text.
    Text(String),
    /// Limits whose rates are joined.
    Several(Vec<LimitSchema>),
}

/// A period.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Period")]
pub enum PeriodSchema {
    /// Whole seconds.
    Seconds(u64),
    /// Text such as `1m` or `250ms`.
    Text(String),
}

/// The limit that `value` describes.
///
/// # Errors
/// `InvalidLimit`.
pub fn limit_of(value: &Value) -> Result<Limit> {
    nested(value, MAX_DEPTH)
}

/// The limit of these parts, as `POST /v1/limits` and the object form have them.
///
/// # Errors
/// `InvalidLimit`.
pub fn limit_of_parts(
    rate: &Value,
    per: Option<&Value>,
    algorithm: Option<&str>,
    burst: Option<&Value>,
) -> Result<Limit> {
    parts(rate, per, algorithm, burst, MAX_DEPTH)
}

/// The limit that comes with a call, if one does.
pub(super) fn brought(limit: Option<&Bounded>) -> Result<Option<Limit>> {
    limit.map(|Bounded(limit)| limit_of(limit)).transpose()
}

fn invalid<T>(message: String) -> Result<T> {
    Err(Error::InvalidLimit(message))
}

fn nested(value: &Value, depth: usize) -> Result<Limit> {
    match value {
        Value::String(text) => parse_limit(text, Algorithm::TokenBucket),
        Value::Array(several) => joined(several, depth),
        Value::Object(object) => {
            if let Some(unknown) =
                object.keys().find(|name| !matches!(name.as_str(), "rate" | "per" | "algorithm" | "burst"))
            {
                return invalid(format!(
                    "a limit has the unknown name {unknown:?}; accepted are rate, per, algorithm and burst"
                ));
            }
            let Some(rate) = object.get("rate") else { return invalid("a limit needs a rate".to_owned()) };
            let given = |name: &str| object.get(name).filter(|value| !value.is_null());
            let algorithm = match given("algorithm") {
                None => None,
                Some(Value::String(name)) => Some(name.as_str()),
                Some(other) => return invalid(format!("algorithm must be text, not {}", shown(other))),
            };
            parts(rate, given("per"), algorithm, given("burst"), depth)
        }
        other => invalid(format!("a limit is text, an object or a list of them, not {}", shown(other))),
    }
}

fn joined(several: &[Value], depth: usize) -> Result<Limit> {
    let Some(depth) = depth.checked_sub(1) else { return invalid("lists of limits are nested too deeply".to_owned()) };
    let mut rates = Vec::new();
    for part in several {
        rates.extend_from_slice(nested(part, depth)?.rates());
    }
    Limit::new(&rates)
}

fn parts(
    rate: &Value,
    per: Option<&Value>,
    algorithm: Option<&str>,
    burst: Option<&Value>,
    depth: usize,
) -> Result<Limit> {
    let named = algorithm.map(Algorithm::parse).transpose()?;
    let default = named.unwrap_or(Algorithm::TokenBucket);
    let burst = burst.map(|burst| integer("burst", burst)).transpose()?;
    match (rate, per) {
        (Value::String(text), None) => {
            let limit = parse_limit(text, default)?;
            burst.map_or(Ok(limit), |burst| limit.with_burst(burst))
        }
        (Value::String(text), Some(_)) => invalid(format!(
            "per was given with the text {text:?}, which has the period in it; write both in the text, as in '100/minute'"
        )),
        (Value::Array(several), None) if named.is_none() && burst.is_none() => joined(several, depth),
        (Value::Array(_), _) => invalid("per, algorithm and burst belong into each limit of a list".to_owned()),
        (number, Some(per)) => Rate::new(integer("rate", number)?, period_ms(per)?, burst, default).map(Limit::single),
        (number, None) => {
            let number = integer("rate", number)?;
            invalid(format!("a rate of {number} needs per, such as \"1m\""))
        }
    }
}

fn period_ms(per: &Value) -> Result<u64> {
    match per {
        Value::String(text) => parse_period_ms(text),
        other => match integer("per", other)?.checked_mul(1000) {
            Some(ms) => Ok(ms),
            None => invalid(format!("per = {other} seconds is too long")),
        },
    }
}

fn integer(name: &str, value: &Value) -> Result<u64> {
    match value.as_u64() {
        Some(number) => Ok(number),
        None => invalid(format!("{name} must be an integer from 1 to 2^64 - 1, not {}", shown(value))),
    }
}

/// The value as messages show it: itself where it is short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { "a long value".to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: Value) -> String {
        limit_of(&value).unwrap().to_string()
    }

    #[test]
    fn every_form_means_the_same() {
        for value in [
            json!("100/minute"),
            json!({"rate": "100/minute"}),
            json!({"rate": 100, "per": "1m"}),
            json!({"rate": 100, "per": 60, "burst": null, "algorithm": null}),
            json!(["100/minute"]),
            json!([[{"rate": [["100/minute"]]}]]),
        ] {
            assert_eq!(limit_of(&value).unwrap(), limit_of(&json!("100/minute")).unwrap(), "{value}");
        }
        assert_eq!(text(json!({"rate": "5/s", "burst": 9})), text(json!("5/s burst 9")));
    }

    #[test]
    fn a_list_mixes_algorithms() {
        let limit = limit_of(&json!(["5/s", {"rate": 9, "per": "1h", "algorithm": "fixed_window_counter"}])).unwrap();
        let algorithms: Vec<_> = limit.rates().iter().map(|rate| rate.algorithm()).collect();
        assert_eq!(algorithms, [Algorithm::TokenBucket, Algorithm::FixedWindowCounter]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, part) in [
            (json!(5), "a limit is text"),
            (json!({"rate": 5}), "needs per"),
            (json!({"per": 5}), "needs a rate"),
            (json!({"rate": 5, "per": 1.5}), "per must be"),
            (json!({"rate": -5, "per": 1}), "rate must be"),
            (json!({"rate": true, "per": 1}), "rate must be"),
            (json!({"rate": "5/s", "per": 1}), "per was given with the text"),
            (json!({"rate": "5/s; 9/m", "burst": 1}), "ambiguous"),
            (json!({"rate": "5/s burst 9", "burst": 1}), "ambiguous"),
            (json!({"rate": ["5/s"], "burst": 1}), "into each limit"),
            (json!({"rate": "5/s", "algorithm": 1}), "algorithm must be text"),
            (json!({"rate": "5/s", "brust": 1}), "brust"),
            (json!({"rate": 5, "per": u64::MAX}), "too long"),
            (json!([[[[[["5/s"]]]]]]), "too deeply"),
            (json!([]), ""),
        ] {
            let error = limit_of(&value).unwrap_err();
            assert!(matches!(error, Error::InvalidLimit(_)) && error.to_string().contains(part), "{value}: {error}");
        }
    }
}
