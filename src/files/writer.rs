//! Single files, stored in batches by [`GroupCommit`].

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::changes::{InsertedRow, insert_batch, insert_batch_keyed};
use super::model::FileInsert;
use super::page::spoiled_keys;
use super::placement::hold_drives;
use crate::cache::CacheKey;
use crate::shard::{RequestKey, ShardId, Slot, is_conflict};
use crate::writes::{BatchWrite, GroupCommit};

/// The lanes of all shards.
pub(super) type FileWriter = GroupCommit<InsertFiles>;

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum InsertOutcome {
    /// It is stored, since this time, in this folder.
    Inserted(DateTime<Utc>, Option<Uuid>),
    /// The user has a file with this id already, or the folder has an entry of this name.
    Exists,
}

/// Stores each file once: it has its id before it is sent.
pub(super) struct InsertFiles;

impl BatchWrite for InsertFiles {
    type Row = FileInsert;
    type Answer = InsertOutcome;

    fn slot(insert: &FileInsert) -> Slot {
        insert.file.user.slot()
    }

    fn key(insert: &FileInsert) -> Option<&RequestKey> {
        insert.key.as_ref()
    }

    fn order(a: &FileInsert, b: &FileInsert) -> Ordering {
        (a.file.user, a.file.id).cmp(&(b.file.user, b.file.id))
    }

    fn cache_keys(inserts: &[&FileInsert]) -> Vec<CacheKey> {
        let users = inserts.chunk_by(|a, b| a.file.user == b.file.user).flat_map(<[_]>::first);
        users.flat_map(|insert| spoiled_keys(insert.file.user)).collect()
    }

    async fn store(
        connection: &mut PgConnection,
        shard: ShardId,
        inserts: &[&FileInsert],
    ) -> Result<Vec<InsertOutcome>, sqlx::Error> {
        let stored = match insert(connection, shard, false, inserts).await {
            // A folder was deleted for good between the look and the rows. Now the folders stay until the commit.
            Err(error) if is_conflict(&error) => {
                let mut transaction = connection.begin().await?;
                hold_drives(&mut transaction, inserts.iter().map(|insert| insert.file.user)).await?;
                let stored = insert(&mut transaction, shard, true, inserts).await?;
                transaction.commit().await?;
                stored
            }
            done => done?,
        };
        let mut inserted: HashMap<(i64, Uuid), _> =
            stored.into_iter().map(|(user, id, at, folder)| ((user, id), (at, folder))).collect();
        // Of two rows of a user with one id the first was stored, the second finds it there.
        let written = |insert: &&FileInsert| {
            let key = (insert.file.user.get(), insert.file.id);
            inserted.remove(&key).map_or(InsertOutcome::Exists, |(at, folder)| InsertOutcome::Inserted(at, folder))
        };
        Ok(inserts.iter().map(written).collect())
    }
}

async fn insert(
    connection: &mut PgConnection,
    shard: ShardId,
    is_held: bool,
    inserts: &[&FileInsert],
) -> Result<Vec<InsertedRow>, sqlx::Error> {
    if inserts.iter().any(|insert| insert.key.is_some()) {
        insert_batch_keyed(connection, shard, is_held, inserts).await
    } else {
        insert_batch(connection, is_held, inserts).await
    }
}
