//! The rate grammar, periods and keys: any text is understood or refused, and what is understood can be written down.

use flint_core::Error;
use flint_core::limit::{Algorithm, Key, MAX_KEY_BYTES, MAX_RATES, parse_limit, parse_period_ms};

use super::features::Features;

pub(super) const MAX_LEN: usize = 2_000;

pub(super) const WORDS: [&[u8]; 28] = [
    b"/",
    b" per ",
    b";",
    b",",
    b" burst ",
    b"ms",
    b"s",
    b"m",
    b"h",
    b"d",
    b"w",
    b"millisecond",
    b"milliseconds",
    b"second",
    b"sec",
    b"minutes",
    b"min",
    b"hour",
    b"hr",
    b"days",
    b"week",
    b"18446744073709551615",
    b"18446744073709551616",
    b"0",
    b"1",
    b" ",
    b"\t",
    "\u{665}\u{e9}".as_bytes(),
];

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "100/minute",
        "10 per 2 hours",
        "5/250ms",
        "100/m burst 200",
        "10/second; 1000 per 2 hours, 5000/d burst 6000",
        "1/s;2/m;3/h;4/d;5/w;6/ms;7/2ms;8/3ms",
        "1/s;2/m;3/h;4/d;5/w;6/ms;7/2ms;8/3ms;9/s",
        "1m",
        "2 hours",
        "18446744073709551615/10s",
        "1000000/week burst 18446744073709551615",
        "",
        " 7  PER  1 Week  BURST  9 ",
    ];
    // The first byte chooses the algorithm.
    texts.iter().zip((0..3).cycle()).map(|(text, code)| [&[code], text.as_bytes()].concat()).collect()
}

fn refused(error: &Error, features: &mut Features, what: &str) {
    let Error::InvalidLimit(message) = error else { panic!("another kind of error: {error:?}") };
    // The caller's text is quoted twice at most, cut to 40 characters, each of which may take ten when it is escaped.
    assert!(message.len() < 2_000, "a message of {} bytes", message.len());
    assert!(!message.chars().any(char::is_control), "a message that is not printable: {message:?}");
    features.note(what, message);
}

pub(super) fn execute(input: &[u8], features: &mut Features) {
    let Some((&code, text)) = input.split_first() else { return };
    let algorithm = Algorithm::ALL[usize::from(code) % Algorithm::ALL.len()];
    let text = String::from_utf8_lossy(text);
    let text = text.as_ref();
    let key = Key::new(text);
    assert_eq!(key.is_ok(), (1..=MAX_KEY_BYTES).contains(&text.len()), "{text:?}");
    assert!(key.is_err() || key.is_ok_and(|key| key.as_str() == text));
    // Case and the number of spaces between two parts make no difference.
    let variants = [text.to_ascii_uppercase(), text.to_ascii_lowercase(), format!(" {} ", text.replace(' ', "   "))];
    match parse_period_ms(text) {
        Err(error) => {
            refused(&error, features, "period");
            for variant in &variants {
                assert!(parse_period_ms(variant).is_err(), "{text:?} is refused and {variant:?} is not");
            }
        }
        Ok(ms) => {
            assert!(ms > 0);
            features.count("period", ms / 1_000);
            for variant in variants.iter().chain([&format!("{ms}ms"), &format!("{ms} milliseconds")]) {
                assert_eq!(parse_period_ms(variant).ok(), Some(ms), "{text:?} and {variant:?}");
            }
        }
    }
    match parse_limit(text, algorithm) {
        Err(error) => {
            refused(&error, features, algorithm.name());
            for variant in &variants {
                assert!(parse_limit(variant, algorithm).is_err(), "{text:?} is refused and {variant:?} is not");
            }
        }
        Ok(limit) => {
            let rates = limit.rates();
            assert!((1..=MAX_RATES).contains(&rates.len()));
            assert!(rates.iter().all(|rate| rate.is_valid() && rate.algorithm() == algorithm));
            assert_eq!(limit.capacity(), rates.iter().map(flint_core::limit::Rate::capacity).min().unwrap_or(0));
            features.count(algorithm.name(), rates.len() as u64);
            features.count("limit", rates[0].limit());
            let written = limit.to_string();
            for rate in rates {
                features.note("written", rate);
            }
            for again in variants.iter().chain([&written]) {
                assert_eq!(parse_limit(again, algorithm).ok(), Some(limit), "{text:?} and {again:?}");
            }
            assert_eq!(parse_limit(&written, algorithm).map(|limit| limit.to_string()).ok(), Some(written));
        }
    }
}
