//! The keys of cached values.

use std::fmt::{self, Write as _};

use super::codec::CacheFormat;
use crate::shard::Slot;

/// The name of one cached value: the slot of its rows, the kind of value, and which value of the kind.
///
/// Making a key allocates nothing where the name is a number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CacheKey {
    slot: Slot,
    format: CacheFormat,
    name: EntryName,
}

/// Which value of its kind.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EntryName {
    /// A number, such as a user's.
    Number(i64),
    /// Any text.
    Text(Box<str>),
}

impl From<i64> for EntryName {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for EntryName {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for EntryName {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl CacheKey {
    /// The key of a value that is made of rows of `slot` alone.
    #[must_use]
    pub fn new(slot: Slot, format: CacheFormat, name: impl Into<EntryName>) -> Self {
        Self { slot, format, name: name.into() }
    }

    /// The slot whose writes make the value old.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// How the value is written.
    pub(super) fn format(&self) -> CacheFormat {
        self.format
    }

    /// The key as the server knows the value, under the fence and the epoch of the moment.
    pub(super) fn under(&self, prefix: &str, epoch: i64) -> String {
        let mut text = String::with_capacity(prefix.len() + 48);
        // Writing to a String does not fail.
        let _ = write!(text, "{prefix}:{epoch}:{}:{}", self.format.kind, self.name);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_values_share_a_name() {
        let slot = Slot::of_user(42);
        let key = |kind, name: EntryName| CacheKey::new(slot, CacheFormat { kind, version: 1 }, name).under("p", 3);
        assert_eq!(key("page", 42.into()), "p:3:page:42");
        assert_eq!(key("page", "a:b".into()), "p:3:page:a:b");
        assert_ne!(key("page", 42.into()), key("record", 42.into()));
    }
}
