//! The place of a document: its key and its slot.

use uuid::Uuid;

use super::{Collection, Document, KeyType, RecordError, RecordsPerKey};
use crate::payload::{FieldFault, WholeNumber};
use crate::shard::{IdClock, RequestKey, SLOT_COUNT, Slot, slot_of_id};

/// The longest key, in bytes of UTF-8: PostgreSQL indexes it.
const MAX_KEY_BYTES: usize = 1024;

/// The place of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RecordPlace {
    /// The key as it is stored.
    pub(super) key: Box<str>,
    pub(super) slot: Slot,
    /// The shard key that several documents share.
    pub(super) shard_key: Option<Box<str>>,
}

impl Collection {
    /// The place of the document with this key of a path.
    ///
    /// # Errors
    /// `Field` if the text cannot be a key; `NotFound` if this service did not mint the key.
    pub(super) fn locate(&self, key: &str) -> Result<RecordPlace, RecordError> {
        if self.records_per_key == RecordsPerKey::One {
            return Ok(self.place_of(key)?);
        }
        check_key("key", key)?;
        let id = Uuid::try_parse(key).ok();
        let slot = id.and_then(slot_of_id);
        id.zip(slot)
            .map(|(id, slot)| RecordPlace { key: id.to_string().into(), slot, shard_key: None })
            .ok_or_else(|| RecordError::NotFound { collection: self.name.clone(), key: key.into() })
    }

    /// The place of a shard key from a path or a query.
    ///
    /// # Errors
    /// If the text is no key of the collection's type.
    pub(super) fn place_of(&self, key: &str) -> Result<RecordPlace, FieldFault> {
        check_key("key", key)?;
        match self.key_type {
            Some(KeyType::Integer) => {
                let number: i64 = key.parse().map_err(|_| {
                    FieldFault::new(
                        "key",
                        format!("must be a whole number of 64 bits, as {} is keyed by one", self.name),
                    )
                })?;
                Ok(RecordPlace { key: number.to_string().into(), slot: Slot::of_user(number), shard_key: None })
            }
            Some(KeyType::String) => Ok(RecordPlace { key: key.into(), slot: Slot::of_key(key), shard_key: None }),
            None => Err(FieldFault::new("shard_key", format!("documents of {} have no shard key", self.name))),
        }
    }

    /// The place of a new document, by the shard key in its field. A document that may be anywhere goes by the
    /// request's key.
    ///
    /// # Errors
    /// If the field is missing, or is no key of the collection's type.
    pub(super) fn place_new(
        &self,
        document: &Document,
        ids: &IdClock,
        key: Option<&RequestKey>,
    ) -> Result<RecordPlace, FieldFault> {
        let Some(field) = &self.shard_key else {
            if self.key_type.is_some() {
                let why = format!("documents of {} do not hold their key; use PUT with the key in the path", self.name);
                return Err(FieldFault::new("", why));
            }
            let slot = key.map(RequestKey::slot).or_else(|| Slot::new(rand::random_range(0..SLOT_COUNT)));
            let slot = slot.unwrap_or(Slot::of_user(0));
            return Ok(RecordPlace { key: ids.mint(slot).to_string().into(), slot, shard_key: None });
        };
        let place = self.key_in(document, field)?.ok_or_else(|| {
            FieldFault::new(field.to_string(), format!("is missing: documents of {} are kept by it", self.name))
        })?;
        Ok(match self.records_per_key {
            RecordsPerKey::One => place,
            RecordsPerKey::Many => RecordPlace {
                key: ids.mint(place.slot).to_string().into(),
                slot: place.slot,
                shard_key: Some(place.key),
            },
        })
    }

    /// Checks that a document may stand at this place: its field, where the collection names one, is the shard key.
    ///
    /// # Errors
    /// If the field holds another shard key, or is missing where the collection needs the field.
    pub(super) fn check_shard_key(&self, place: &mut RecordPlace, document: &Document) -> Result<(), FieldFault> {
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

    /// The shard key that a document names in the collection's field, as it is stored; `None` if the field is missing.
    ///
    /// # Errors
    /// If the field is no key of the collection's type.
    pub fn shard_key_of(&self, document: &Document) -> Result<Option<Box<str>>, FieldFault> {
        let Some(field) = &self.shard_key else { return Ok(None) };
        Ok(self.key_in(document, field)?.map(|place| place.key))
    }

    fn key_in(&self, document: &Document, field: &str) -> Result<Option<RecordPlace>, FieldFault> {
        let Some(value) = document.member(field)? else { return Ok(None) };
        let wrong = |reason: &str| FieldFault::new(field.to_owned(), reason.to_owned());
        let text = match self.key_type {
            Some(KeyType::Integer) => {
                let number = serde_json::from_str::<WholeNumber>(value);
                let number = number.map_err(|_| wrong("must be a whole number of 64 bits, or the same in quotes"))?;
                number.0.to_string()
            }
            _ => serde_json::from_str::<String>(value).map_err(|_| wrong("must be a text"))?,
        };
        self.place_of(&text).map(Some).map_err(|fault| FieldFault::new(field.to_owned(), fault.reason))
    }
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

        // Many writers of JSON can give a number above 2^53 exactly only as a text.
        let place = profiles.place_new(&document(r#"{"user_id":"9007199254740993"}"#), &ids, None).unwrap();
        assert_eq!(&*place.key, "9007199254740993");

        let words = collection("words:word:string");
        let place = words.place_new(&document(r#"{"word":"user:\u0031"}"#), &ids, None).unwrap();
        assert_eq!((&*place.key, place.slot), ("user:1", Slot::of_key("user:1")));

        for (collection, text) in [
            (&profiles, r#"{"user":1}"#),
            (&profiles, r#"{"user_id":"01"}"#),
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
        assert!(profiles.check_shard_key(&mut place, &document(r#"{"user_id":42}"#)).is_ok());
        assert!(profiles.check_shard_key(&mut place, &document(r#"{"user_id":"42"}"#)).is_ok());
        assert!(profiles.check_shard_key(&mut place, &document(r#"{"theme":"dark"}"#)).is_ok());
        assert!(profiles.check_shard_key(&mut place, &document(r#"{"user_id":43}"#)).is_err());
        assert!(profiles.locate("x").is_err());
        assert!(profiles.locate(&"1".repeat(2000)).is_err());
    }
}
