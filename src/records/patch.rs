//! A change of a document that depends on what the document is: read, merged and written in one transaction, which holds the
//! document's row. Changes that come at the same time, from whichever process, come one after the other.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row as _};

use super::kept::KeptOutcome;
use super::place::RecordPlace;
use super::store::{RecordVersion, ReplaceOutcome, ReplaceRecord, record_in};
use super::{Collection, Document, Record, RecordError};
use crate::shard::{ShardCall, ShardId};

/// A patch of a document that is there.
pub(super) struct PatchRecord<'a> {
    pub(super) collection: &'a Collection,
    pub(super) place: &'a RecordPlace,
    pub(super) patch: &'a Document,
    pub(super) expected: Option<i64>,
    /// The commit has been sent, so that nobody knows what a lost connection means.
    pub(super) is_committing: AtomicBool,
}

/// What became of it.
pub(super) enum PatchOutcome {
    /// The document is this one now.
    Done(Record),
    /// There is none.
    Missing,
    /// It has another version, this one.
    Changed(i64),
    /// The document that the patch would make cannot be stored.
    Refused(RecordError),
}

impl PatchOutcome {
    /// What is kept of a change that was made.
    pub(super) fn to_kept(&self) -> Option<String> {
        let Self::Done(record) = self else { return None };
        let Record { key, document, version, created_at, updated_at } = record;
        let state = RecordVersion { version: *version, created_at: *created_at, updated_at: *updated_at };
        KeptOutcome::of(key, state, false, Some(document)).to_text()
    }
}

impl ShardCall for PatchRecord<'_> {
    type Output = PatchOutcome;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<PatchOutcome>, sqlx::Error> {
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
        Ok(replace.call(connection, shard).await?.map(|replaced| match replaced {
            ReplaceOutcome::Done(RecordVersion { version, created_at, updated_at }) => {
                PatchOutcome::Done(Record { key: found.key, document, version, created_at, updated_at })
            }
            // Never, as the transaction holds the row.
            ReplaceOutcome::Missing => PatchOutcome::Missing,
            ReplaceOutcome::Changed(version) => PatchOutcome::Changed(version),
            ReplaceOutcome::OtherKey => PatchOutcome::Refused(RecordError::KeyFixed),
        }))
    }

    /// What the patch makes of a document, and where that stands.
    fn merge(&self, document: &Document) -> Result<(RecordPlace, Document), RecordError> {
        let merged = document.merged(self.patch)?;
        let mut place = self.place.clone();
        self.collection.settle(&mut place, &merged)?;
        Ok((place, merged))
    }
}
