//! Times as the API writes them: RFC 3339 in UTC, to the microsecond, as PostgreSQL keeps them; whole seconds
//! without a fraction.
//!
//! A page holds two thousand times. chrono writes them character by character through `fmt`, which was a twelfth of all
//! that the API does for a page.

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Serialize, Serializer};

/// For `#[serde(serialize_with)]`.
pub(crate) fn required<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut long = *b"0000-00-00T00:00:00.000000Z";
    let mut short = *b"0000-00-00T00:00:00Z";
    let year = u32::try_from(at.year()).ok().filter(|year| *year <= 9999);
    let Some(year) = year else {
        return at.serialize(serializer); // psql can store years that RFC 3339 does not know
    };
    let micros = at.nanosecond() / 1000 % 1_000_000;
    let parts = [
        (0..4, year),
        (5..7, at.month()),
        (8..10, at.day()),
        (11..13, at.hour()),
        (14..16, at.minute()),
        (17..19, at.second()),
        (20..26, micros),
    ];
    let text = if micros == 0 { &mut short[..] } else { &mut long[..] };
    for (place, number) in parts {
        if let Some(digits) = text.get_mut(place) {
            write_digits(digits, number);
        }
    }
    match std::str::from_utf8(text) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => at.serialize(serializer), // digits are always UTF-8
    }
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn optional<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => required(at, serializer),
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
        #[serde(serialize_with = "required")]
        at: DateTime<Utc>,
        #[serde(serialize_with = "optional")]
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
