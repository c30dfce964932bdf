//! How a value becomes bytes for the cache and comes back. The cache itself knows neither files nor documents.

use std::fmt;

use bytes::Bytes;

/// A kind of value, and the version of its bytes.
///
/// A process shares a cache only with processes that know the same formats. A process that does not know a kind would
/// not remove values of this kind when it writes; a process that knows another version would misread the values.
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

/// The formats of a program in one word, which does not depend on their order.
pub(super) fn describe_formats(formats: &[CacheFormat]) -> String {
    let mut names: Vec<String> = formats.iter().map(CacheFormat::to_string).collect();
    names.sort_unstable();
    names.join(",")
}

/// Turns the values of one kind into bytes and back.
pub trait ValueCodec: Sync {
    /// The cached value.
    type Value: Send;

    /// How the value is written. The cache keeps a value only if [`super::settings::CacheSettings`] names the format.
    const FORMAT: CacheFormat;

    /// The value as bytes.
    fn encode(&self, value: &Self::Value) -> Vec<u8>;

    /// The value in these bytes, of which the value may keep a part. `None` if the bytes do not answer this question:
    /// they cannot be read, or hold less than the reader wants. The reader then takes the value from the database and
    /// replaces the old entry.
    fn decode(&self, bytes: &Bytes) -> Option<Self::Value>;

    /// True if the value says that there is nothing. Such a value is kept for a shorter time: somebody is often about
    /// to make what people look for in vain, perhaps by hand.
    fn is_absence(&self, _value: &Self::Value) -> bool {
        false
    }
}
