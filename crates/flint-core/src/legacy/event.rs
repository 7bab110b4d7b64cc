//! The events of old logs and histories.

use serde_json::{Map, Value};

use super::{Problem, corrupt, stamp};
use crate::image::EventKind;
use crate::limit::{Algorithm, Rate};

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// One event; `at_ns` is missing where the old release did not write it into the event.
#[derive(Debug)]
pub(super) struct OldEvent {
    pub(super) at_ns: Option<u64>,
    pub(super) what: What,
}

/// What happened, and to which keys.
#[derive(Debug)]
pub(super) enum What {
    Configured(Config),
    /// An allow or a denial of each key with its cost.
    Checked(EventKind, Vec<(String, u64)>),
    Reset(String),
}

/// A limit of an old release: one rate, perhaps outside today's bounds.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) key: String,
    pub(super) rate: Rate,
    /// Whether the period is in milliseconds, which 0.1 did not know.
    pub(super) is_v0_2: bool,
}

impl OldEvent {
    pub(super) fn parse(value: &Value) -> Result<Self, Problem> {
        let event = object(value, "event")?;
        let at_ns = event.get("at").map(|at| time(at, "at")).transpose()?;
        let what = match text(event, "type")? {
            "LIMIT_CONFIGURED" => What::Configured(Config::parse(field(event, "config")?)?),
            "ALLOW" => What::Checked(EventKind::Allow, vec![key_and_cost(event)?]),
            "DENY" => What::Checked(EventKind::Deny, vec![key_and_cost(event)?]),
            "ALLOW_ALL" => {
                let Value::Array(items) = field(event, "items")? else { return corrupt("\"items\" is not a list") };
                let items = items.iter().map(|item| key_and_cost(object(item, "item")?)).collect::<Result<_, _>>()?;
                What::Checked(EventKind::AllowAll, items)
            }
            "RESET" => What::Reset(text(event, "key")?.to_owned()),
            other => return corrupt(format!("unknown type of event {other:?}")),
        };
        Ok(Self { at_ns, what })
    }

    /// Whether 0.1 could not have written it.
    pub(super) fn is_v0_2(&self) -> bool {
        match &self.what {
            What::Configured(config) => config.is_v0_2,
            What::Checked(kind, _) => *kind == EventKind::AllowAll,
            What::Reset(_) => false,
        }
    }
}

impl Config {
    pub(super) fn parse(value: &Value) -> Result<Self, Problem> {
        let config = object(value, "config")?;
        let key = text(config, "key")?.to_owned();
        let limit = number(config, "rate")?;
        let is_v0_2 = config.contains_key("per_millis");
        let per_ms = if is_v0_2 {
            number(config, "per_millis")?
        } else {
            // Saturated, it stays what it is: out of bounds.
            number(config, "per_seconds")?.saturating_mul(1000)
        };
        let name = text(config, "algorithm")?;
        let known = Algorithm::parse(name).ok().filter(|algorithm| algorithm.old_table().is_some());
        let Some(algorithm) = known else { return corrupt(format!("unknown algorithm {name:?}")) };
        Ok(Self { key, rate: Rate::unchecked(limit, per_ms, limit, algorithm), is_v0_2 })
    }
}

fn key_and_cost(of: &Object) -> Result<(String, u64), Problem> {
    let cost = if of.contains_key("cost") { number(of, "cost")? } else { 1 };
    Ok((text(of, "key")?.to_owned(), cost))
}

pub(super) fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Object, Problem> {
    value.as_object().ok_or_else(|| Problem::Corrupt(format!("{name:?} is not an object")))
}

pub(super) fn field<'a>(of: &'a Object, name: &str) -> Result<&'a Value, Problem> {
    of.get(name).ok_or_else(|| Problem::Corrupt(format!("{name:?} is missing")))
}

pub(super) fn text<'a>(of: &'a Object, name: &str) -> Result<&'a str, Problem> {
    field(of, name)?.as_str().ok_or_else(|| Problem::Corrupt(format!("{name:?} is not a string")))
}

pub(super) fn number(of: &Object, name: &str) -> Result<u64, Problem> {
    let value = field(of, name)?;
    value.as_u64().ok_or_else(|| Problem::Corrupt(format!("{name:?} is not a whole number of 64 bits: {value}")))
}

/// A time stamp in nanoseconds since the Unix epoch.
pub(super) fn time(value: &Value, name: &str) -> Result<u64, Problem> {
    let parsed = value.as_str().and_then(stamp::parse);
    parsed.ok_or_else(|| Problem::Corrupt(format!("{name:?} is not a time between 1970 and 2554: {value}")))
}
