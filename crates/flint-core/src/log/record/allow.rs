//! Kind Allow: a check was allowed.

use super::body::push_words;
use crate::algorithm::{AFTER_IMAGE_LEN, AfterImage};
use crate::limit::MAX_RATES;
use crate::log::cursor::{Cursor, Malformed};

/// An allowed check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowOp<'a> {
    /// The key's id.
    pub id: u64,
    /// What was taken.
    pub cost: u64,
    /// One [`AfterImage`] for each of the key's rates.
    pub images: &'a [u8],
}

#[inline]
pub(super) fn decode(body: &[u8]) -> Result<AllowOp<'_>, Malformed> {
    let mut cursor = Cursor::new(body);
    let id = cursor.u64()?;
    let cost = cursor.u64()?;
    let images = cursor.rest();
    if images.is_empty() || !images.len().is_multiple_of(AFTER_IMAGE_LEN) || images.len() > MAX_RATES * AFTER_IMAGE_LEN
    {
        return Err("it has no, half or too many states");
    }
    Ok(AllowOp { id, cost, images })
}

/// Appends an allowed check of a key with one rate: the hot path.
#[inline]
pub fn push_allow_one(buf: &mut Vec<u8>, id: u64, cost: u64, image: AfterImage) {
    let mut body = [0; 32];
    body[..8].copy_from_slice(&id.to_le_bytes());
    body[8..16].copy_from_slice(&cost.to_le_bytes());
    body[16..].copy_from_slice(&image);
    buf.extend_from_slice(&body);
}

/// Appends an allowed check: one image for each of the key's rates.
#[inline]
pub fn push_allow(buf: &mut Vec<u8>, id: u64, cost: u64, images: &[AfterImage]) {
    if let [image] = images {
        return push_allow_one(buf, id, cost, *image);
    }
    push_words(buf, [id, cost]);
    buf.extend_from_slice(images.as_flattened());
}
