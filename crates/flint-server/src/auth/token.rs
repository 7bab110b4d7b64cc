//! Tokens and what they allow. A token is kept and compared as its SHA-256 digest, in constant time.
//!
//! A token file has one token per line, followed by its scopes; `#` starts a comment line:
//!
//! ```text
//! 6f1c…  check
//! 91ab…  check configure
//! 0d44…  admin metrics
//! ```

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::scope::Scopes;
use crate::config_file;
use crate::error::StartError;

/// Bytes of a digest.
pub(crate) const DIGEST_LEN: usize = 32;
/// What a token has to be, in messages.
pub(crate) const STRONG: &str = "128 random bits, which are 32 hexadecimal digits or 22 characters of base64, such as those of `openssl rand -hex 16`";
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Identifies a client: the digest of its token, zeros where none is needed.
pub(crate) type Principal = [u8; DIGEST_LEN];

/// The tokens that are accepted.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokens(Vec<(Principal, Scopes)>);

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

fn digest(token: &[u8]) -> Principal {
    Sha256::digest(token).into()
}

impl Tokens {
    /// One token that may do everything.
    ///
    /// # Errors
    /// An empty token, or one that no header can hold.
    pub(crate) fn single(token: &str) -> Result<Self, StartError> {
        if token.is_empty() {
            return Err(StartError::new("the token is empty"));
        }
        if let Some(bad) = unfit(token) {
            return Err(StartError::new(format!("the token has {bad}, which no Authorization header can hold")));
        }
        Ok(Self(vec![(digest(token.as_bytes()), Scopes::ALL)]))
    }

    /// The tokens of a file, which only its owner may read.
    ///
    /// # Errors
    /// What is wrong with the file, with its line.
    pub(crate) fn read(path: &Path) -> Result<Self, StartError> {
        let wrong = |what: String| StartError::new(format!("token file {}: {what}", path.display()));
        let (content, metadata) = config_file::read(path, MAX_FILE_BYTES).map_err(wrong)?;
        if let Some(owner) = config_file::foreign_owner(&metadata) {
            return Err(wrong(format!(
                "it belongs to the user with the id {owner}, which can change it; chown it to the user of the server, or to root"
            )));
        }
        if metadata.mode() & 0o077 != 0 {
            let mode = metadata.mode() & 0o777;
            return Err(wrong(format!("others may read or write it (mode {mode:04o}); chmod 600 it")));
        }
        let text = String::from_utf8(content).map_err(|_| wrong("it is not UTF-8".to_owned()))?;
        Self::parse(&text).map_err(wrong)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |what: String| format!("line {}: {what}", index + 1);
            let (token, scopes) = line.split_once([' ', '\t']).unwrap_or((line, ""));
            if let Some(bad) = unfit(token) {
                return Err(at(format!("the token has {bad}, which no Authorization header can hold")));
            }
            if !is_strong(token) {
                return Err(at(format!("the token is too weak: it takes {STRONG}")));
            }
            let entry = (digest(token.as_bytes()), Scopes::parse(scopes).map_err(at)?);
            if tokens.iter().any(|(known, _)| *known == entry.0) {
                return Err(at("the token appears twice".to_owned()));
            }
            tokens.push(entry);
        }
        if tokens.is_empty() { Err("there is no token in it".to_owned()) } else { Ok(Self(tokens)) }
    }

    /// Whether a request needs a token.
    pub(crate) const fn are_needed(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether there are several tokens.
    pub(crate) const fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// The principal and scopes of a presented token; `None` for an unknown one. Takes the same time for every unknown one.
    pub(crate) fn find(&self, presented: &[u8]) -> Option<(Principal, Scopes)> {
        let presented = digest(presented);
        let (mut found, mut scopes) = (Choice::from(0), 0_u8);
        for (known, allowed) in &self.0 {
            let same = known.ct_eq(&presented);
            found |= same;
            scopes |= allowed.0 & 0_u8.wrapping_sub(same.unwrap_u8());
        }
        bool::from(found).then_some((presented, Scopes(scopes)))
    }
}

fn unfit(token: &str) -> Option<String> {
    token.chars().find(|c| !c.is_ascii_graphic()).map(|c| format!("the character {c:?}"))
}

/// Whether a token may hold 128 random bits: long enough for the alphabet that it seems to be of, and not of a few characters
/// only.
pub(crate) fn is_strong(token: &str) -> bool {
    let mut characters: Vec<u8> = token.bytes().collect();
    characters.sort_unstable();
    characters.dedup();
    let all = |belongs: fn(&u8) -> bool| characters.iter().all(belongs);
    let enough = if all(u8::is_ascii_digit) {
        39
    } else if all(u8::is_ascii_hexdigit) {
        32
    } else if !characters.iter().any(u8::is_ascii_uppercase) || !characters.iter().any(u8::is_ascii_lowercase) {
        // Base32 and the like, of one case.
        26
    } else {
        22
    };
    token.len() >= enough && characters.len() >= 8
}

/// Where tokens come from.
#[derive(Clone, Default)]
pub enum TokenSource {
    /// None is needed.
    #[default]
    None,
    /// One token with all scopes, and where it was given.
    Single {
        /// The token.
        token: String,
        /// Whether it is in the command line, where `ps` shows it.
        visible: bool,
    },
    /// A file, read again on SIGHUP.
    File(PathBuf),
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Single { .. } => f.write_str("Single"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl TokenSource {
    /// The tokens as they are now.
    ///
    /// # Errors
    /// As [`Tokens::single`] and [`Tokens::read`].
    pub(crate) fn load(&self) -> Result<Tokens, StartError> {
        match self {
            Self::None => Ok(Tokens::default()),
            Self::Single { token, .. } => Tokens::single(token),
            Self::File(path) => Tokens::read(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scope::Scope;
    use super::*;

    const STRONG_HEX: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn what_can_hold_128_bits_is_strong() {
        let base64 = "pJ3x0QmTz9-LrK_8fYw2Ab";
        let base32 = "mfrggzdfmztwq2lknnwg23tpob";
        let digits = "012345678901234567890123456789012345678";
        for enough in [STRONG_HEX, base64, base32, &base32.to_uppercase(), digits] {
            assert!(is_strong(enough), "{enough}");
            assert!(!is_strong(&enough[1..]), "{enough} without its first character");
        }
        for weak in ["", "secret", &"a".repeat(100), &"0123456".repeat(10)] {
            assert!(!is_strong(weak), "{weak}");
        }
    }

    #[test]
    fn a_file_gives_each_token_its_scopes() {
        let text = format!("# ours\n{STRONG_HEX} check\n\n  {STRONG_HEX}x\tadmin,metrics \n");
        let tokens = Tokens::parse(&text).unwrap();
        let (first, scopes) = tokens.find(STRONG_HEX.as_bytes()).unwrap();
        assert!(scopes.has(Scope::Check) && !scopes.has(Scope::Configure) && !scopes.has(Scope::Admin));
        let (second, scopes) = tokens.find(format!("{STRONG_HEX}x").as_bytes()).unwrap();
        assert!(scopes.has(Scope::Admin) && scopes.has(Scope::Metrics) && !scopes.has(Scope::Check));
        assert_ne!(first, second);
        assert_eq!(tokens.find(&STRONG_HEX.as_bytes()[1..]), None);
        assert_eq!(tokens.find(b""), None);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        for (text, part) in [
            ("".to_owned(), "no token"),
            ("# nothing\n".to_owned(), "no token"),
            (format!("\n{STRONG_HEX}"), "line 2: a token needs at least one scope"),
            (format!("{STRONG_HEX} chekc"), "line 1: \"chekc\" is not a scope"),
            ("secret check".to_owned(), "line 1: the token is too weak"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa check".to_owned(), "too weak"),
            (format!("{STRONG_HEX} check\n{STRONG_HEX} admin"), "line 2: the token appears twice"),
            (format!("{STRONG_HEX}é check"), "which no Authorization header can hold"),
        ] {
            let error = Tokens::parse(&text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
            assert!(!error.contains(STRONG_HEX), "{error}");
        }
    }

    #[test]
    fn a_single_token_has_every_scope() {
        let tokens = Tokens::single("dev-secret").unwrap();
        assert!(tokens.are_needed() && !Tokens::default().are_needed());
        assert_eq!(tokens.find(b"dev-secret").unwrap().1, Scopes::ALL);
        assert!(Tokens::single("").is_err() && Tokens::single("a b").is_err());
    }

    #[test]
    fn nothing_shows_a_token() {
        let source = TokenSource::Single { token: STRONG_HEX.to_owned(), visible: true };
        let shown = format!("{source:?} {:?}", source.load().unwrap());
        assert!(!shown.contains("0011"), "{shown}");
    }
}
