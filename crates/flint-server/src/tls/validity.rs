//! When a certificate is valid: the one field of it that the server reads, without the rest of X.509 (RFC 5280, 4.1).

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version of a certificate, which is optional.
const VERSION: u8 = 0xa0;

/// From when and until when a certificate in DER is valid, seconds since the Unix epoch. `None` for what is not understood.
pub(super) fn period(der: &[u8]) -> Option<(u64, u64)> {
    let (certificate, _) = of_tag(der, SEQUENCE)?;
    let (mut fields, _) = of_tag(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (validity, _) = of_tag(fields, SEQUENCE)?;
    let (tag, begins, rest) = element(validity)?;
    let begins = seconds(tag, begins)?;
    let (tag, ends, _) = element(rest)?;
    Some((begins, seconds(tag, ends)?))
}

/// The tag and the content of the first element, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.is_empty() || bytes.len() > 4 {
            return None;
        }
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn of_tag(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(tag, ..)| *tag == wanted).map(|(_, content, rest)| (content, rest))
}

/// The time of an element: `YYMMDDHHMMSSZ`, or with a year of four digits.
fn seconds(tag: u8, content: &[u8]) -> Option<u64> {
    let digits = content.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let number = |range: std::ops::Range<usize>| {
        Some(digits.get(range)?.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    };
    let (year, rest) = match (tag, digits.len()) {
        // The years 1950 to 2049.
        (UTC_TIME, 12) => (number(0..2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        (GENERALIZED_TIME, 14) => (number(0..4)?, 4),
        _ => return None,
    };
    let field = |index: usize| number(rest + 2 * index..rest + 2 * index + 2);
    let (month, day) = (field(0)?, field(1)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    Some(days(year, month, day) * 86_400 + field(2)? * 3_600 + field(3)? * 60 + field(4)?)
}

/// The days from 1970-01-01 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // A year that begins in March ends with the day that leap years add.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, content.to_vec()].concat()
    }

    fn certificate(begins: (u8, &str), ends: (u8, &str), version: bool) -> Vec<u8> {
        let validity = [der(begins.0, begins.1.as_bytes()), der(ends.0, ends.1.as_bytes())].concat();
        let mut fields = if version { der(VERSION, &[2, 1, 2]) } else { vec![] };
        fields.extend(
            [der(2, &[1; 20]), der(SEQUENCE, &[6, 0]), der(SEQUENCE, &[0; 100]), der(SEQUENCE, &validity)].concat(),
        );
        der(SEQUENCE, &der(SEQUENCE, &fields))
    }

    #[test]
    fn the_period_is_found() {
        for version in [true, false] {
            let der = certificate((UTC_TIME, "700101000000Z"), (GENERALIZED_TIME, "20500228123456Z"), version);
            assert_eq!(period(&der), Some((0, 2_529_664_496)));
            for length in 0..der.len() {
                assert_eq!(period(&der[..length]), None, "{length} bytes of it");
            }
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (date, expected) in
            [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2000, 3, 1), 11_017), ((2100, 3, 1), 47_541)]
        {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_understood() {
        for (tag, text) in [
            (UTC_TIME, "700101000000"),
            (UTC_TIME, "20700101000000Z"),
            (UTC_TIME, "70010100000xZ"),
            (UTC_TIME, "701301000000Z"),
            (GENERALIZED_TIME, "19690101000000Z"),
            (2, "700101000000Z"),
        ] {
            assert_eq!(seconds(tag, text.as_bytes()), None, "{text}");
        }
        for bytes in [&[][..], &[0x30], &[0x30, 0x80], &[0x30, 0xff, 1], &[0x30, 0x85, 1, 1, 1, 1, 1]] {
            assert_eq!(period(bytes), None);
        }
    }
}
