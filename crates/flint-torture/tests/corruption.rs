//! Damage to stores at rest: refused with its place, or it makes no difference; of a crashed store, an earlier state that is
//! late enough. `flint_torture::corruption` says exactly what is allowed.

use std::collections::BTreeMap;
use std::path::Path;

use flint_torture::corruption::{
    Bits, Counts, Kind, LegacySpecimen, Specimen, bit_flips, file_edits, legacy_flips, legacy_truncations,
    record_edits, truncations,
};

const SEED: u64 = 1;

/// Which bits of which specimen: between them, every bit of every kind of file.
const fn bits(kind: Kind) -> Bits {
    match kind {
        Kind::Single => Bits::All,
        Kind::SingleKilled | Kind::SingleUnsynced | Kind::WithoutHistory | Kind::RotatedKilled => Bits::NotAllZeros,
        _ => Bits::FewOfSegments,
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn every_bit() {
    let mut counts = Counts::default();
    for kind in Kind::ALL {
        let flips = bit_flips(&Specimen::new(kind, SEED), bits(kind));
        println!("{kind:?} of seed {SEED}: {flips:?}");
        assert!(flips.refused > 1_000 && flips.identical > 1_000, "{kind:?}: {flips:?}");
        assert!(flips.earlier == 0 || !kind.is_closed(), "{kind:?}: {flips:?}");
        counts.bit_flips += flips;
    }
    assert!(counts.bit_flips.cases() >= 500_000, "{counts:?}");
    counts.record();
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn every_length() {
    let mut counts = Counts::default();
    for kind in Kind::ALL {
        // Whatever is missing of a segment, its length is wrong.
        let step = if matches!(kind, Kind::Single | Kind::WithoutHistory | Kind::RotatedKilled) { 1 } else { 61 };
        let cuts = truncations(&Specimen::new(kind, SEED), step);
        println!("{kind:?} of seed {SEED}: {cuts:?}");
        assert!(cuts.refused > 300 && cuts.earlier == 0, "{kind:?}: {cuts:?}");
        counts.truncations += cuts;
    }
    assert!(counts.truncations.cases() >= 80_000, "{counts:?}");
    counts.record();
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn every_record_and_every_file() {
    let mut counts = Counts::default();
    for seed in SEED..SEED + 4 {
        for kind in Kind::ALL {
            let specimen = Specimen::new(kind, seed);
            let (records, files) = (record_edits(&specimen, 60), file_edits(&specimen));
            println!("{kind:?} of seed {seed}: {records:?}, {files:?}");
            assert!(records.refused > 200 && records.identical > 0, "{kind:?}: {records:?}");
            assert!(files.refused > 10 && files.identical > 10, "{kind:?}: {files:?}");
            assert!(records.earlier == 0 || !kind.is_closed(), "{kind:?}: {records:?}");
            counts.record_edits += records;
            counts.file_edits += files;
        }
    }
    assert!(counts.record_edits.cases() >= 40_000, "{counts:?}");
    assert!(counts.file_edits.cases() >= 3_500, "{counts:?}");
    counts.record();
}

fn legacy(name: &str) -> LegacySpecimen {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/legacy-data").join(name).join("data");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(data).expect("a sample") {
        let path = entry.expect("a sample").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        files.insert(name, std::fs::read(&path).expect("a sample"));
    }
    LegacySpecimen::new(name, files)
}

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn directories_of_old_releases() {
    let mut counts = Counts::default();
    let samples = [("v0_1_log_only", 3), ("v0_2_log_only", 1), ("v0_2_torn_tail", 3), ("v0_2_snapshot_and_tail", 197)];
    for (name, step) in samples {
        let specimen = legacy(name);
        let (flips, cuts) = (legacy_flips(&specimen, step), legacy_truncations(&specimen, step));
        println!("{name}: {flips:?}, {cuts:?}");
        assert!(flips.refused > 500, "{name}: {flips:?}");
        counts.bit_flips += flips;
        counts.truncations += cuts;
    }
    assert!(counts.bit_flips.cases() >= 10_000 && counts.truncations.cases() >= 10_000, "{counts:?}");
    counts.record();
}
