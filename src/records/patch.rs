//! A change that depends on the present document: read, merged and written in one transaction, which holds the
//! document's row. Changes that come at the same time, from any process, come one after the other.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row as _};

use super::cached::spoiled_keys;
use super::changes::{ReplaceOutcome, ReplaceRecord};
use super::kept::KeptOutcome;
use super::place::RecordPlace;
use super::store::{RecordVersion, record_in};
use super::{Collection, Document, Record, RecordError};
use crate::cache::CacheKey;
use crate::shard::ShardId;
use crate::writes::SlotWrite;

/// A patch of a present document.
pub(super) struct PatchRecord<'a> {
    pub(super) collection: &'a Collection,
    pub(super) place: &'a RecordPlace,
    pub(super) patch: &'a Document,
    pub(super) expected: Option<i64>,
    /// The commit has been sent, so that nobody knows what a lost connection means.
    pub(super) is_committing: AtomicBool,
}

/// The outcome of a patch.
pub(super) enum PatchOutcome {
    /// The changed document.
    Done(Record),
    /// There is no document.
    Missing,
    /// The document has another version, namely this version.
    Changed(i64),
    /// The document that the patch would make cannot be stored.
    Refused(RecordError),
}

impl SlotWrite for PatchRecord<'_> {
    type Output = PatchOutcome;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(&self.collection.name, self.place).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<PatchOutcome>, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let patched = self.change(&mut transaction, shard).await?;
        match patched {
            Some(PatchOutcome::Done(_)) => {
                self.is_committing.store(true, Ordering::Relaxed);
                transaction.commit().await?;
            }
            _ => transaction.rollback().await?,
        }
        Ok(patched)
    }

    fn has_changed(outcome: &PatchOutcome) -> bool {
        matches!(outcome, PatchOutcome::Done(_))
    }

    fn outcome_to_store(&self, outcome: &PatchOutcome) -> Option<String> {
        let PatchOutcome::Done(record) = outcome else { return None };
        let Record { key, document, version, created_at, updated_at } = record;
        let state = RecordVersion { version: *version, created_at: *created_at, updated_at: *updated_at };
        KeptOutcome::of(key, state, false, Some(document)).to_text()
    }

    fn is_repeatable(&self) -> bool {
        !self.is_committing.load(Ordering::Relaxed)
    }
}

impl PatchRecord<'_> {
    async fn change(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<PatchOutcome>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/records/lock.sql"))
            .bind(self.collection.name.as_str())
            .bind(&*self.place.key)
            .bind(self.place.slot.to_sql())
            .bind(shard.to_sql())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(found) = record_in(&row, 0, &self.place.key)? else { return Ok(Some(PatchOutcome::Missing)) };
        if self.expected.is_some_and(|expected| expected != found.version) {
            return Ok(Some(PatchOutcome::Changed(found.version)));
        }
        let (place, document) = match self.merge(&found.document) {
            Ok(merged) => merged,
            Err(error) => return Ok(Some(PatchOutcome::Refused(error))),
        };
        if place.shard_key.as_deref() != row.try_get(4)? {
            return Ok(Some(PatchOutcome::Refused(RecordError::KeyFixed)));
        }
        let (collection, expected) = (&self.collection.name, Some(found.version));
        let replace = ReplaceRecord { collection, place: &place, document: &document, expected };
        Ok(replace.apply(connection, shard).await?.map(|replaced| match replaced {
            ReplaceOutcome::Done(RecordVersion { version, created_at, updated_at }) => {
                PatchOutcome::Done(Record { key: found.key, document, version, created_at, updated_at })
            }
            // Never, as the transaction holds the row.
            ReplaceOutcome::Missing => PatchOutcome::Missing,
            ReplaceOutcome::Changed(version) => PatchOutcome::Changed(version),
            ReplaceOutcome::OtherKey => PatchOutcome::Refused(RecordError::KeyFixed),
        }))
    }

    /// The patched document, and its place.
    fn merge(&self, document: &Document) -> Result<(RecordPlace, Document), RecordError> {
        let merged = document.merged(self.patch)?;
        let mut place = self.place.clone();
        self.collection.check_shard_key(&mut place, &merged)?;
        Ok((place, merged))
    }
}
