//! Log records as JSON, for people and tools.

use std::path::PathBuf;

use hashbrown::HashMap;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::files::FileKind;
use crate::image::{RateChange, Source};
use crate::log::reader::Frame;
use crate::log::record::{Op, Purpose, decode};
use crate::segments::each_frame;
use crate::storage::Dir;
use crate::time::{offset, rfc3339, to_wall};
use crate::{files, migrate};

/// One decoded log record.
#[derive(Debug, Clone)]
pub struct DumpedRecord {
    /// The segment.
    pub path: PathBuf,
    /// Where the record starts in it.
    pub offset: u64,
    /// Sequence number.
    pub seq: u64,
    /// A JSON object: `seq`, `at` (RFC 3339, by the newest anchor before it), `type`, and what the record says. Keys are named
    /// where the log that is left names them.
    pub json: String,
}

/// Calls `each` for every record above `after`, in order, until it returns false.
pub(crate) fn dump(dir: &dyn Dir, after: u64, each: &mut dyn FnMut(DumpedRecord) -> bool) -> Result<u64> {
    let names = dir.list().map_err(|error| Error::storage("cannot list", dir.path(), error))?;
    let segments = names.iter().any(|name| matches!(files::classify(name), FileKind::Segment(_)));
    if !segments && migrate::unmigrated(dir, &names)?.is_some() {
        return Err(Error::Unsupported {
            path: dir.path().to_path_buf(),
            detail: format!(
                "{} of an older Flint is text already; it is migrated when an application opens it",
                files::LEGACY_AOF
            ),
        });
    }
    let finished = migrate::finished(dir, &names)?;
    let dir = finished.as_ref().map_or(dir, |finished| finished as &dyn Dir);
    let mut keys = HashMap::new();
    let mut offset_ns = 0;
    // The names of keys are learned from the whole log, not only from the part that is asked for.
    each_frame(dir, 0, &mut |name, frame| {
        let json = to_json(frame, &mut keys, &mut offset_ns);
        if frame.seq <= after {
            return true;
        }
        let path = dir.path().join(name);
        each(DumpedRecord { path, offset: frame.offset as u64, seq: frame.seq, json: json.to_string() })
    })
    .map(|newest| newest.max(after))
}

fn to_json(frame: &Frame<'_>, keys: &mut HashMap<u64, String>, offset_ns: &mut i64) -> Value {
    let mut object = Map::new();
    object.insert("seq".to_owned(), json!(frame.seq));
    let op = decode(frame.kind, frame.body);
    if let Ok(Op::Anchor { wall_ns }) = op {
        *offset_ns = offset(wall_ns, frame.now_ns);
    }
    object.insert("at".to_owned(), json!(rfc3339(to_wall(frame.now_ns, *offset_ns))));
    match op {
        Ok(op) => describe(&op, keys, &mut object),
        Err(reason) => drop(object.insert("malformed".to_owned(), json!(reason))),
    }
    object.insert("engine_ns".to_owned(), json!(frame.now_ns));
    object.insert("durable_seq".to_owned(), json!(frame.durable_seq));
    Value::Object(object)
}

fn describe(op: &Op<'_>, keys: &mut HashMap<u64, String>, object: &mut Map<String, Value>) {
    let mut set = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    match *op {
        Op::Allow { id, cost, .. } => {
            set("type", json!("ALLOW"));
            set("id", json!(id));
            set("key", json!(keys.get(&id)));
            set("cost", json!(cost));
        }
        Op::Configure(configure) => {
            keys.insert(configure.id, configure.key.to_owned());
            set("type", json!("LIMIT_CONFIGURED"));
            set("id", json!(configure.id));
            set("key", json!(configure.key));
            set("origin", json!(if configure.origin == crate::image::Origin::Call { "call" } else { "explicit" }));
            set("rates", Value::Array(configure.rates().map(|change| rate(&change)).collect()));
        }
        Op::Reset { id } => {
            set("type", json!("RESET"));
            set("id", json!(id));
            set("key", json!(keys.get(&id)));
        }
        Op::Delete { id } => {
            set("type", json!("LIMIT_DELETED"));
            set("id", json!(id));
            set("key", json!(keys.get(&id)));
        }
        Op::Denials(denials) => {
            let denials = denials.map(|denial| {
                json!({
                    "id": denial.id, "key": keys.get(&denial.id), "count": denial.delta, "cost": denial.delta_cost,
                    "total_denied": denial.denied, "total_denied_cost": denial.denied_cost,
                })
            });
            set("type", json!("DENIALS"));
            set("keys", Value::Array(denials.collect()));
        }
        Op::Group(group) => {
            let purpose = match group.purpose {
                Purpose::LimitMany => "LIMIT_MANY",
                Purpose::CheckAll => "ALLOW_ALL",
                Purpose::CheckWithLimit => "ALLOW_WITH_LIMIT",
            };
            let mut items = Vec::new();
            for op in group.ops() {
                let mut item = Map::new();
                describe(&op, keys, &mut item);
                items.push(Value::Object(item));
            }
            set("type", json!(purpose));
            set("items", Value::Array(items));
        }
        Op::Anchor { wall_ns } => {
            set("type", json!("ANCHOR"));
            set("wall_ns", json!(wall_ns));
        }
        Op::SnapshotMark { start, end } => {
            set("type", json!("SNAPSHOT"));
            set("start", json!(start));
            set("end", json!(end));
        }
        Op::Close => set("type", json!("CLOSE")),
        Op::Event(event) => {
            set("type", json!("OLD_EVENT"));
            set("key", json!(event.key));
            set("cost", json!(event.cost));
            set("count", json!(event.count));
        }
    }
}

fn rate(change: &RateChange) -> Value {
    let rate = &change.rate;
    let mut value = json!({
        "rate": rate.limit(), "per_millis": rate.per_ms(), "burst": rate.burst(), "algorithm": rate.algorithm().name(),
    });
    match change.source {
        Source::New { carried } => value["used"] = json!(carried),
        Source::Kept(index) => value["kept"] = json!(index),
    }
    value
}
