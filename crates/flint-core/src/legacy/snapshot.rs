//! The old snapshot: one JSON document, in later releases inside another one with a checksum.
//!
//! ```text
//! {"format_version":1,"created_at":"...","checksum":"<SHA-256 of the string>","snapshot":"{\"state\":{...},...}"}
//! {"format_version":1,"created_at":"...","aof_offset":0,"state":{"configs":{},"buckets":{},...}}
//! ```

use std::collections::HashMap;

use serde_json::Value;

use super::entry::Entry;
use super::event::{Config, Object, OldEvent, What, field, number, object, text, time};
use super::replay::{Replay, count};
use super::{Problem, corrupt, hex_sha256};
use crate::algorithm::OldEntry;
use crate::image::Totals;
use crate::limit::Rate;

/// What the log's reader has to know of the snapshot.
pub(super) struct Loaded {
    /// Bytes of the log that the snapshot includes.
    pub(super) aof_offset: u64,
    pub(super) is_v0_2: bool,
}

/// Puts the snapshot's keys and history into `replay`.
pub(super) fn load(bytes: &[u8], replay: &mut Replay) -> Result<Loaded, Problem> {
    let outer = parse(bytes)?;
    let Some(inner) = outer.get("snapshot") else { return load_plain(&outer, false, replay) };
    check_version(&outer)?;
    let Some(inner) = inner.as_str() else { return corrupt("\"snapshot\" is not a string") };
    let (expected, actual) = (text(&outer, "checksum")?, hex_sha256(&[inner.as_bytes()]));
    if expected != actual {
        return corrupt(format!("checksum mismatch: expected {expected}, got {actual}"));
    }
    load_plain(&parse(inner.as_bytes())?, true, replay)
}

fn parse(bytes: &[u8]) -> Result<Object, Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => corrupt("not a JSON object"),
        Err(error) => corrupt(format!("not JSON: {error}")),
    }
}

fn check_version(of: &Object) -> Result<(), Problem> {
    match of.get("format_version").map(Value::as_u64) {
        None | Some(Some(1)) => Ok(()),
        _ => Err(Problem::Unsupported("a snapshot version that this release cannot read".to_owned())),
    }
}

fn load_plain(snapshot: &Object, mut is_v0_2: bool, replay: &mut Replay) -> Result<Loaded, Problem> {
    check_version(snapshot)?;
    let created_ns = snapshot.get("created_at").map(|at| time(at, "created_at")).transpose()?.unwrap_or(0);
    let aof_offset = if snapshot.contains_key("aof_offset") { number(snapshot, "aof_offset")? } else { 0 };
    let state = object(field(snapshot, "state")?, "state")?;
    let history_totals = load_history(state, created_ns, replay)?;
    let metrics = state.get("metrics").map(|metrics| object(metrics, "metrics")).transpose()?;
    is_v0_2 |= metrics.is_some();
    for (key, value) in object(field(state, "configs")?, "configs")? {
        let mut load = || {
            let config = Config::parse(value)?;
            if config.key != *key {
                return corrupt(format!("the configuration is that of {:?}", config.key));
            }
            let totals = match metrics {
                Some(metrics) => metrics.get(key).map(load_totals).transpose()?.unwrap_or_default(),
                None => history_totals.get(key.as_str()).copied().unwrap_or_default(),
            };
            let entry = state_of(state, key, &config.rate)?;
            is_v0_2 |= config.is_v0_2;
            replay.restore(config, entry.as_ref().map(|entry| entry as &dyn OldEntry), totals)
        };
        load().map_err(|problem| problem.within(format_args!("key {key:?}")))?;
    }
    replay.note_time(created_ns);
    Ok(Loaded { aof_offset, is_v0_2 })
}

/// The history, and the totals that it amounts to, for snapshots that do not hold any.
fn load_history(state: &Object, created_ns: u64, replay: &mut Replay) -> Result<HashMap<String, Totals>, Problem> {
    let mut totals = HashMap::<String, Totals>::new();
    let Some(history) = state.get("history") else { return Ok(totals) };
    let Value::Array(history) = history else { return corrupt("\"history\" is not a list") };
    let events = history.iter().map(OldEvent::parse).collect::<Result<Vec<_>, _>>()?;
    // The replay's time does not go back, so the events without one that follow get their predecessor's.
    let first_ns = events.iter().find_map(|event| event.at_ns).unwrap_or(created_ns);
    for OldEvent { at_ns, what } in events {
        let at_ns = at_ns.unwrap_or(first_ns);
        replay.record(&what, at_ns)?;
        match what {
            What::Checked(kind, items) => {
                for (key, cost) in items {
                    count(totals.entry(key).or_default(), kind, cost, at_ns);
                }
            }
            What::Reset(key) => totals.entry(key).or_default().last_reset_ns = at_ns,
            What::Configured(_) => {}
        }
    }
    Ok(totals)
}

/// The entry of one key in the table of its algorithm; a key that is not in there has used nothing.
fn state_of<'a>(state: &'a Object, key: &str, rate: &Rate) -> Result<Option<Entry<'a>>, Problem> {
    let Some(table) = rate.algorithm().old_table() else { return Ok(None) };
    Ok(object(field(state, table)?, table)?.get(key).map(|value| Entry { table, value }))
}

fn load_totals(value: &Value) -> Result<Totals, Problem> {
    let metrics = object(value, "metrics")?;
    let last = |name| match metrics.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(at) => time(at, name),
    };
    Ok(Totals {
        allowed: number(metrics, "total_allowed")?,
        allowed_cost: number(metrics, "total_allowed_cost")?,
        denied: number(metrics, "total_denied")?,
        denied_cost: number(metrics, "total_denied_cost")?,
        last_allowed_ns: last("last_allowed_at")?,
        last_denied_ns: last("last_denied_at")?,
        last_reset_ns: last("last_reset_at")?,
    })
}
