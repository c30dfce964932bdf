//! Changes of single documents, one statement each, with the check of the slot's owner.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::cached::spoiled_keys;
use super::kept::KeptOutcome;
use super::place::RecordPlace;
use super::store::RecordVersion;
use super::{CollectionName, Document};
use crate::cache::CacheKey;
use crate::shard::ShardId;
use crate::writes::SlotWrite;

/// A new document under a key that must be free.
pub(super) struct CreateRecord<'a> {
    pub(super) collection: &'a CollectionName,
    pub(super) place: &'a RecordPlace,
    pub(super) document: &'a Document,
}

impl SlotWrite for CreateRecord<'_> {
    /// `None`: the key is taken.
    type Output = Option<RecordVersion>;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.collection, self.place).into()
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Option<Option<RecordVersion>>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/records/create.sql"))
            .bind(self.collection.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(self.place.shard_key.as_deref())
            .bind(self.document.as_str())
            .bind(shard.to_sql())
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let is_taken = row.try_get::<Option<i64>, _>(0)?.is_none();
        Ok(Some(if is_taken { None } else { Some(RecordVersion::in_row(&row, 0)?) }))
    }

    fn has_changed(created: &Option<RecordVersion>) -> bool {
        created.is_some()
    }

    fn outcome_to_store(&self, created: &Option<RecordVersion>) -> Option<String> {
        KeptOutcome::of(&self.place.key, (*created)?, true, None).to_text()
    }

    /// A second try would find the document of the first try and say that the key is taken.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// The replacement of a document by another one under its key.
pub(super) struct ReplaceRecord<'a> {
    pub(super) collection: &'a CollectionName,
    pub(super) place: &'a RecordPlace,
    pub(super) document: &'a Document,
    pub(super) expected: Option<i64>,
}

/// The outcome of a replacement.
pub(super) enum ReplaceOutcome {
    /// The document is replaced.
    Done(RecordVersion),
    /// There is no document.
    Missing,
    /// The document has another version, namely this version.
    Changed(i64),
    /// The document stands under another shard key.
    OtherKey,
}

impl SlotWrite for ReplaceRecord<'_> {
    type Output = ReplaceOutcome;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.collection, self.place).into()
    }

    async fn apply(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Option<ReplaceOutcome>, sqlx::Error> {
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

    fn has_changed(outcome: &ReplaceOutcome) -> bool {
        matches!(outcome, ReplaceOutcome::Done(_))
    }

    fn outcome_to_store(&self, outcome: &ReplaceOutcome) -> Option<String> {
        let ReplaceOutcome::Done(state) = outcome else { return None };
        KeptOutcome::of(&self.place.key, *state, false, Some(self.document)).to_text()
    }

    /// After a first try that was made the version has changed, and a second try would report a change by another
    /// request.
    fn is_repeatable(&self) -> bool {
        self.expected.is_none()
    }
}

/// The deletion of a document.
pub(super) struct DeleteRecord<'a> {
    pub(super) collection: &'a CollectionName,
    pub(super) place: &'a RecordPlace,
    pub(super) expected: Option<i64>,
}

/// The outcome of a deletion.
pub(super) enum DeleteOutcome {
    /// The document is gone.
    Done,
    /// There was no document.
    Missing,
    /// The document has another version, namely this version.
    Changed(i64),
}

impl SlotWrite for DeleteRecord<'_> {
    type Output = DeleteOutcome;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.collection, self.place).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<DeleteOutcome>, sqlx::Error> {
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

    fn has_changed(outcome: &DeleteOutcome) -> bool {
        matches!(outcome, DeleteOutcome::Done)
    }

    /// A second try would find no document and say that there never was one.
    fn is_repeatable(&self) -> bool {
        false
    }
}
