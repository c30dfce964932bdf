//! The outcome of a document's change, stored for its `Idempotency-Key`.

use serde::{Deserialize, Serialize};

use super::store::RecordVersion;
use super::{Document, FoundRecord, Record, RecordError, StoredRecord};
use crate::shard::{RequestKey, ShardError, StoredOutcome, time_of_micros};

/// `sql/records/put_batch_keyed.sql` writes the same fields; times are microseconds since 1970.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptOutcome {
    key: Box<str>,
    created: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
    /// The document, where the answer holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<String>,
}

impl KeptOutcome {
    pub(super) fn of(key: &str, state: RecordVersion, created: bool, document: Option<&Document>) -> Self {
        Self {
            key: key.into(),
            created,
            version: state.version,
            created_at: state.created_at.timestamp_micros(),
            updated_at: state.updated_at.timestamp_micros(),
            document: document.map(|document| document.as_str().to_owned()),
        }
    }

    /// `None` never: texts and numbers always become JSON.
    pub(super) fn to_text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}

/// The answer to a request that stored a document before.
pub(super) fn stored_before(known: &StoredOutcome, key: Option<&RequestKey>) -> Result<StoredRecord, RecordError> {
    let kept: KeptOutcome = known.outcome_of(key.ok_or(ShardError::KeyReused)?)?;
    Ok(StoredRecord {
        key: kept.key,
        shard: known.shard,
        created: kept.created,
        version: kept.version,
        created_at: time_of_micros(known.shard, kept.created_at)?,
        updated_at: time_of_micros(known.shard, kept.updated_at)?,
    })
}

/// The answer to a request that changed a document before: the document as it was then.
pub(super) fn found_before(known: &StoredOutcome, key: Option<&RequestKey>) -> Result<FoundRecord, RecordError> {
    let kept: KeptOutcome = known.outcome_of(key.ok_or(ShardError::KeyReused)?)?;
    let record = Record {
        key: kept.key,
        // A stored answer without a document belongs to another request.
        document: Document::stored(kept.document.ok_or(ShardError::KeyReused)?),
        version: kept.version,
        created_at: time_of_micros(known.shard, kept.created_at)?,
        updated_at: time_of_micros(known.shard, kept.updated_at)?,
    };
    Ok(FoundRecord { record, shard: known.shard, from_cache: false })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::shard::ShardId;

    const KEY: RequestKey = RequestKey { key: Uuid::nil(), request: Uuid::max() };

    fn stored(outcome: &str) -> StoredOutcome {
        StoredOutcome::new(Uuid::max(), ShardId::new(1), outcome.to_owned())
    }

    #[test]
    fn an_outcome_that_cannot_be_read_is_no_empty_document() {
        let good = r#"{"key":"k","created":true,"version":1,"created_at":7,"updated_at":8,"document":"{}"}"#;
        assert_eq!(found_before(&stored(good), Some(&KEY)).unwrap().record.document.as_str(), "{}");
        assert_eq!(stored_before(&stored(good), Some(&KEY)).unwrap().created_at.timestamp_micros(), 7);
        let without = good.replace(r#","document":"{}""#, "");
        let reused = found_before(&stored(&without), Some(&KEY));
        assert!(matches!(reused, Err(RecordError::Shard(ShardError::KeyReused))), "{reused:?}");
        for (from, to) in [("\"created_at\":7", "\"created_at\":9223372036854775807"), (":8", ":\"8\""), ("}", "")] {
            let bad = stored(&good.replace(from, to));
            let is_refused = |error| matches!(error, RecordError::Shard(ShardError::Unexpected { .. }));
            assert!(found_before(&bad, Some(&KEY)).is_err_and(is_refused), "{to}");
            assert!(stored_before(&bad, Some(&KEY)).is_err_and(is_refused), "{to}");
        }
    }
}
