//! Every length of every file.

use flint_core::files;
use flint_core::log::segment::{HEADER_LEN, SEAL_LEN};

use super::flips::allowed;
use super::oracle::{ExpectedError, Oracle, Tally};
use super::sample::SampleStore;
use super::sweep::sweep;

/// Cuts every file at every byte (or, of segments, at every `step`th and around the edges), and lengthens every file.
///
/// # Panics
/// When that makes a store what it must not be.
pub fn truncations(sample: &SampleStore, step: usize) -> Tally {
    let mut lengths = Vec::new();
    for (name, bytes) in &sample.files {
        let is_segment = files::parse_segment_name(name).is_some();
        // Of the reserve only the length counts: all shorter ones are the same.
        let step = if name == files::RESERVE { 256 } else { step };
        let is_long = is_segment || name == files::RESERVE;
        let edge = |len: usize| len <= HEADER_LEN + 8 || len + SEAL_LEN + 8 >= bytes.len();
        let wanted = |&len: &usize| !is_long || len.is_multiple_of(step) || edge(len);
        lengths.extend((0..bytes.len()).filter(wanted).map(|len| (name, len, 0)));
        let more = [1, 8, 512, 4096].into_iter().flat_map(|more| [(more, 0), (more, 0xa5)]);
        lengths.extend(more.map(|(more, fill)| (name, bytes.len() + more, fill)));
    }
    let oracle = Oracle::new(sample);
    sweep(lengths.len(), |index, tally| {
        let (name, len, fill) = lengths[index];
        let mut bytes = sample.files[name].clone();
        bytes.resize(len, fill);
        let disk = sample.disk.kill();
        disk.write_file(name, &bytes);
        let mut allowed = allowed(sample, name, len);
        if let ExpectedError::File(name, ..) = allowed.expected {
            // The length itself is wrong; a snapshot is verified line by line.
            let is_segment = files::parse_segment_name(name).is_some();
            let (from, to) = match len {
                0..HEADER_LEN if is_segment => (0, 0),
                _ => (if is_segment { len } else { 0 }, len),
            };
            allowed.expected = ExpectedError::File(name, from as u64, to as u64);
        }
        oracle.check(&disk, allowed, tally, &|| format!("{name} of {len} bytes, filled with {fill}"));
    })
}
