//! The statements on `records`, each a [`ShardCall`] that carries the check of the slot's owner.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgRow};

use super::place::RecordPlace;
use super::{Collection, CollectionName, Document, Record};
use crate::shard::{BatchRead, ShardCall, ShardId, Slot, time_at};

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
            created_at: time_at(row, first + 1)?,
            updated_at: time_at(row, first + 2)?,
        })
    }
}

/// The document under a key.
pub(super) struct FindRecord {
    pub(super) collection: Arc<Collection>,
    pub(super) place: RecordPlace,
}

/// What was found.
pub(super) enum FindOutcome {
    /// The document, if there is one.
    Found(Option<Record>),
    /// There is one that is too large to be read together with others.
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
}

impl BatchRead for FindRecord {
    fn slot(&self) -> Slot {
        self.place.slot
    }

    async fn call_all(
        reads: &[Self],
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Vec<Option<FindOutcome>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/records/find_batch.sql"))
            .bind(reads.iter().map(|read| read.collection.name.as_str()).bind_iter())
            .bind(reads.iter().map(|read| &*read.place.key).bind_iter())
            .bind(reads.iter().map(|read| read.place.slot.to_sql()).bind_iter())
            .bind(shard.to_sql())
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

/// A new document under a key that must be free.
pub(super) struct CreateRecord<'a> {
    pub(super) collection: &'a CollectionName,
    pub(super) place: &'a RecordPlace,
    pub(super) document: &'a Document,
}

impl ShardCall for CreateRecord<'_> {
    /// `None`: the key is taken.
    type Output = Option<RecordVersion>;

    async fn call(
        &self,
        connection: &mut PgConnection,
        _: ShardId,
    ) -> Result<Option<Option<RecordVersion>>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/records/create.sql"))
            .bind(self.collection.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(self.place.shard_key.as_deref())
            .bind(self.document.as_str())
            .fetch_optional(connection)
            .await?;
        row.map(|row| RecordVersion::in_row(&row, 0)).transpose().map(Some)
    }

    /// The second try would find the document of the first one and say that the key is taken.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// Another document in place of one that is there.
pub(super) struct ReplaceRecord<'a> {
    pub(super) collection: &'a CollectionName,
    pub(super) place: &'a RecordPlace,
    pub(super) document: &'a Document,
    pub(super) expected: Option<i64>,
}

/// What became of it.
pub(super) enum ReplaceOutcome {
    /// It is replaced.
    Done(RecordVersion),
    /// There is none.
    Missing,
    /// It has another version, this one.
    Changed(i64),
    /// It is under another shard key.
    OtherKey,
}

impl ShardCall for ReplaceRecord<'_> {
    type Output = ReplaceOutcome;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<ReplaceOutcome>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/records/replace.sql"))
            .bind(self.collection.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(self.place.shard_key.as_deref())
            .bind(self.document.as_str())
            .bind(self.expected)
            .bind(shard.to_sql())
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(found): Option<i64> = row.try_get(0)? else { return Ok(Some(ReplaceOutcome::Missing)) };
        if row.try_get::<Option<i64>, _>(2)?.is_some() {
            return Ok(Some(ReplaceOutcome::Done(RecordVersion::in_row(&row, 2)?)));
        }
        let shard_key: Option<String> = row.try_get(1)?;
        let same_key = shard_key.as_deref() == self.place.shard_key.as_deref();
        Ok(Some(if same_key { ReplaceOutcome::Changed(found) } else { ReplaceOutcome::OtherKey }))
    }

    /// After a first try that was made the version is another one, and the second would say that somebody else did it.
    fn is_repeatable(&self) -> bool {
        self.expected.is_none()
    }
}

/// The end of a document.
pub(super) struct DeleteRecord<'a> {
    pub(super) collection: &'a CollectionName,
    pub(super) place: &'a RecordPlace,
    pub(super) expected: Option<i64>,
}

/// What became of it.
pub(super) enum DeleteOutcome {
    /// It is gone.
    Done,
    /// There was none.
    Missing,
    /// It has another version, this one.
    Changed(i64),
}

impl ShardCall for DeleteRecord<'_> {
    type Output = DeleteOutcome;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<DeleteOutcome>, sqlx::Error> {
        let row: Option<(Option<i64>, bool)> = sqlx::query_as(include_str!("../../sql/records/delete.sql"))
            .bind(self.collection.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(shard.to_sql())
            .bind(self.expected)
            .fetch_optional(connection)
            .await?;
        Ok(row.map(|(found, deleted)| match found {
            _ if deleted => DeleteOutcome::Done,
            None => DeleteOutcome::Missing,
            Some(version) => DeleteOutcome::Changed(version),
        }))
    }

    /// The second try would find nothing and say that there never was a document.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// The document in a row's columns from `first` on, or `None` if they are null.
pub(super) fn record_in(row: &PgRow, first: usize, key: &str) -> Result<Option<Record>, sqlx::Error> {
    // Unchecked: PostgreSQL sends json as it sends text, and the driver would not take the one for the other.
    let Some(text) = row.try_get_unchecked::<Option<String>, _>(first)? else { return Ok(None) };
    let RecordVersion { version, created_at, updated_at } = RecordVersion::in_row(row, first + 1)?;
    Ok(Some(Record { key: key.into(), document: Document::stored(text), version, created_at, updated_at }))
}
