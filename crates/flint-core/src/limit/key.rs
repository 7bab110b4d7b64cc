//! The name under which a limit is kept.

use crate::{Error, Result};

/// Longest key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 512;

/// Longest key that a store may hold: releases before 0.3 accepted keys of any length, and a log record has 16 bits for it.
pub const MAX_OLD_KEY_BYTES: usize = u16::MAX as usize;

/// A key of 1 to [`MAX_KEY_BYTES`] bytes. Any character is accepted; code that shows a key to people escapes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// Checks the length.
    ///
    /// # Errors
    /// `InvalidKey` for an empty key and for one of more than [`MAX_KEY_BYTES`] bytes.
    #[inline]
    pub fn new(text: &'a str) -> Result<Self> {
        if text.is_empty() || text.len() > MAX_KEY_BYTES { Err(refused(text)) } else { Ok(Self(text)) }
    }

    /// The key's text.
    #[inline]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

#[cold]
fn refused(text: &str) -> Error {
    let found = match text.len() {
        0 => "it is empty".to_owned(),
        n => format!("it is {n} bytes long in UTF-8"),
    };
    Error::InvalidKey(format!("{found}; a key is 1 to {MAX_KEY_BYTES} bytes of UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_counted_in_bytes() {
        assert_eq!(Key::new("k").unwrap().as_str(), "k");
        assert_eq!(Key::new(&"é".repeat(256)).unwrap().as_str().len(), 512);
        for bad in [String::new(), "x".repeat(513), "é".repeat(257)] {
            let error = Key::new(&bad).unwrap_err();
            assert!(matches!(&error, Error::InvalidKey(m) if m.contains("1 to 512 bytes")), "{error}");
        }
        assert!(Key::new(&"é".repeat(257)).unwrap_err().to_string().contains("514 bytes"));
        assert!(Key::new("").unwrap_err().to_string().contains("empty"));
    }

    #[test]
    fn control_characters_are_part_of_a_key() {
        assert_eq!(Key::new("a\nb\0").unwrap().as_str(), "a\nb\0");
    }
}
