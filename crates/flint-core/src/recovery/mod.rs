//! Opening: from files to the state that the last session acknowledged.
//!
//! 1. `files` opens the newest snapshot and every segment.
//! 2. `scan` walks the log, checks the chain and gives the verdict on its end: fine, torn tail (where to cut), or corrupt.
//! 3. `replay` applies the records behind the snapshot to the table.
//! 4. `repair` (a writer only) makes the disk agree with what was accepted, before anything is acknowledged on top of it.
//!
//! The first three change nothing and also serve read-only openers, beside a live writer.

mod bounds;
mod files;
mod ids;
pub(crate) mod repair;
pub(crate) mod replay;
pub(crate) mod scan;

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::idempotency::IdempotencyWindow;
use crate::image::KeyImage;
use crate::snapshot::{self, Body};
use crate::storage::Dir;
use crate::sync;
use crate::table::Table;
use crate::time::Anchor;

use bounds::{BEYOND, MAX_NUMBER};
use files::imprint;
pub(crate) use files::{Access, Found, SnapshotFile, list_segments, lost_store, open_with_path};
use replay::{Replayed, Replayer};
use scan::{Scan, Tail};

/// What open found and did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Whether the directory was new.
    pub created: bool,
    /// Whether the last session ended with close().
    pub clean: bool,
    /// Sequence number at which the snapshot starts, 0 without one.
    pub snapshot_seq: u64,
    /// Records replayed from the log.
    pub records: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes cut from a torn tail.
    pub cut_bytes: u64,
    /// The file that was cut and the offset.
    pub cut_at: Option<(PathBuf, u64)>,
    /// The release whose files were migrated ("0.1", "0.2").
    pub migrated_from: Option<&'static str>,
}

/// How often a look starts over when a writer changes the files under it, and how long it waits before.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// The state in the files.
pub(crate) struct Loaded {
    pub(crate) table: Table,
    pub(crate) idempotency: IdempotencyWindow,
    pub(crate) store_id: u64,
    pub(crate) seq: u64,
    pub(crate) crc: u32,
    pub(crate) newest_ns: u64,
    pub(crate) anchor: Option<Anchor>,
    pub(crate) snapshot: Option<SnapshotFile>,
    pub(crate) scan: Scan,
    pub(crate) clean: bool,
    pub(crate) records: u64,
    pub(crate) history_events: u64,
}

impl Loaded {
    /// Whether these are exactly its counters, and these its answers that are not too old at `now_ns`.
    pub(crate) fn holds(&self, images: &[KeyImage], idempotency: &IdempotencyWindow, now_ns: u64) -> bool {
        let mut found = KeyImage::default();
        let mut is_there = |image: &KeyImage| {
            self.table.find(&image.key).is_some_and(|head| {
                self.table.counters(head).any(|slot| {
                    self.table.export(slot, &mut found);
                    found == *image
                })
            })
        };
        let answers = |window: &IdempotencyWindow| {
            let mut all = Vec::new();
            window.for_each(now_ns, &mut |found| all.push((found.call, found.at_ns, found.answer.to_vec())));
            // Those of one record have no order.
            all.sort_unstable_by_key(|&(call, at_ns, _)| (at_ns, call.id));
            all
        };
        self.table.counters_len() == images.len() as u64
            && images.iter().all(&mut is_there)
            && answers(&self.idempotency) == answers(idempotency)
    }
}

/// Calls `once`, which reads the directory, until its answer can be believed. Beside a writer a file may vanish or grow a
/// successor between two readings, which looks like damage. But every state that a writer leaves behind can be opened, at any
/// instruction: a refusal counts as soon as nothing changed while `once` was reading.
pub(crate) fn look<T>(dir: &dyn Dir, mut once: impl FnMut() -> Result<T>) -> Result<T> {
    let hash = hashbrown::DefaultHashBuilder::default();
    let mut before = None;
    for attempt in 1.. {
        match once() {
            Ok(found) => return Ok(found),
            Err(error) => {
                let after = imprint(dir, &hash);
                if attempt == ATTEMPTS || before == Some(after) {
                    return Err(error);
                }
                if before.replace(after).is_some() {
                    sync::sleep(PAUSE);
                }
            }
        }
    }
    unreachable!("the last attempt returns")
}

/// Reads the store in `dir`; `None` if there is none. `thorough` also decodes sealed segments that the snapshot covers, which
/// otherwise only have their SHA-256 verified. In shared access call it through [`look`].
pub(crate) fn load(dir: &dyn Dir, access: Access, thorough: bool) -> Result<Option<Loaded>> {
    Found::open(dir, access)?.map(|found| load_found(dir, found, access, thorough)).transpose()
}

fn load_found(dir: &dyn Dir, found: Found, access: Access, thorough: bool) -> Result<Loaded> {
    let Found { snapshot: snapshot_file, segments } = found;
    let mut replayer = Replayer::new();
    let mut snapshot_info = None;
    if let Some(mut file) = snapshot_file {
        let path = dir.path().join(&file.name);
        let (header, trailer) = snapshot::read(&*file.file, &path, &mut |body| match body {
            Body::Key(image) => replayer
                .import(image)
                .map_err(|reason| Error::corrupt(&path, 0, format!("key {:?}: {reason}", image.key))),
            Body::Idempotency(record) => {
                replayer.replayed.idempotency.remember(&record);
                Ok(())
            }
        })?;
        if header.start != file.start {
            return Err(Error::corrupt(&path, 0, "its name does not agree with its header"));
        }
        if trailer.end.max(trailer.next_id).max(header.start) > MAX_NUMBER {
            return Err(Error::corrupt(&path, 0, BEYOND));
        }
        replayer.cover(header.start, trailer.end, trailer.next_id);
        replayer.replayed.anchored(header.engine_ns, header.wall_ns);
        file.header = Some(header);
        file.end = trailer.end;
        snapshot_info = Some(file);
    }
    let base = snapshot_info
        .as_ref()
        .and_then(|file| file.header.as_ref().map(|header| (header.store_id, header.start, file.end)));
    let scan = scan::scan(dir, segments, base, access, thorough, &mut |name, frame| replayer.apply(dir, name, frame))?;
    let (records, history_events, clean) = (replayer.records, replayer.history_events, replayer.clean);
    let Replayed { table, idempotency, newest_ns, anchor } = replayer.finish(dir)?;
    Ok(Loaded {
        table,
        idempotency,
        store_id: scan.store_id,
        seq: scan.last_seq,
        crc: scan.last_crc,
        newest_ns,
        anchor,
        snapshot: snapshot_info,
        clean: clean && matches!(scan.tail, Tail::Clean),
        scan,
        records,
        history_events,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;
    use crate::testing::sim::SimDisk;

    fn damage() -> Result<()> {
        Err(Error::corrupt("somewhere", 0, "as it seems"))
    }

    #[test]
    fn damage_in_files_that_stay_is_reported_at_the_second_look() {
        let disk = SimDisk::new();
        disk.write_file(&files::segment_name(1), b"content");
        let mut looks = 0;
        let found = look(&*disk.dir(), || {
            looks += 1;
            // The lock's content is not the store's.
            disk.write_file(files::LOCK, &[looks]);
            damage()
        });
        assert!(matches!(found, Err(Error::Corrupt { .. })));
        assert_eq!(looks, 2);
    }

    #[test]
    fn while_a_writer_changes_the_files_damage_is_not_believed() {
        let disk = SimDisk::new();
        let changes: [&dyn Fn(u8); 4] = [
            &|look| disk.write_file(&files::segment_name(1), &[look; 8]),
            &|look| disk.write_file(&files::segment_name(u64::from(look)), b""),
            &|look| disk.write_file(&files::snapshot_name(1), &vec![0; usize::from(look)]),
            &|_| drop(disk.dir().rename(&files::snapshot_name(1), &files::snapshot_name(2))),
        ];
        let mut looks = 0;
        let found = look(&*disk.dir(), || {
            let Some(change) = changes.get(usize::from(looks)) else { return Ok(()) };
            looks += 1;
            change(looks);
            damage()
        });
        assert!(found.is_ok());
        let mut looks = 0;
        let found = look(&*disk.dir(), || {
            looks += 1;
            disk.write_file(&files::segment_name(1), &[looks; 8]);
            damage()
        });
        assert!(matches!(found, Err(Error::Corrupt { .. })));
        assert_eq!(u32::from(looks), ATTEMPTS);
    }
}
