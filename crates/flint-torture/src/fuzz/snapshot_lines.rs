//! The snapshot file: it is read and written again as the same bytes, or refused.
//!
//! The first byte of an input says whether the SHA-256 is put right; the rest is the file.

use std::path::Path;

use flint_core::Error;
use flint_core::files::snapshot_name;
use flint_core::idempotency::IdempotencyRecord;
use flint_core::snapshot::{self, Body, Writer};
use flint_core::storage::Mode;
use flint_core::testing::sim::SimDisk;

use super::editable::fix_snapshot;
use super::features::Features;
use super::stores;

pub(super) const MAX_LEN: usize = 6_000;

pub(super) const WORDS: [&[u8]; 20] = [
    b"\"token_bucket\"",
    b"\"fixed_window_counter\"",
    b"\"sliding_window_log\"",
    b",\"origin\":\"call\"",
    b",\"out_of_bounds\":true",
    b",\"totals\":[1,2,3,4,5,6,7]",
    b",\"totals\":[0,0,0,0,0,0,0]",
    b"\\u0000",
    b"\\u001f",
    b"\\u0020",
    b"\\\"",
    b"\xc3\xa9",
    b"\xff",
    b"\n",
    b"null",
    b"340282366920938463463374607431768211455",
    b"340282366920938463463374607431768211456",
    b"00",
    b",\"receipts\":1",
    b"{\"receipt\":\"",
];

/// The beginning of a snapshot of the current version.
const CURRENT: &[u8] = b"{\"format\":\"flint-snapshot\",\"version\":2,";

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (name, bytes) in stores::all().iter().flat_map(super::editable::EditableDirectory::write) {
        if flint_core::files::parse_snapshot_name(&name).is_some() {
            // Long keys say nothing that short ones do not.
            let text = String::from_utf8_lossy(&bytes).replace(&"x".repeat(500), "x");
            seeds.push([&[1], text.as_bytes()].concat());
        }
    }
    seeds.extend([vec![], vec![0], b"\x01\n".to_vec()]);
    seeds
}

pub(super) fn execute(input: &[u8], features: &mut Features) {
    let Some((&flags, rest)) = input.split_first() else { return };
    let mut bytes = rest.to_vec();
    if flags & 1 != 0 {
        fix_snapshot(&mut bytes);
    }
    let disk = SimDisk::new();
    let name = snapshot_name(7);
    disk.write_file(&name, &bytes);
    let file = disk.dir().open(&name, Mode::Read).expect("it was just written");
    let path = Path::new("/snapshot");
    let mut images = Vec::new();
    let mut answers = Vec::new();
    let result = snapshot::read(&*file, path, &mut |body| {
        match body {
            Body::Key(image) => {
                assert_eq!(image.rates.len(), image.states.len());
                images.push(image.clone());
            }
            Body::Idempotency(record) => answers.push((record.call, record.seq, record.at_ns, record.answer.to_vec())),
        }
        Ok(())
    });
    let header = snapshot::read_header(&*file, path);
    assert_eq!(disk.ops(), 0, "reading changes nothing");
    features.count("images", images.len() as u64);
    match result {
        Ok((whole, trailer)) => {
            assert_eq!(header.ok().as_ref(), Some(&whole));
            assert_eq!((trailer.keys, trailer.answers), (images.len() as u64, answers.len() as u64));
            let mut writer = Writer::new(&whole);
            images.iter().for_each(|image| writer.push(image));
            for (call, seq, at_ns, answer) in &answers {
                writer.push_idempotency(&IdempotencyRecord { call: *call, seq: *seq, at_ns: *at_ns, answer });
            }
            features.count("answers", answers.len() as u64);
            let mut again = writer.take_chunk();
            again.extend(writer.finish(trailer.end, trailer.next_id));
            // A snapshot of an older version is written in the current one.
            if bytes.starts_with(CURRENT) {
                assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&bytes));
                assert!(again == bytes);
            }
            features.note("read", format_args!("{:?}", whole.migrated.map(|from| from.release)));
            for image in &images {
                features.note("image", format_args!("{:?} {}", image.origin, image.out_of_bounds));
                features.count("rates", image.rates.len() as u64);
                for rate in &image.rates {
                    features.note("rate", format_args!("{} {}", rate.algorithm().name(), rate.is_valid()));
                }
            }
        }
        Err(error @ (Error::Corrupt { .. } | Error::Unsupported { .. })) => {
            if let Error::Corrupt { offset, .. } = error {
                assert!(offset <= bytes.len() as u64, "a place beyond the file: {error}");
                features.count("place", offset);
            }
            features.note("refused", &error);
            features.note("header", header.is_ok());
        }
        Err(error) => panic!("another kind of error: {error:?}"),
    }
}
