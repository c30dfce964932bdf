//! How a value becomes bytes for the cache and comes back. The cache itself knows neither files nor documents.

use std::fmt;

/// A kind of value, and how it is written as bytes.
///
/// A process shares a cache only with processes that know the same formats. A process that does not know a kind does not remove
/// its values when it writes, and one that knows another version would misread them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CacheFormat {
    /// The kind's name: letters.
    pub kind: &'static str,
    /// Grows whenever the bytes of a value, what they mean, or the rows that the value is made of, change.
    pub version: u8,
}

impl fmt::Display for CacheFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, self.version)
    }
}

/// The formats of a program in one word, which is the same in whatever order they are named.
pub(super) fn describe_formats(formats: &[CacheFormat]) -> String {
    let mut names: Vec<String> = formats.iter().map(CacheFormat::to_string).collect();
    names.sort_unstable();
    names.join(",")
}

/// Turns the values of one kind into bytes and back.
pub trait ValueCodec: Sync {
    /// What is cached.
    type Value: Send;

    /// How it is written. Without its format among those of [`super::settings::CacheSettings`] a value is not cached.
    const FORMAT: CacheFormat;

    /// The value as bytes.
    fn encode(&self, value: &Self::Value) -> Vec<u8>;

    /// The value in these bytes. `None` if they do not answer this question: they cannot be read, or they hold less than is
    /// asked for. The value is then read from the database, and takes the place of the old one.
    fn decode(&self, bytes: &[u8]) -> Option<Self::Value>;

    /// True if the value says that there is nothing. It is kept for a shorter time: what people look for in vain is
    /// often about to be made, perhaps by hand.
    fn is_absence(&self, _value: &Self::Value) -> bool {
        false
    }
}
