//! The old snapshot: one JSON document, in later releases inside another one with a checksum.
//!
//! ```text
//! {"format_version":1,"created_at":"...","checksum":"<SHA-256 of the string>","snapshot":"{\"state\":{...},...}"}
//! {"format_version":1,"created_at":"...","aof_offset":0,"state":{"configs":{},"buckets":{},...}}
//! ```

use std::collections::HashMap;

use serde_json::Value;

use super::event::{Config, Object, OldEvent, What, field, number, object, text, time};
use super::replay::{Replay, count, full, push_run};
use super::{Problem, corrupt, hex_sha256};
use crate::algorithm::sliding_window_log as sliding;
use crate::image::{RateState, Totals};
use crate::limit::{Algorithm, Rate};

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
        let load = || {
            let config = Config::parse(value)?;
            if config.key != *key {
                return corrupt(format!("the configuration is that of {:?}", config.key));
            }
            let (rate_state, state_ns) = load_state(state, key, &config.rate)?;
            let totals = match metrics {
                Some(metrics) => metrics.get(key).map(load_totals).transpose()?.unwrap_or_default(),
                None => history_totals.get(key.as_str()).copied().unwrap_or_default(),
            };
            Ok((config, rate_state, state_ns, totals))
        };
        let (config, rate_state, state_ns, totals) =
            load().map_err(|problem| problem.within(format_args!("key {key:?}")))?;
        is_v0_2 |= config.is_v0_2;
        replay.restore(config, rate_state, state_ns, totals)?;
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
        replay.record(&what, at_ns);
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

/// The state of one key, from the table of its algorithm, and the newest time in it; a key that is not in there has used
/// nothing.
fn load_state(state: &Object, key: &str, rate: &Rate) -> Result<(RateState, u64), Problem> {
    let algorithm = rate.algorithm();
    let table = match algorithm {
        Algorithm::TokenBucket => "buckets",
        Algorithm::FixedWindowCounter => "fixed_windows",
        Algorithm::SlidingWindowLog => "sliding_windows",
    };
    let Some(entry) = object(field(state, table)?, table)?.get(key) else { return Ok((full(algorithm, 0), 0)) };
    match algorithm {
        Algorithm::TokenBucket => {
            let entry = object(entry, table)?;
            let Some(tokens) = field(entry, "tokens")?.as_f64() else { return corrupt("\"tokens\" is not a number") };
            let at_ns = time(field(entry, "last_refill")?, "last_refill")?;
            Ok((RateState::TokenBucket { used: used_units(rate, tokens), at_ns }, at_ns))
        }
        Algorithm::FixedWindowCounter => {
            let entry = object(entry, table)?;
            let start_ns = time(field(entry, "window_start")?, "window_start")?;
            Ok((RateState::FixedWindow { start_ns, used: number(entry, "count")? }, start_ns))
        }
        Algorithm::SlidingWindowLog => {
            let Value::Array(entries) = entry else { return corrupt("a sliding window is not a list") };
            let (mut runs, mut newest_ns) = (Vec::new(), 0);
            for entry in entries {
                let at_ns = time(entry, table)?;
                newest_ns = at_ns.max(newest_ns);
                push_run(&mut runs, sliding::ceil_ms(at_ns), 1);
            }
            Ok((RateState::SlidingLog { runs }, newest_ns))
        }
    }
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

/// What is missing from a full bucket that holds `tokens`, in units of token x nanosecond of period. Exact but for one rounding,
/// upwards: whoever counts whole tokens finds as many as the old release did.
fn used_units(rate: &Rate, tokens: f64) -> u128 {
    let capacity = u128::from(rate.capacity()) * u128::from(rate.per_ns());
    capacity - floor_of_product(tokens, rate.per_ns()).min(capacity)
}

/// The whole part of `factor` x `by`, from the bits of the float; 0 for a negative one, saturated for a huge one.
fn floor_of_product(factor: f64, by: u64) -> u128 {
    const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    /// The biased exponent of a float whose mantissa is its value.
    const WHOLE: u64 = 1023 + MANTISSA_BITS as u64;
    if factor.is_nan() || factor.is_sign_negative() {
        return 0;
    }
    let (exponent, fraction) = (factor.to_bits() >> MANTISSA_BITS, factor.to_bits() & ((1 << MANTISSA_BITS) - 1));
    // Subnormal numbers are far below one unit whatever they are multiplied with.
    let mantissa = if exponent == 0 { 0 } else { fraction | 1 << MANTISSA_BITS };
    let product = u128::from(mantissa) * u128::from(by);
    let shift = u32::try_from(exponent.abs_diff(WHOLE)).unwrap_or(u32::MAX);
    if exponent < WHOLE {
        product.checked_shr(shift).unwrap_or(0)
    } else if product == 0 || shift <= product.leading_zeros() {
        product.checked_shl(shift).unwrap_or(0)
    } else {
        u128::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_units_without_a_gain() {
        let below_45 = f64::from_bits(45f64.to_bits() - 1);
        let above_45 = f64::from_bits(45f64.to_bits() + 1);
        let per_ns = 315_360_000_000_000_000;
        for (tokens, whole) in [(0.0, 0), (-0.0, 0), (-1.0, 0), (0.999, 0), (45.0, 45), (below_45, 44), (above_45, 45)]
        {
            assert_eq!(floor_of_product(tokens, per_ns) / u128::from(per_ns), whole, "{tokens}");
        }
        assert_eq!(floor_of_product(0.5, 3), 1);
        assert_eq!(floor_of_product(1.5, 1_000_000), 1_500_000);
        assert_eq!(floor_of_product(f64::from_bits(1), u64::MAX), 0);
        assert_eq!(floor_of_product(1e300, 2), u128::MAX);
        assert_eq!(floor_of_product(1e300, 0), 0);
        assert_eq!(floor_of_product(f64::INFINITY, 1), u128::MAX);
        assert_eq!(floor_of_product(9_007_199_254_740_992.0, 4), 36_028_797_018_963_968);
        assert_eq!(floor_of_product(18_446_744_073_709_551_616.0, u64::MAX), u128::from(u64::MAX) << 64);
    }

    #[test]
    fn a_bucket_never_has_more_than_its_burst() {
        let rate = Rate::unchecked(10, 1000, 10, Algorithm::TokenBucket);
        assert_eq!(used_units(&rate, 10.000_001), 0);
        assert_eq!(used_units(&rate, 4.0), 6_000_000_000);
        assert_eq!(used_units(&rate, 3.999_999_999_999), 6_000_000_001);
    }
}
