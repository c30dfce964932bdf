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
    /// Its key.
    #[schema(value_type = String, example = "42")]
    pub key: Box<str>,
    /// The document, as it was written.
    #[schema(value_type = serde_json::Value)]
    pub document: Document,
    /// Another one after each change; the `ETag`.
    pub version: i64,
    /// When it was first stored, by the shard's clock.
    #[serde(serialize_with = "time::required")]
    pub created_at: DateTime<Utc>,
    /// When it last changed, by the shard's clock.
    #[serde(serialize_with = "time::required")]
    pub updated_at: DateTime<Utc>,
}

/// A document that was found.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// The document.
    pub record: Record,
    /// Where it is.
    pub shard: ShardId,
    /// True if the cache had it, and no shard was asked.
    pub from_cache: bool,
}

/// A document that was stored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// Its key.
    pub key: Box<str>,
    /// Where it is.
    pub shard: ShardId,
    /// True if there was none under the key before.
    pub created: bool,
    /// Its version from now on.
    pub version: i64,
    /// When it was first stored, by the shard's clock.
    pub created_at: DateTime<Utc>,
    /// When this write came, by the shard's clock.
    pub updated_at: DateTime<Utc>,
}

/// In which state a document must be for a change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WriteCondition {
    /// In any, also not there.
    #[default]
    Any,
    /// It must be there.
    Present,
    /// It must be there in this version.
    Version(i64),
    /// It must not be there.
    Absent,
}

impl WriteCondition {
    /// The version that it must have, if it must have one.
    pub(super) fn version(self) -> Option<i64> {
        match self {
            Self::Version(version) => Some(version),
            Self::Any | Self::Present | Self::Absent => None,
        }
    }
}
