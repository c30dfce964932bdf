//! Stored documents, and the conditions of a change.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Document;
use crate::payload::time;
use crate::shard::ShardId;

/// A stored document.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Record {
    /// The document's key.
    #[schema(value_type = String, example = "42")]
    pub key: Box<str>,
    /// The document, as it was written.
    #[schema(value_type = serde_json::Value)]
    pub document: Document,
    /// A number that changes with each change of the document; the `ETag`.
    pub version: i64,
    /// When the document was first stored, by the shard's clock.
    #[serde(serialize_with = "time::serialize_time")]
    pub created_at: DateTime<Utc>,
    /// When the document last changed, by the shard's clock.
    #[serde(serialize_with = "time::serialize_time")]
    pub updated_at: DateTime<Utc>,
}

/// A document that was found.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// The document.
    pub record: Record,
    /// The shard that holds the document.
    pub shard: ShardId,
    /// True if the cache had the document, and no shard was asked.
    pub from_cache: bool,
}

/// A document that was stored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// The document's key.
    pub key: Box<str>,
    /// The shard that holds the document.
    pub shard: ShardId,
    /// True if the key had no document before.
    pub created: bool,
    /// The document's version from now on.
    pub version: i64,
    /// When the document was first stored, by the shard's clock.
    pub created_at: DateTime<Utc>,
    /// The time of this write, by the shard's clock.
    pub updated_at: DateTime<Utc>,
}

/// The state in which a document must be for a change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WriteCondition {
    /// Any state; the document may also be absent.
    #[default]
    Any,
    /// The document must be there.
    Present,
    /// The document must be there in this version.
    Version(i64),
    /// The document must be absent.
    Absent,
}

impl WriteCondition {
    /// The version that the document must have, if the condition names a version.
    pub(super) fn version(self) -> Option<i64> {
        match self {
            Self::Version(version) => Some(version),
            Self::Any | Self::Present | Self::Absent => None,
        }
    }
}
