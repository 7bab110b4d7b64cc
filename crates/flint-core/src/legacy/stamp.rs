//! RFC 3339 time stamps, as old releases wrote them.

/// Nanoseconds since the Unix epoch, or `None` for text that is not a time between 1970 and 2554.
pub(super) fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let year = number(bytes, &mut at, 4)?;
    literal(bytes, &mut at, b"-")?;
    let month = number(bytes, &mut at, 2)?;
    literal(bytes, &mut at, b"-")?;
    let day = number(bytes, &mut at, 2)?;
    literal(bytes, &mut at, b"Tt ")?;
    let hour = number(bytes, &mut at, 2)?;
    literal(bytes, &mut at, b":")?;
    let minute = number(bytes, &mut at, 2)?;
    literal(bytes, &mut at, b":")?;
    let second = number(bytes, &mut at, 2)?;
    let nanos = fraction(bytes, &mut at)?;
    let offset_s = offset(bytes, &mut at)?;
    let real = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && at == bytes.len();
    if !real {
        return None;
    }
    let days = days_before(year)? + (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    seconds.checked_add_signed(-offset_s)?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Days from 1970 to the first of January of `year`.
fn days_before(year: u64) -> Option<u64> {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let last = year.checked_sub(1)?;
    Some(year.checked_sub(1970)? * 365 + leap_days(last) - leap_days(1969))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn number(bytes: &[u8], at: &mut usize, digits: usize) -> Option<u64> {
    let text = bytes.get(*at..*at + digits)?;
    *at += digits;
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')))
}

fn literal(bytes: &[u8], at: &mut usize, one_of: &[u8]) -> Option<u8> {
    let byte = bytes.get(*at).copied().filter(|byte| one_of.contains(byte))?;
    *at += 1;
    Some(byte)
}

/// An optional fraction of a second of one to nine digits, in nanoseconds.
fn fraction(bytes: &[u8], at: &mut usize) -> Option<u64> {
    if literal(bytes, at, b".").is_none() {
        return Some(0);
    }
    let digits = bytes[*at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let missing = u32::try_from(9usize.checked_sub(digits)?).ok().filter(|&missing| missing < 9)?;
    Some(number(bytes, at, digits)? * 10u64.pow(missing))
}

/// The zone, in seconds east of Greenwich.
fn offset(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let sign = match literal(bytes, at, b"Zz+-")? {
        b'+' => 1,
        b'-' => -1,
        _ => return Some(0),
    };
    let hours = number(bytes, at, 2).filter(|&hours| hours < 24)?;
    literal(bytes, at, b":")?;
    let minutes = number(bytes, at, 2).filter(|&minutes| minutes < 60)?;
    Some(sign * i64::try_from(hours * 3600 + minutes * 60).ok()?)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn known_moments() {
        const DAY: u64 = 86_400_000_000_000;
        for (text, ns) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.000000001Z", 1),
            ("1970-01-01T01:00:00+01:00", 0),
            ("1970-01-01T00:00:00.5-00:30", 1_800_500_000_000),
            ("1972-02-29T00:00:00Z", 789 * DAY),
            ("1972-03-01T00:00:00Z", 790 * DAY),
            ("2000-02-29T12:00:00.25z", 951_825_600_250_000_000),
            ("2001-09-09T01:46:40Z", 1_000_000_000_000_000_000),
            ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456_789),
            ("2038-01-19T03:14:08.000Z", 2_147_483_648_000_000_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000_000_000),
        ] {
            assert_eq!(parse(text), Some(ns), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "2023",
            "1969-12-31T23:59:59Z",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:61Z",
            "2023-01-01T00:00:00",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00.1234567890Z",
            "2023-01-01T00:00:00ZZ",
            "2023-01-01T00:00:00+1:00",
            "+023-01-01T00:00:00Z",
            "9999-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
