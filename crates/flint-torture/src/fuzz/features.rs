//! What an input made the code do, as far as it can be seen from outside. An input that shows something new is kept.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What one input showed.
#[derive(Debug, Default)]
pub(super) struct Features(HashSet<u64>);

impl Features {
    /// Notes that `what` happened with this outcome.
    pub(super) fn note(&mut self, what: &str, outcome: impl Display) {
        let mut hash = DefaultHasher::new();
        what.hash(&mut hash);
        masked(&outcome.to_string()).hash(&mut hash);
        self.0.insert(hash.finish());
    }

    /// Notes the magnitude of a number.
    pub(super) fn count(&mut self, what: &str, count: u64) {
        self.note(
            what,
            char::from(b'a' + u8::try_from(count.checked_ilog2().map_or(0, |log| log + 1) % 26).unwrap_or(0)),
        );
    }

    pub(super) fn into_set(self) -> HashSet<u64> {
        self.0
    }
}

/// The beginning of a message without what the input put into it, which would make each one look new: words with digits,
/// quotations, and everything in brackets.
fn masked(text: &str) -> String {
    const MOST: usize = 90;
    let mut out = String::new();
    let mut word = String::new();
    let (mut quoted, mut depth) = (false, 0_u32);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quoted {
            match c {
                '\\' => drop(chars.next()),
                '"' => quoted = false,
                _ => {}
            }
        } else if c.is_alphanumeric() {
            word.push(c);
        } else {
            let seen = std::mem::take(&mut word);
            if depth == 0 {
                out.push_str(if seen.contains(|c: char| c.is_numeric()) { "#" } else { &seen });
                out.push(c);
            }
            match c {
                '"' => quoted = true,
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
    }
    if depth == 0 {
        out.push_str(if word.contains(|c: char| c.is_numeric()) { "#" } else { &word });
    }
    out.chars().take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_quotations_are_masked() {
        assert_eq!(masked(r#"record 12 of "a\"b 3" at 0x07"#), r#"record # of " at #"#);
        assert_eq!(masked("got {\"a\": [1]}, not 1"), "got {, not #");
    }
}
