//! Times in the API's format: RFC 3339 in UTC, to the microsecond, as PostgreSQL stores times.
//!
//! A page holds two thousand times. chrono writes each character through `fmt`, which took a twelfth of the API's
//! work for a page. So this module writes the digits itself.
//!
//! [`read_time`] is the only reader of a client's times, which come in the formats of many programs.

use chrono::{DateTime, Datelike, FixedOffset, Timelike, Utc};
use serde::{Serialize, Serializer};

const LONG: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
/// Where the text of a whole second has its `Z`.
const SECONDS: usize = 19;
/// The expected format, for a client's error.
pub(crate) const TIME_FORMAT: &str = "must be a time with its offset from UTC, as in 2026-01-31T12:00:00Z";

/// Reads a time: RFC 3339, also with a space for the `T`, an offset without its colon, and ` UTC` or ` GMT` for the
/// `Z`. Rounds to what PostgreSQL stores: microseconds, and the second after a leap second.
///
/// # Errors
/// The rule that the text violates.
pub(crate) fn read_time(text: &str) -> Result<DateTime<Utc>, &'static str> {
    let text = text.trim();
    let parsed = match text.strip_suffix("UTC").or_else(|| text.strip_suffix("GMT")) {
        Some(local) => format!("{}Z", local.trim_end()).parse::<DateTime<FixedOffset>>(),
        // Nearly every time is of RFC 3339, for which chrono has a faster reader.
        None => DateTime::parse_from_rfc3339(text).or_else(|_| text.parse()),
    };
    let micros = parsed.map_err(|_| TIME_FORMAT)?.timestamp_micros();
    DateTime::from_timestamp_micros(micros)
        .filter(|time| (1..=9999).contains(&time.year()))
        .ok_or("must be in the years 1 to 9999")
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn serialize_time<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = *LONG;
    match fill(at, &mut text).and_then(|length| std::str::from_utf8(text.get(..length)?).ok()) {
        Some(text) => serializer.serialize_str(text),
        None => at.serialize(serializer),
    }
}

/// Appends the time as a JSON text. Digits go to their places in `out`: a copy of bytes that were written one by one a
/// moment ago makes the processor wait.
///
/// # Errors
/// Never, as the text goes into memory.
pub(crate) fn write_time(at: &DateTime<Utc>, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let begin = out.len() + 1;
    out.push(b'"');
    out.extend_from_slice(LONG);
    let Some(length) = fill(at, out.get_mut(begin..).unwrap_or_default()) else {
        out.truncate(begin - 1);
        return serde_json::to_writer(out, at);
    };
    out.truncate(begin + length);
    out.push(b'"');
    Ok(())
}

/// Writes the digits into a text like [`LONG`]; gives the length of the time's text. `None` for a year that RFC 3339
/// does not know: psql can store those.
fn fill(at: &DateTime<Utc>, text: &mut [u8]) -> Option<usize> {
    // Once: each part of a time with an offset adds the offset again.
    let utc = at.naive_utc();
    let year = u32::try_from(utc.year()).ok().filter(|year| *year <= 9999)?;
    let micros = utc.nanosecond() / 1000 % 1_000_000;
    let parts = [
        (0..4, year),
        (5..7, utc.month()),
        (8..10, utc.day()),
        (11..13, utc.hour()),
        (14..16, utc.minute()),
        (17..19, utc.second()),
        (20..26, micros),
    ];
    for (place, number) in parts {
        write_digits(text.get_mut(place)?, number);
    }
    if micros > 0 {
        return Some(LONG.len());
    }
    *text.get_mut(SECONDS)? = b'Z';
    Some(SECONDS + 1)
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn serialize_optional_time<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serialize_time(at, serializer),
        None => serializer.serialize_none(),
    }
}

fn write_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize)]
    struct Both {
        #[serde(serialize_with = "serialize_time")]
        at: DateTime<Utc>,
        #[serde(serialize_with = "serialize_optional_time")]
        maybe: Option<DateTime<Utc>>,
    }

    fn any_micros() -> std::ops::Range<i64> {
        -62_135_596_800_000_000..253_402_300_800_000_000
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_same_time(micros in prop_oneof![any_micros(), any_micros().prop_map(|micros| micros / 1_000_000 * 1_000_000)]) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            let json = serde_json::to_value(Both { at, maybe: Some(at) }).unwrap();
            let text = json["at"].as_str().unwrap();
            prop_assert_eq!(text.len(), if micros % 1_000_000 == 0 { 20 } else { 27 });
            prop_assert_eq!(DateTime::parse_from_rfc3339(text).unwrap().to_utc(), at);
            prop_assert_eq!(&json["at"], &json["maybe"]);
            let mut written = b"before ".to_vec();
            write_time(&at, &mut written).unwrap();
            prop_assert_eq!(written, format!("before \"{text}\"").into_bytes());
        }
    }

    #[test]
    fn times_are_read_as_programs_write_them() {
        for (text, time) in [
            ("1960-01-01T00:00:00.000000001Z", "1960-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.999999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999Z"),
            ("2024-05-01t12:00:00z", "2024-05-01T12:00:00Z"),
            ("2024-05-01 12:00:00Z", "2024-05-01T12:00:00Z"),
            ("2024-05-01T12:00:00.1234567890123Z", "2024-05-01T12:00:00.123456Z"),
            ("2024-05-01T12:00:00+14:00", "2024-04-30T22:00:00Z"),
            ("2024-05-01T12:00:00-00:00", "2024-05-01T12:00:00Z"),
            ("2024-05-01T12:00:00+0200", "2024-05-01T10:00:00Z"),
            ("2024-05-01 12:00:00.000000000 +0200", "2024-05-01T10:00:00Z"),
            ("2024-05-01T12:00:00 UTC", "2024-05-01T12:00:00Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z"),
        ] {
            let expected = DateTime::parse_from_rfc3339(time).unwrap().to_utc();
            assert_eq!(read_time(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_why() {
        for (text, years) in [
            ("9999-12-31T23:59:60Z", true),
            ("0001-01-01T00:00:00+01:00", true),
            ("0000-12-31T19:03:58-04:56", true),
            ("0000-01-01T00:00:00Z", true),
            ("-0001-01-01T00:00:00Z", true),
            ("+10000-01-01T00:00:00Z", true),
            ("2024-05-01T12:00:00", false),
            ("2024-05-01", false),
            ("2024-02-30T00:00:00Z", false),
            ("2024-05-01T24:00:00Z", false),
            ("1714564800", false),
            ("292277026596-12-04T15:30:07Z", false),
            ("", false),
        ] {
            let reason = read_time(text).unwrap_err();
            assert_eq!(reason == "must be in the years 1 to 9999", years, "{text}: {reason}");
        }
    }

    #[test]
    fn years_beyond_four_digits_are_written_all_the_same() {
        let at = DateTime::from_timestamp_micros(253_402_300_800_000_000).unwrap();
        let json = serde_json::to_value(Both { at, maybe: None }).unwrap();
        assert_eq!(json["at"], "+10000-01-01T00:00:00Z");
        assert!(json["maybe"].is_null());
    }
}
