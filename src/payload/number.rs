//! Whole numbers of 64 bits in JSON. Many readers, such as JavaScript, keep every number as a double and silently
//! round numbers above 2^53. So the API also accepts numbers as text, and also sends text where a double would be
//! rounded.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::fault::FieldFault;

/// The largest exact double whose successor is exact too: 2^53 − 1.
const MAX_EXACT: i64 = 9_007_199_254_740_991;

/// A whole number, sent as a number or as a text of digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WholeNumber(pub i64);

impl WholeNumber {
    /// The number in a text. The text has one valid form: `"042"` must not be another way to be 42.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<i64>().ok().filter(|number| number.to_string() == text).map(Self)
    }
}

impl<'de> Deserialize<'de> for WholeNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrText;

        impl Visitor<'_> for NumberOrText {
            type Value = WholeNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of 64 bits, or the same in quotes")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<WholeNumber, E> {
                Ok(WholeNumber(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<WholeNumber, E> {
                let wrong = |_| E::invalid_value(Unexpected::Unsigned(number), &self);
                i64::try_from(number).map(WholeNumber).map_err(wrong)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<WholeNumber, E> {
                WholeNumber::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(NumberOrText)
    }
}

impl PartialSchema for WholeNumber {
    fn schema() -> RefOr<Schema> {
        let number =
            ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^(0|-?[1-9][0-9]{0,18})$"));
        OneOfBuilder::new()
            .description(Some(
                "A whole number of 64 bits; the users of files count from 0. Above 9007199254740991 (2^53 − 1) send it as a text: JSON readers and writers that \
                 keep numbers as doubles, as JavaScript does, round it.",
            ))
            .item(number)
            .item(text)
            .into()
    }
}

impl ToSchema for WholeNumber {}

/// Reads a number that may come as text.
///
/// # Errors
/// If the value is no whole number of 64 bits.
pub(crate) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    WholeNumber::deserialize(deserializer).map(|number| number.0)
}

/// The text of a number that a double would round; `None` for any other.
#[must_use]
pub fn text_if_inexact(number: i64) -> Option<String> {
    (!(-MAX_EXACT..=MAX_EXACT).contains(&number)).then(|| number.to_string())
}

/// Checks the text that a client sent beside a number.
///
/// # Errors
/// If they differ: a reader in between has rounded the number.
pub(crate) fn check_text(number: i64, text: Option<&str>, field: &'static str) -> Result<(), FieldFault> {
    match text {
        Some(text) if WholeNumber::parse(text) != Some(WholeNumber(number)) => Err(FieldFault::new(
            field,
            format!("is not the number beside it, {number}: was that rounded? Send the number itself as a text"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        let read = |json: &str| serde_json::from_str::<WholeNumber>(json).map(|number| number.0).ok();
        for (json, number) in [
            ("42", 42),
            ("\"42\"", 42),
            ("\"9007199254740993\"", 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX),
            ("\"9223372036854775807\"", i64::MAX),
            ("\"0\"", 0),
        ] {
            assert_eq!(read(json), Some(number), "{json}");
        }
        for bad in [
            "\"\"",
            "\"042\"",
            "\"+42\"",
            "\" 42\"",
            "\"4.2\"",
            "\"-0\"",
            "\"9223372036854775808\"",
            "9223372036854775808",
            "4.2",
            "1e3",
            "null",
            "true",
            "[42]",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_that_a_double_rounds_have_a_text() {
        assert_eq!(text_if_inexact(MAX_EXACT), None);
        assert_eq!(text_if_inexact(MAX_EXACT + 1).as_deref(), Some("9007199254740992"));
        assert_eq!(text_if_inexact(i64::MAX).as_deref(), Some("9223372036854775807"));
    }
}
