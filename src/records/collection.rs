//! Collections: names, and the field that spreads each over the shards.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::payload::FieldFault;

/// The longest name of a shard key's field, in bytes.
const MAX_FIELD_BYTES: usize = 255;

/// The name of a collection: a small letter, then up to 62 small letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, ToSchema)]
#[schema(value_type = String, example = "orders")]
pub struct CollectionName(Box<str>);

impl CollectionName {
    /// The name as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CollectionName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let starts_well = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
        if starts_well && text.len() <= 63 && text.bytes().all(is_fine) {
            Ok(Self(text.into()))
        } else {
            Err("must be a small letter and then up to 62 small letters, digits, - and _")
        }
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for CollectionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A collection that every shard has from the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BuiltIn {
    /// One value for each user: `/store`.
    Store,
    /// Keys and values: `/write` and `/read`.
    KeyValue,
    /// Objects under ids of their own: `/data`.
    Data,
}

impl BuiltIn {
    /// All built-in collections.
    pub const ALL: [Self; 3] = [Self::Store, Self::KeyValue, Self::Data];

    /// The collection's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::KeyValue => "kv",
            Self::Data => "data",
        }
    }
}

impl From<BuiltIn> for CollectionName {
    fn from(which: BuiltIn) -> Self {
        Self(which.name().into())
    }
}

/// The type of a shard key, which decides how the key is routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// A whole number of 64 bits: its slot is `key mod 5040`.
    Integer,
    /// A text: its slot is its MD5, read as a 128-bit big-endian number, mod 5040.
    String,
}

impl KeyType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::String => "string",
        }
    }
}

/// How many documents a shard key has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordsPerKey {
    /// One: the shard key is the document's key.
    #[default]
    One,
    /// Any number: each document gets a key of its own, which carries the slot.
    Many,
}

impl RecordsPerKey {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Many => "many",
        }
    }
}

/// A collection. A declared collection never changes, as its documents stand where the declaration says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// The field of its documents that holds the shard key; without a field the key stands in the path alone.
    #[schema(example = "user_id")]
    pub shard_key: Option<Box<str>>,
    /// The type of the shard key. Without a type, documents are spread evenly.
    pub key_type: Option<KeyType>,
    /// How many documents a shard key has.
    pub records_per_key: RecordsPerKey,
}

impl Collection {
    /// A collection, if its parts go together.
    ///
    /// # Errors
    /// The parts that do not go together.
    pub fn new(
        name: CollectionName,
        shard_key: Option<&str>,
        key_type: Option<KeyType>,
        records_per_key: RecordsPerKey,
    ) -> Result<Self, FieldFault> {
        match (shard_key, key_type, records_per_key) {
            (Some(field), _, _) if field.is_empty() || field.len() > MAX_FIELD_BYTES || field.contains('\0') => {
                Err(FieldFault::new("shard_key", "must be the name of a field, of 1 to 255 bytes"))
            }
            (Some(_), None, _) => {
                Err(FieldFault::new("key_type", "must be integer or string, as there is a shard_key"))
            }
            (None, None, RecordsPerKey::One) => {
                Err(FieldFault::new("key_type", "must be integer or string, unless records_per_key is many"))
            }
            (None, Some(_), RecordsPerKey::Many) => {
                Err(FieldFault::new("shard_key", "must name the field that holds the key, as many documents share it"))
            }
            _ => Ok(Self { name, shard_key: shard_key.map(Into::into), key_type, records_per_key }),
        }
    }
}

/// `orders:user_id:integer:many`, as in the setting `SHARDRIVE_COLLECTIONS`: the name, the field, the field's type, and
/// how many documents share a key (`one` if it is left out). `-` for the field means that documents do not hold their
/// key.
impl FromStr for Collection {
    type Err = FieldFault;

    fn from_str(text: &str) -> Result<Self, FieldFault> {
        const SHAPE: &str = "must look like orders:user_id:integer:many";
        let wrong = || FieldFault::new("", SHAPE);
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default().parse().map_err(|reason: &str| FieldFault::new("name", reason))?;
        let field = match parts.next().ok_or_else(wrong)? {
            "-" => None,
            field => Some(field),
        };
        let key_type = match parts.next().ok_or_else(wrong)? {
            "integer" => KeyType::Integer,
            "string" => KeyType::String,
            _ => return Err(wrong()),
        };
        let per_key = match parts.next() {
            None | Some("one") => RecordsPerKey::One,
            Some("many") => RecordsPerKey::Many,
            Some(_) => return Err(wrong()),
        };
        if parts.next().is_some() {
            return Err(wrong());
        }
        Self::new(name, field, Some(key_type), per_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(text: &str) -> Collection {
        text.parse().unwrap()
    }

    #[test]
    fn names() {
        for good in ["a", "orders", "a-b_9", &"x".repeat(63)] {
            assert!(good.parse::<CollectionName>().is_ok(), "{good}");
        }
        for bad in ["", "Orders", "9a", "_a", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<CollectionName>().is_err(), "{bad}");
        }
        assert!(BuiltIn::ALL.iter().all(|which| which.name().parse() == Ok(CollectionName::from(*which))));
    }

    #[test]
    fn settings_and_what_is_wrong_with_them() {
        let orders = collection("orders:user_id:integer:many");
        assert_eq!(orders.shard_key.as_deref(), Some("user_id"));
        assert_eq!((orders.key_type, orders.records_per_key), (Some(KeyType::Integer), RecordsPerKey::Many));
        assert_eq!(collection("kv:-:string").shard_key, None);
        for bad in [
            "",
            "a",
            "a:b",
            "a:b:float",
            "a:b:string:some",
            "a:b:string:one:x",
            "A:b:string",
            "a::string",
            "a:-:string:many",
        ] {
            assert!(bad.parse::<Collection>().is_err(), "{bad}");
        }
    }
}
