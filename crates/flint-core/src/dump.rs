//! Log records as JSON, for people and tools.

use std::path::{Path, PathBuf};

use hashbrown::HashMap;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::image::{RateChange, Source};
use crate::log::reader::Frame;
use crate::log::record::{GroupOp, IdempotencyOp, Op, Purpose, TotalsOp, decode};
use crate::migrate::CurrentView;
use crate::segments::{ATTEMPTS, PAUSE, Reader};
use crate::snapshot::{self, Body};
use crate::storage::disk::DiskDir;
use crate::storage::{Dir, Mode};
use crate::sync::{self, Arc};
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
    /// A JSON object: `seq`, `at` (RFC 3339, by the newest anchor before it, or else by the snapshot), `type`, and what the record
    /// says. Keys are named where the files that are left name them.
    pub json: String,
}

/// What a look at the log finds.
#[derive(Debug, Clone)]
pub enum Dumped {
    /// A record.
    Record(DumpedRecord),
    /// The records `from` to `to` are not in the files any more: compaction removed them before they were read.
    Gap {
        /// The first one.
        from: u64,
        /// The last one.
        to: u64,
    },
}

/// Goes through a directory's log, and on with what is written to it, from one look to the next.
pub struct Follower {
    dir: Arc<dyn Dir>,
    dump: Dump,
}

impl Follower {
    /// For the directory `path`, from the record behind `after`.
    ///
    /// # Errors
    /// `Storage`.
    pub fn open(path: &Path, after: u64) -> Result<Self> {
        let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
        Ok(Self::open_in(dir, after))
    }

    /// The same for any directory.
    pub fn open_in(dir: Arc<dyn Dir>, after: u64) -> Self {
        Self { dir, dump: Dump::new(after) }
    }

    /// Calls `each` for every record that was not seen yet, in order, and for every gap before one, until it returns false.
    /// Whether to go on.
    ///
    /// # Errors
    /// `Storage`; `Corrupt` after the records before damage in the middle of the log (behind the last good record only doctor
    /// tells damage from a torn tail); `Unsupported` for an old release's directory.
    pub fn look(&mut self, each: &mut dyn FnMut(Dumped) -> bool) -> Result<bool> {
        self.dump.look(&*self.dir, each)
    }

    /// The newest sequence number seen, or the one that it started behind.
    pub const fn newest(&self) -> u64 {
        self.dump.newest
    }
}

/// Calls `each` for every record of a directory's log with a sequence number above `after`, in order, until it returns false; alongside a
/// live writer too. Returns the newest sequence number seen.
///
/// # Errors
/// `Storage`; `Corrupt` after the records before damage in the middle of the log (behind the last good record only
/// [`doctor`](crate::doctor) tells damage from a torn tail); `Unsupported` for an old release's directory.
pub fn dump(path: &Path, after: u64, each: &mut dyn FnMut(DumpedRecord) -> bool) -> Result<u64> {
    let dir = DiskDir::open(path, false).map_err(|error| Error::storage("cannot open", path, error))?;
    let mut dump = Dump::new(after);
    dump.look(&*dir, &mut |found| match found {
        Dumped::Record(record) => each(record),
        Dumped::Gap { .. } => true,
    })?;
    Ok(dump.newest)
}

struct Dump {
    reader: Reader,
    /// The newest record read; 0 before the first.
    last_read: u64,
    /// The newest record shown, or the number of the one to start behind.
    newest: u64,
    /// Whether the next record has to be the one behind `newest`. Where the caller named none, the log may begin anywhere.
    expecting: bool,
    facts: Facts,
}

/// What records leave to others before them to say.
#[derive(Default)]
struct Facts {
    /// The keys by id.
    keys: HashMap<u64, String>,
    /// Wall minus engine time.
    offset_ns: i64,
}

impl Dump {
    fn new(after: u64) -> Self {
        Self { reader: Reader::default(), last_read: 0, newest: after, expecting: after > 0, facts: Facts::default() }
    }

    fn look(&mut self, dir: &dyn Dir, each: &mut dyn FnMut(Dumped) -> bool) -> Result<bool> {
        let view = current(dir)?;
        let dir = view.dir();
        let Self { reader, last_read, newest, expecting, facts, .. } = self;
        let mut goes_on = true;
        // Facts are gathered from the whole log, not only from the part that is asked for.
        reader.look(dir, &mut |name, frame| {
            let follows = last_read.checked_add(1) == Some(frame.seq);
            if !follows || *last_read == 0 {
                facts.take_from_snapshot(dir, !follows);
            }
            *last_read = frame.seq;
            let op = decode(frame.kind, frame.body);
            if let Ok(op) = &op {
                facts.learn(op, frame.now_ns);
            }
            if frame.seq <= *newest {
                return true;
            }
            if *expecting && frame.seq - *newest > 1 {
                goes_on = each(Dumped::Gap { from: *newest + 1, to: frame.seq - 1 });
            }
            (*newest, *expecting) = (frame.seq, true);
            if goes_on {
                let (path, offset) = (dir.path().join(name), frame.offset as u64);
                let json = to_json(frame, op, facts);
                goes_on = each(Dumped::Record(DumpedRecord { path, offset, seq: frame.seq, json }));
            }
            goes_on
        })?;
        // Whatever is missing from here on was written and removed between two looks.
        self.expecting = true;
        Ok(goes_on)
    }
}

/// The directory in the current format. An old release's log has no records, and is text already.
fn current(dir: &dyn Dir) -> Result<CurrentView<'_>> {
    let view = migrate::view(dir)?;
    if view.old.is_some() {
        return Err(Error::Unsupported {
            path: dir.path().to_path_buf(),
            detail: format!(
                "{} of an older Flint is text already; it is migrated when an application opens it",
                files::LEGACY_AOF
            ),
        });
    }
    Ok(view)
}

impl Facts {
    /// What the newest snapshot says instead of records that are not in the log: the keys, and, if `time`, when it is. It is
    /// opened after the segments, and so it is no older than those before them need. Doctor reports a damaged one.
    fn take_from_snapshot(&mut self, dir: &dyn Dir, time: bool) {
        for _ in 0..ATTEMPTS {
            let newest =
                dir.list().ok().and_then(|names| names.iter().filter_map(|n| files::parse_snapshot_name(n)).max());
            let Some(name) = newest.map(files::snapshot_name) else { return };
            match dir.open(&name, Mode::Read) {
                Ok(file) => {
                    let mut keys = Vec::new();
                    let read = snapshot::read(&*file, &dir.path().join(&name), &mut |body| {
                        if let Body::Key(image) = body {
                            keys.push((image.id, image.key.clone()));
                        }
                        Ok(())
                    });
                    if let Ok((header, _)) = read {
                        self.keys.extend(keys);
                        if time {
                            self.offset_ns = offset(header.wall_ns, header.engine_ns);
                        }
                    }
                    return;
                }
                // A newer one took its place.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => sync::sleep(PAUSE),
                Err(_) => return,
            }
        }
    }

    fn learn(&mut self, op: &Op<'_>, now_ns: u64) {
        match op {
            Op::Anchor { wall_ns } => self.offset_ns = offset(*wall_ns, now_ns),
            Op::Configure(configure) => drop(self.keys.insert(configure.id, configure.key.to_owned())),
            Op::Group(group) => {
                for op in group.ops() {
                    if let GroupOp::Configure(configure) = op {
                        self.learn(&Op::Configure(configure), now_ns);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The record as a JSON object. The items of a call come last and become text one by one: there may be 100,000 of them, whose tree
/// takes ten times the memory.
fn to_json(frame: &Frame<'_>, op: std::result::Result<Op<'_>, &'static str>, facts: &Facts) -> String {
    let mut object = Map::new();
    let mut items = None;
    object.insert("seq".to_owned(), json!(frame.seq));
    object.insert("at".to_owned(), json!(rfc3339(to_wall(frame.now_ns, facts.offset_ns))));
    match op {
        Ok(op) => items = describe(&op, &facts.keys, &mut object),
        Err(reason) => drop(object.insert("malformed".to_owned(), json!(reason))),
    }
    object.insert("engine_ns".to_owned(), json!(frame.now_ns));
    object.insert("durable_seq".to_owned(), json!(frame.durable_seq));
    let mut text = Value::Object(object).to_string();
    if let Some(items) = items {
        text.pop();
        text.push_str(",\"items\":[");
        text.push_str(&items);
        text.push_str("]}");
    }
    text
}

/// Says in `object` what a record does. Returns the items of a call of several, as the text of a list.
fn describe(op: &Op<'_>, keys: &HashMap<u64, String>, object: &mut Map<String, Value>) -> Option<String> {
    let mut set = |name: &str, value: Value| drop(object.insert(name.to_owned(), value));
    match *op {
        Op::Allow(allow) => {
            set("type", json!("ALLOW"));
            set("id", json!(allow.id));
            set("key", json!(keys.get(&allow.id)));
            set("cost", json!(allow.cost));
        }
        Op::Configure(configure) => {
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
        // One record for the denials of several keys, each with its increase and its new totals.
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
            // The type names the call that was made; a call of one key has the type of its plain record.
            let purpose = match group.purpose {
                Purpose::LimitMany => "LIMIT_MANY",
                Purpose::CheckAll => "ALLOW_ALL",
                Purpose::CheckWithLimit => "ALLOW_WITH_LIMIT",
                Purpose::Check => "ALLOW",
                Purpose::Limit => "LIMIT_CONFIGURED",
                Purpose::Reset => "RESET",
                Purpose::Delete => "LIMIT_DELETED",
            };
            set("type", json!(purpose));
            // Each item becomes text at once: only one tree of JSON exists at a time.
            let (mut items, mut idempotency) = (String::new(), None);
            let mut push = |item: Value| {
                if !items.is_empty() {
                    items.push(',');
                }
                items.push_str(&item.to_string());
            };
            for op in group.ops() {
                let op = match op {
                    // It belongs to the call as a whole and is no item.
                    GroupOp::Idempotency(found) => {
                        idempotency = Some(found);
                        continue;
                    }
                    GroupOp::Allow(allow) => Op::Allow(allow),
                    GroupOp::Configure(configure) => Op::Configure(configure),
                    GroupOp::Reset { id } => Op::Reset { id },
                    GroupOp::Delete { id } => Op::Delete { id },
                    // Occurs in groups only, and so has no `Op`.
                    GroupOp::Totals(op) => {
                        push(totals(&op, keys));
                        continue;
                    }
                };
                // A check that may be repeated looks like any other check of one key.
                if group.purpose == Purpose::Check {
                    let _ = describe(&op, keys, object);
                    continue;
                }
                let mut item = Map::new();
                let _ = describe(&op, keys, &mut item);
                push(Value::Object(item));
            }
            // The id and fingerprint alone: the answer repeats what the items say.
            if let Some(IdempotencyOp { call, .. }) = idempotency {
                let value = json!({ "id": hex(&call.id), "fingerprint": hex(&call.fingerprint) });
                object.insert("receipt".to_owned(), value);
            }
            return Some(items).filter(|_| group.purpose != Purpose::Check);
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
        // An event of an old release, from before the migration: such records name the key itself.
        Op::Event(event) => {
            set("type", json!("OLD_EVENT"));
            set("key", json!(event.key));
            set("cost", json!(event.cost));
            set("count", json!(event.count));
        }
    }
    None
}

fn totals(op: &TotalsOp, keys: &HashMap<u64, String>) -> Value {
    let TotalsOp { id, totals } = op;
    json!({
        "type": "TOTALS", "id": id, "key": keys.get(id), "total_allowed": totals.allowed, "total_denied": totals.denied,
        "total_allowed_cost": totals.allowed_cost, "total_denied_cost": totals.denied_cost,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
