//! Damage to stores at rest: refused with its place, or it makes no difference; of a crashed store, an earlier state that is
//! late enough. `flint_torture::corruption` says exactly what is allowed.

use flint_torture::corruption::{
    Bits, Counts, Kind, LegacySample, SampleStore, bit_flips, file_edits, legacy_flips, legacy_truncations,
    record_edits, truncations,
};

const SEED: u64 = 1;

/// Which bits of which sample: between them, every bit of every kind of file.
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
        let flips = bit_flips(&SampleStore::new(kind, SEED), bits(kind));
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
        let cuts = truncations(&SampleStore::new(kind, SEED), step);
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
            let sample = SampleStore::new(kind, seed);
            let (records, files) = (record_edits(&sample, 60), file_edits(&sample));
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

#[test]
#[expect(clippy::print_stdout, reason = "how much was tried belongs into the test's output")]
fn directories_of_old_releases() {
    let mut counts = Counts::default();
    for sample in LegacySample::all() {
        let name = sample.name();
        // Each sample of a real log with one bit in three bytes or fewer; every bit of one log, and of a snapshot with its log.
        let step = match name {
            "v0_2_log_only" | "a small snapshot" => 1,
            _ if sample.is_large() => 397,
            _ => 3,
        };
        let (flips, cuts) = (legacy_flips(&sample, step), legacy_truncations(&sample, step));
        println!("{name}: {flips:?}, {cuts:?}");
        assert!(flips.refused > 300, "{name}: {flips:?}");
        counts.bit_flips += flips;
        counts.truncations += cuts;
    }
    assert!(counts.bit_flips.cases() >= 10_000 && counts.truncations.cases() >= 10_000, "{counts:?}");
    counts.record();
}
