//! The grammar of limits as text.
//!
//! ```text
//! limit  = rate { ( ";" | "," ) rate }
//! rate   = number ( "/" | "per" ) period [ "burst" number ]
//! period = [ number ] unit
//! ```
//!
//! Numbers are ASCII digits. Letters are taken in either case; spaces (no other white space) may occur between any two parts.

use super::period::UNITS;
use super::rate::Rate;
use super::rates::{Limit, MAX_RATES};
use crate::algorithm::Algorithm;
use crate::error::{Error, Result};
use crate::quote::quoted;

const RATE_EXAMPLE: &str = r#"write it as "100/minute", "10 per 2 hours" or "100/m burst 200""#;
const PERIOD_EXAMPLE: &str = r#"write it as "250ms", "1m" or "2 hours""#;
const UNIT_NAMES: &str = "the units are ms, s, m, h, d and w, or millisecond, second, minute, hour, day and week";

/// Reads a limit such as `100/minute` or `10/second; 1000 per 2 hours`, with the same algorithm for all its rates.
///
/// # Errors
/// `InvalidLimit`, quoting what was not understood, and for everything that [`Rate::new`] and [`Limit::new`] refuse.
pub fn parse_limit(text: &str, algorithm: Algorithm) -> Result<Limit> {
    let separators = [';', ','];
    // The eight places and one more are enough to know that there are too many, however long the text is.
    if text.split(separators).nth(MAX_RATES).is_some() {
        let count = text.split(separators).count();
        return Err(Error::InvalidLimit(format!("{} has {count} rates; a limit has 1 to {MAX_RATES}", quoted(text))));
    }
    let rates = text.split(separators).map(|part| parse_rate(text, part, algorithm)).collect::<Result<Vec<_>>>()?;
    Limit::new(&rates)
}

/// Reads a period such as `1m`, `250ms`, `2 hours` or `minute`, in milliseconds. Whether it is short enough for a rate is
/// for [`Rate::new`] to say.
///
/// # Errors
/// `InvalidLimit` for anything else, for zero, and for more milliseconds than fit in 64 bits.
pub fn parse_period_ms(text: &str) -> Result<u64> {
    let mut rest = Rest(text);
    let parsed = rest.period().and_then(|ms| rest.end().map(|()| ms));
    parsed.map_err(|problem| Error::InvalidLimit(format!("period {}: {problem}; {PERIOD_EXAMPLE}", quoted(text))))
}

/// One rate of a limit: `part` of `whole`, which a message quotes where the part says nothing.
fn parse_rate(whole: &str, part: &str, algorithm: Algorithm) -> Result<Rate> {
    let text = if part.trim().is_empty() { whole } else { part };
    let refused = |problem| Error::InvalidLimit(format!("{}: {problem}; {RATE_EXAMPLE}", quoted(text)));
    let (limit, per_ms, burst) = Rest(part).rate().map_err(refused)?;
    Rate::new(limit, per_ms, burst, algorithm).map_err(|error| match error {
        Error::InvalidLimit(problem) => Error::InvalidLimit(format!("{}: {problem}", quoted(text))),
        other => other,
    })
}

/// The part of a text that is not parsed yet.
struct Rest<'a>(&'a str);

/// What was wrong, without the text around it and without an example.
type Parsed<T> = std::result::Result<T, String>;

impl<'a> Rest<'a> {
    /// A whole rate: limit, period in milliseconds, burst.
    fn rate(mut self) -> Parsed<(u64, u64, Option<u64>)> {
        self.skip_spaces();
        if self.0.is_empty() {
            return Err("a rate is missing".to_owned());
        }
        let limit = self.expect_number("a whole number")?;
        self.skip_spaces();
        if let Some(rest) = self.0.strip_prefix('/') {
            self.0 = rest;
        } else if !self.keyword("per") {
            return Err(self.expected(r#""/" or "per" after the number"#));
        }
        let per_ms = self.period()?;
        let burst =
            if self.keyword("burst") { Some(self.expect_number(r#"a whole number after "burst""#)?) } else { None };
        self.end()?;
        Ok((limit, per_ms, burst))
    }

    /// A period, milliseconds.
    fn period(&mut self) -> Parsed<u64> {
        let count = self.number()?.unwrap_or(1);
        let word = self.word();
        if word.is_empty() {
            return Err(self.expected(&format!("a unit of time ({UNIT_NAMES})")));
        }
        let named = |name: &&str| name.eq_ignore_ascii_case(word);
        let Some(unit) = UNITS.iter().find(|unit| named(&unit.short) || unit.long.iter().any(named)) else {
            return Err(format!("{} is no unit of time; {UNIT_NAMES}", quoted(word)));
        };
        match count.checked_mul(unit.ms) {
            Some(0) => Err("the period is 0; it must be at least 1 ms".to_owned()),
            Some(ms) => Ok(ms),
            None => Err(format!("a period of {count} {} is too long; it must be at most ten years", unit.long[0])),
        }
    }

    /// Nothing but spaces is left.
    fn end(&mut self) -> Parsed<()> {
        self.skip_spaces();
        if self.0.is_empty() { Ok(()) } else { Err(format!("{} is not understood", quoted(self.0))) }
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches(' ');
    }

    /// The longest start, after spaces, whose bytes all satisfy `accept`, which accepts ASCII only.
    fn take(&mut self, accept: impl Fn(&u8) -> bool) -> &'a str {
        self.skip_spaces();
        let length = self.0.bytes().take_while(accept).count();
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> Parsed<Option<u64>> {
        let digits = self.take(u8::is_ascii_digit);
        if digits.is_empty() {
            return Ok(None);
        }
        match digits.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("{} is too large; numbers go up to {}", quoted(digits), u64::MAX)),
        }
    }

    fn expect_number(&mut self, what: &str) -> Parsed<u64> {
        self.number()?.ok_or_else(|| self.expected(what))
    }

    fn word(&mut self) -> &'a str {
        self.take(u8::is_ascii_alphabetic)
    }

    /// Takes `keyword` if it is the next word.
    fn keyword(&mut self, keyword: &str) -> bool {
        let before = self.0;
        let found = self.word().eq_ignore_ascii_case(keyword);
        if !found {
            self.0 = before;
        }
        found
    }

    fn expected(&self, what: &str) -> String {
        match self.0 {
            "" => format!("expected {what}, found nothing"),
            rest => format!("expected {what}, found {}", quoted(rest)),
        }
    }
}
