//! What is left of a snapshot file: all of it if it is intact, else what can be read line by line.

use std::ops::Range;
use std::path::Path;

use hashbrown::HashSet;

use super::lines::{Line, read_lines};
use super::{Body, Header, Trailer, read};
use crate::algorithm::{RunArena, State};
use crate::error::{Error, Result};
use crate::idempotency::IdempotencyWindow;
use crate::image::KeyImage;
use crate::storage::File;

/// What is left of a snapshot file.
#[derive(Debug, Default)]
pub struct Remains {
    /// Bytes of the file.
    pub len: usize,
    /// Why it is not intact. Then nothing vouches for a line but its form.
    pub damage: Option<String>,
    /// The first line; of a damaged file only if it can be read, as the others.
    pub header: Option<Header>,
    /// The last line.
    pub trailer: Option<Trailer>,
    /// The keys, each with an id of its own and a state that its rates can have.
    pub images: Vec<KeyImage>,
    /// The remembered answers, only of an intact file.
    pub idempotency: IdempotencyWindow,
    /// How many lines hold remembered answers.
    pub answers: u64,
    /// Lines that cannot be read, and why.
    pub bad_lines: Vec<(Range<usize>, &'static str)>,
}

/// Reads what is left.
///
/// # Errors
/// `Unsupported` for an intact file of a newer format, `Storage` when it cannot be measured.
pub fn read_remains(file: &dyn File, path: &Path) -> Result<Remains> {
    let mut found = Remains::default();
    let whole = read(file, path, &mut |body| {
        if let Body::Idempotency(record) = body {
            found.idempotency.remember(&record);
        }
        Ok(())
    });
    found.damage = match whole {
        Ok(_) => None,
        Err(error @ Error::Unsupported { .. }) => return Err(error),
        Err(Error::Corrupt { detail, .. }) => Some(detail),
        Err(other) => Some(other.to_string()),
    };
    let failed = |error| Error::storage("cannot read", path, error);
    let len = file.len().map_err(failed)?;
    found.len = usize::try_from(len).unwrap_or(usize::MAX);
    let mut ids = HashSet::new();
    let read = read_lines(file, len, &mut |range, line| match line {
        Line::Header(header) => found.header = Some(header),
        Line::Trailer(trailer) => found.trailer = Some(trailer),
        Line::Idempotency => found.answers += 1,
        Line::Unreadable(reason) => found.bad_lines.push((range, reason)),
        Line::Key(image) if !ids.insert(image.id) => found.bad_lines.push((range, "its id occurs twice")),
        Line::Key(image) => match has_states(&image) {
            Ok(()) => found.images.push(image),
            Err(reason) => found.bad_lines.push((range, reason)),
        },
    });
    read.map_err(failed)?;
    if let (None, Some((_, reason))) = (&found.damage, found.bad_lines.first()) {
        found.damage = Some((*reason).to_owned());
    }
    if found.damage.is_some() {
        found.idempotency = IdempotencyWindow::default();
    }
    Ok(found)
}

/// Whether the key is one that was written: with an id, and states that its rates can have.
fn has_states(image: &KeyImage) -> Result<(), &'static str> {
    if image.id == 0 {
        return Err("the key has no id");
    }
    let mut runs = RunArena::new();
    image
        .rates
        .iter()
        .zip(&image.states)
        .try_for_each(|(rate, numbers)| State::import(rate.algorithm(), numbers, &mut runs).map(drop))
}
