//! Reads of single documents, each with the check of the slot's owner.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgRow};

use super::place::RecordPlace;
use super::{Collection, Document, Record};
use crate::shard::{BatchRead, ShardCall, ShardId, Slot, WorkKind, required_time};

/// The state of a document after a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordVersion {
    pub(super) version: i64,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl RecordVersion {
    pub(super) fn in_row(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row.try_get_unchecked(first)?,
            created_at: required_time(row, first + 1)?,
            updated_at: required_time(row, first + 2)?,
        })
    }
}

/// The document under a key.
pub(super) struct FindRecord {
    pub(super) collection: Arc<Collection>,
    pub(super) place: RecordPlace,
}

/// The outcome of a lookup.
pub(super) enum FindOutcome {
    /// The document, if there is one.
    Found(Option<Record>),
    /// The document is too large to be read together with others.
    Large,
}

impl ShardCall for FindRecord {
    type Output = FindOutcome;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<FindOutcome>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/records/find.sql"))
            .bind(self.collection.name.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(shard.to_sql())
            .fetch_optional(connection)
            .await?;
        row.map(|row| record_in(&row, 0, &self.place.key).map(FindOutcome::Found)).transpose()
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

impl BatchRead for FindRecord {
    fn slot(&self) -> Slot {
        self.place.slot
    }

    async fn call_all(reads: &[Self], connection: &mut PgConnection) -> Result<Vec<Option<FindOutcome>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/records/find_batch.sql"))
            .bind(reads.iter().map(|read| read.collection.name.as_str()).bind_iter())
            .bind(reads.iter().map(|read| &*read.place.key).bind_iter())
            .bind(reads.iter().map(|read| read.place.slot.to_sql()).bind_iter())
            .fetch_all(connection)
            .await?;
        let mut found: Vec<Option<FindOutcome>> = reads.iter().map(|_| None).collect();
        for row in &rows {
            let place: i64 = row.try_get(0)?; // from 1
            let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
            if let Some((answer, read)) = place.and_then(|place| Some((found.get_mut(place)?, reads.get(place)?))) {
                let record = record_in(row, 1, &read.place.key)?;
                let is_large = record.is_none() && row.try_get::<Option<i64>, _>(2)?.is_some();
                *answer = Some(if is_large { FindOutcome::Large } else { FindOutcome::Found(record) });
            }
        }
        Ok(found)
    }
}

/// The document in a row's columns from `first` on, or `None` if they are null.
pub(super) fn record_in(row: &PgRow, first: usize, key: &str) -> Result<Option<Record>, sqlx::Error> {
    // Unchecked: PostgreSQL sends json as it sends text, and the driver takes json and text for different types.
    let Some(text) = row.try_get_unchecked::<Option<String>, _>(first)? else { return Ok(None) };
    let RecordVersion { version, created_at, updated_at } = RecordVersion::in_row(row, first + 1)?;
    Ok(Some(Record { key: key.into(), document: Document::stored(text), version, created_at, updated_at }))
}
