//! A document as bytes, for the cache.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::place::RecordPlace;
use super::{CollectionName, Document, Record};
use crate::cache::{CacheFormat, CacheKey, ValueCodec};

/// The bytes of a document: a test shows when they need another version.
pub const CACHE_FORMAT: CacheFormat = CacheFormat { kind: "record", version: VERSION };
const VERSION: u8 = 1;
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// The document under a key, in the cache. A collection's name holds no colon.
pub(super) fn cache_key(collection: &CollectionName, place: &RecordPlace) -> CacheKey {
    let (name, key) = (collection.as_str(), &*place.key);
    let mut text = String::with_capacity(name.len() + 1 + key.len());
    [name, ":", key].into_iter().for_each(|part| text.push_str(part));
    CacheKey::new(place.slot, CACHE_FORMAT, text)
}

/// Every key of the cache whose value a write to this document makes old. A new cached value of a document is one more
/// key here.
pub(super) fn spoiled_keys(collection: &CollectionName, place: &RecordPlace) -> [CacheKey; 1] {
    [cache_key(collection, place)]
}

/// The document under this key, or its absence.
pub(super) struct RecordCodec<'a> {
    pub(super) key: &'a str,
}

impl ValueCodec for RecordCodec<'_> {
    type Value = Option<Record>;

    const FORMAT: CacheFormat = CACHE_FORMAT;

    fn encode(&self, record: &Option<Record>) -> Vec<u8> {
        let Some(record) = record else { return vec![VERSION, ABSENT] };
        // All fields by their names, so that a new field must be written too. The reader knows the key.
        let Record { key: _, document, version, created_at, updated_at } = record;
        let text = document.as_str();
        let mut bytes = Vec::with_capacity(26 + text.len());
        bytes.extend([VERSION, PRESENT]);
        let times = [created_at, updated_at].map(DateTime::timestamp_micros);
        [*version].iter().chain(&times).for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes.extend(text.as_bytes());
        bytes
    }

    fn decode(&self, bytes: &Bytes) -> Option<Option<Record>> {
        let rest = match bytes.split_first_chunk()? {
            (&[VERSION, ABSENT], _) => return Some(None),
            (&[VERSION, PRESENT], rest) => rest,
            _ => return None,
        };
        let (version, rest) = rest.split_first_chunk()?;
        let (created_at, rest) = rest.split_first_chunk()?;
        let (updated_at, text) = rest.split_first_chunk()?;
        Some(Some(Record {
            key: self.key.into(),
            document: Document::stored(std::str::from_utf8(text).ok()?),
            version: i64::from_le_bytes(*version),
            created_at: time(*created_at)?,
            updated_at: time(*updated_at)?,
        }))
    }

    fn is_absence(&self, record: &Option<Record>) -> bool {
        record.is_none()
    }
}

/// Microseconds, as the database keeps them.
fn time(bytes: [u8; 8]) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(i64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn documents_round_trip(text in ".{0,40}", version in any::<i64>(), micros in 0..4_000_000_000_000_000_i64) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            let document = Document::read(serde_json::to_string(&text).unwrap().as_bytes()).unwrap();
            let record = Record { key: "k".into(), document, version, created_at: at, updated_at: at };
            let codec = RecordCodec { key: "k" };
            let back = codec.decode(&codec.encode(&Some(record.clone())).into()).unwrap().unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{record:?}"));
        }

        #[test]
        fn nonsense_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = RecordCodec { key: "k" }.decode(&bytes.into());
        }
    }

    /// The bytes of one document. A change of the bytes gives [`CACHE_FORMAT`] another version: processes of the
    /// release before would misread the new bytes.
    #[test]
    fn other_bytes_need_another_version() {
        let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        let document = Document::read(br#"{"a":1}"#).unwrap();
        let record = Record { key: "k".into(), document, version: 7, created_at: at(2), updated_at: at(3) };
        let bytes = RecordCodec { key: "k" }.encode(&Some(record));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let known = concat!("0101", "0700000000000000", "0200000000000000", "0300000000000000", "7b2261223a317d");
        assert_eq!(
            (CACHE_FORMAT.version, &*hex),
            (1, known),
            "give CACHE_FORMAT a new version, and this test its bytes"
        );
        assert_eq!(RecordCodec { key: "k" }.encode(&None), [1, 0]);
    }

    #[test]
    fn absence_is_kept_too() {
        let codec = RecordCodec { key: "k" };
        assert!(matches!(codec.decode(&codec.encode(&None).into()), Some(None)));
        assert!(codec.is_absence(&None));
    }
}
