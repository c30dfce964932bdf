//! Collections: their names, and by what each is spread over the shards.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Document, RecordError};
use crate::shard::{IdClock, RequestKey, SLOT_COUNT, Slot, slot_in};
use crate::wire::FieldFault;

/// The longest key, in bytes of UTF-8: PostgreSQL indexes it.
const MAX_KEY_BYTES: usize = 1024;
/// The longest name of a shard key's field, in bytes.
const MAX_FIELD_BYTES: usize = 255;

/// The name of a collection: a small letter, then up to 62 small letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, ToSchema)]
#[schema(value_type = String, example = "orders")]
pub struct CollectionName(Box<str>);

impl CollectionName {
    /// Its text.
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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Store, Self::KeyValue, Self::Data];

    /// Its name as a collection.
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

/// What a shard key is, and so how it is routed.
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

/// What a collection is. Fixed for good once it is declared, as its documents stand where it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// The field of its documents that holds the shard key; without one the key stands in the path alone.
    #[schema(example = "user_id")]
    pub shard_key: Option<Box<str>>,
    /// What the shard key is. Without one, documents are spread evenly, wherever there is room.
    pub key_type: Option<KeyType>,
    /// How many documents a shard key has.
    pub records_per_key: RecordsPerKey,
}

impl Collection {
    /// A collection, if these go together.
    ///
    /// # Errors
    /// What does not.
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

    /// Where the document with this key of a path is, by its slot; and the key as it is stored.
    ///
    /// # Errors
    /// `Field` if it cannot be a key; `NotFound` if it was not minted here.
    pub(super) fn locate(&self, key: &str) -> Result<Place, RecordError> {
        if self.records_per_key == RecordsPerKey::One {
            return Ok(self.place_of(key)?);
        }
        check_key("key", key)?;
        let id = Uuid::try_parse(key).ok();
        let slot = id.and_then(slot_in);
        id.zip(slot)
            .map(|(id, slot)| Place { key: id.to_string().into(), slot, shard_key: None })
            .ok_or_else(|| RecordError::NotFound { collection: self.name.clone(), key: key.into() })
    }

    /// The slot of a shard key, as it stands in a path or a query; and the key as it is stored.
    ///
    /// # Errors
    /// If it is not what the collection's keys are.
    pub(super) fn place_of(&self, key: &str) -> Result<Place, FieldFault> {
        check_key("key", key)?;
        match self.key_type {
            Some(KeyType::Integer) => {
                let number: i64 = key.parse().map_err(|_| {
                    FieldFault::new(
                        "key",
                        format!("must be a whole number of 64 bits, as {} is keyed by one", self.name),
                    )
                })?;
                Ok(Place { key: number.to_string().into(), slot: Slot::of_user(number), shard_key: None })
            }
            Some(KeyType::String) => Ok(Place { key: key.into(), slot: Slot::of_key(key), shard_key: None }),
            None => Err(FieldFault::new("shard_key", format!("documents of {} have no shard key", self.name))),
        }
    }

    /// The place of a new document, by its own field; of one that may be anywhere, by the request's key if it has one.
    ///
    /// # Errors
    /// If the field is missing, or not what the collection's keys are.
    pub(super) fn place_new(
        &self,
        document: &Document,
        ids: &IdClock,
        key: Option<&RequestKey>,
    ) -> Result<Place, FieldFault> {
        let Some(field) = &self.shard_key else {
            if self.key_type.is_some() {
                let why = format!("documents of {} do not hold their key; use PUT with the key in the path", self.name);
                return Err(FieldFault::new("", why));
            }
            let slot = key.map(RequestKey::slot).or_else(|| Slot::new(rand::random_range(0..SLOT_COUNT)));
            let slot = slot.unwrap_or(Slot::of_user(0));
            return Ok(Place { key: ids.mint(slot).to_string().into(), slot, shard_key: None });
        };
        let place = self.key_in(document, field)?.ok_or_else(|| {
            FieldFault::new(field.to_string(), format!("is missing: documents of {} are kept by it", self.name))
        })?;
        Ok(match self.records_per_key {
            RecordsPerKey::One => place,
            RecordsPerKey::Many => {
                Place { key: ids.mint(place.slot).to_string().into(), slot: place.slot, shard_key: Some(place.key) }
            }
        })
    }

    /// Checks that a document may stand at this place: its field, where the collection names one, is the shard key.
    ///
    /// # Errors
    /// If it is another one, or missing where it must not be.
    pub(super) fn settle(&self, place: &mut Place, document: &Document) -> Result<(), FieldFault> {
        let Some(field) = &self.shard_key else { return Ok(()) };
        let found = self.key_in(document, field)?;
        match (self.records_per_key, found) {
            (RecordsPerKey::One, None) => Ok(()),
            (RecordsPerKey::One, Some(found)) if found.key == place.key => Ok(()),
            (RecordsPerKey::One, Some(_)) => {
                Err(FieldFault::new(field.to_string(), "must be the same as the key in the path, or be left out"))
            }
            (RecordsPerKey::Many, Some(found)) => {
                place.shard_key = Some(found.key);
                Ok(())
            }
            (RecordsPerKey::Many, None) => Err(FieldFault::new(
                field.to_string(),
                format!("is missing: documents of {} are kept by it", self.name),
            )),
        }
    }

    /// The shard key that a document names in the collection's field, as it is stored; `None` if there is none.
    ///
    /// # Errors
    /// If it is not what the collection's keys are.
    pub fn shard_key_of(&self, document: &Document) -> Result<Option<Box<str>>, FieldFault> {
        let Some(field) = &self.shard_key else { return Ok(None) };
        Ok(self.key_in(document, field)?.map(|place| place.key))
    }

    fn key_in(&self, document: &Document, field: &str) -> Result<Option<Place>, FieldFault> {
        let Some(value) = document.member(field)? else { return Ok(None) };
        let wrong = |reason: &str| FieldFault::new(field.to_owned(), reason.to_owned());
        let text = match self.key_type {
            Some(KeyType::Integer) => {
                let number = value.get().parse::<i64>().map_err(|_| wrong("must be a whole number of 64 bits"))?;
                number.to_string()
            }
            _ => serde_json::from_str::<String>(value.get()).map_err(|_| wrong("must be a text"))?,
        };
        self.place_of(&text).map(Some).map_err(|fault| FieldFault::new(field.to_owned(), fault.reason))
    }
}

/// `orders:user_id:integer:many`, as in the setting `COLLECTIONS`: the name, the field, what it holds, and how many
/// documents share a key (`one` if it is left out). `-` for the field means that documents do not hold their key.
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

/// Where a document stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    /// Its key as it is stored.
    pub(super) key: Box<str>,
    pub(super) slot: Slot,
    /// The key that it shares with others.
    pub(super) shard_key: Option<Box<str>>,
}

fn check_key(field: &'static str, key: &str) -> Result<(), FieldFault> {
    if key.is_empty() {
        return Err(FieldFault::new(field, "must not be empty"));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(FieldFault::new(field, format!("must not be longer than {MAX_KEY_BYTES} bytes")));
    }
    if key.contains('\0') {
        return Err(FieldFault::new(field, "must not hold the character NUL"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collection(text: &str) -> Collection {
        text.parse().unwrap()
    }

    fn document(text: &str) -> Document {
        Document::read(text.as_bytes()).unwrap()
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

    #[test]
    fn a_documents_own_field_says_where_it_goes() {
        let ids = IdClock::default();
        let profiles = collection("profiles:user_id:integer");
        let place = profiles.place_new(&document(r#"{"user_id":5041,"x":1}"#), &ids, None).unwrap();
        assert_eq!((&*place.key, place.slot.number(), place.shard_key), ("5041", 1, None));

        let orders = collection("orders:user_id:integer:many");
        let place = orders.place_new(&document(r#"{"user_id":-1}"#), &ids, None).unwrap();
        assert_eq!((place.slot.number(), place.shard_key.as_deref()), (5039, Some("-1")));
        let found = orders.locate(&place.key).unwrap();
        assert_eq!((found.key, found.slot), (place.key, place.slot));
        assert!(matches!(orders.locate("7"), Err(RecordError::NotFound { .. })));

        let words = collection("words:word:string");
        let place = words.place_new(&document(r#"{"word":"user:\u0031"}"#), &ids, None).unwrap();
        assert_eq!((&*place.key, place.slot), ("user:1", Slot::of_key("user:1")));

        for (collection, text) in [
            (&profiles, r#"{"user":1}"#),
            (&profiles, r#"{"user_id":"1"}"#),
            (&profiles, r#"{"user_id":1.5}"#),
            (&profiles, r#"{"user_id":null}"#),
            (&profiles, r#"{"user_id":9223372036854775808}"#),
            (&profiles, r#"{"user_id":1,"user_id":2}"#),
            (&profiles, "[1]"),
            (&words, r#"{"word":1}"#),
            (&words, r#"{"word":""}"#),
            (&words, r#"{"word":"a\u0000b"}"#),
        ] {
            assert!(collection.place_new(&document(text), &ids, None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_in_the_path_and_one_in_the_document_agree() {
        let profiles = collection("profiles:user_id:integer");
        let mut place = profiles.locate("+042").map_err(|error| error.to_string()).unwrap();
        assert_eq!(&*place.key, "42");
        assert!(profiles.settle(&mut place, &document(r#"{"user_id":42}"#)).is_ok());
        assert!(profiles.settle(&mut place, &document(r#"{"theme":"dark"}"#)).is_ok());
        assert!(profiles.settle(&mut place, &document(r#"{"user_id":43}"#)).is_err());
        assert!(profiles.locate("x").is_err());
        assert!(profiles.locate(&"1".repeat(2000)).is_err());
    }
}
