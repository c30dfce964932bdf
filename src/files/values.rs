//! Values as clients send them, not yet checked.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::payload::time;

/// A text that borrows from the input where possible. serde borrows for `Cow`, but not for `Option<Cow>`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct BorrowedText<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for BorrowedText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyText;
        impl<'de> Visitor<'de> for AnyText {
            type Value = BorrowedText<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<BorrowedText<'de>, E> {
                Ok(BorrowedText(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<BorrowedText<'de>, E> {
                Ok(BorrowedText(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(AnyText)
    }
}

/// A time as a client sends one. The time is read last, when the other fields are good: a load stores a file without an
/// unreadable time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TimeInput<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A JSON value of another kind.
    Other,
}

impl TimeInput<'_> {
    /// # Errors
    /// The rule for times.
    pub(super) fn read(&self) -> Result<DateTime<Utc>, &'static str> {
        match self {
            Self::Text(text) => time::read_time(text),
            Self::Other => Err(time::TIME_FORMAT),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TimeInput<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = TimeInput<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<TimeInput<'de>, E> {
                Ok(TimeInput::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<TimeInput<'de>, E> {
                Ok(TimeInput::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E>(self, _: bool) -> Result<TimeInput<'de>, E> {
                Ok(TimeInput::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<TimeInput<'de>, E> {
                Ok(TimeInput::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<TimeInput<'de>, E> {
                Ok(TimeInput::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<TimeInput<'de>, E> {
                Ok(TimeInput::Other)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<TimeInput<'de>, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(TimeInput::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<TimeInput<'de>, A::Error> {
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(TimeInput::Other)
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}
