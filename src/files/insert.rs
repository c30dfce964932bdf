//! New single files, stored in batches by [`GroupCommit`].

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::Connection as _;
use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::model::{FileInsert, NewFile};
use super::page::spoiled_keys;
use super::placement::{KnownFolders, hold_drives, place_files};
use crate::cache::CacheKey;
use crate::shard::{RequestKey, ShardId, Slot, is_conflict};
use crate::writes::{BatchWrite, GroupCommit};

/// The lanes of all shards.
pub(super) type InsertLanes = GroupCommit<InsertFiles>;

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

/// Stores files, each once; gives the new rows.
///
/// Cancel safe: the rows are one statement. The folders of the files are made before it, by a transaction of their own.
async fn insert(
    connection: &mut PgConnection,
    shard: ShardId,
    is_held: bool,
    inserts: &[&FileInsert],
) -> Result<Vec<InsertedRow>, sqlx::Error> {
    let files = inserts.iter().map(|insert| &insert.file);
    let folders = place_files(connection, &KnownFolders::default(), is_held, files).await?;
    if inserts.iter().any(|insert| insert.key.is_some()) {
        return insert_batch_keyed(connection, shard, inserts, &folders).await;
    }
    match (inserts, folders.as_slice()) {
        ([only], [folder]) => Ok(insert_one(connection, &only.file, *folder).await?.into_iter().collect()),
        _ => insert_batch(connection, inserts, &folders).await,
    }
}

/// Binds a batch's rows as an array for each column, in the order of the insert statements.
///
/// A macro, because `query` and `query_as` share no trait for binding.
macro_rules! bind_columns {
    ($query:expr, $files:expr, $folders:expr) => {
        $query
            .bind($files.map(|f| f.user.get()).bind_iter())
            .bind($files.map(|f| f.id).bind_iter())
            .bind($files.map(|f| &*f.name).bind_iter())
            .bind($folders.iter().copied().bind_iter())
            .bind($files.map(|f| f.mime_type.as_deref()).bind_iter())
            .bind($files.map(|f| f.checksum.as_deref()).bind_iter())
            .bind($files.map(|f| f.size_bytes).bind_iter())
            .bind($files.map(|f| f.modified_at).bind_iter())
            .bind($files.map(|f| f.content_ref.as_deref()).bind_iter())
    };
}
pub(super) use bind_columns;

/// The user, the id, the creation time and the folder of a stored row.
pub(super) type InsertedRow = (i64, Uuid, DateTime<Utc>, Option<Uuid>);

/// Stores files in their folders, each once; gives the new rows. The guard refuses foreign slots with an error.
async fn insert_batch(
    connection: &mut PgConnection,
    inserts: &[&FileInsert],
    folders: &[Option<Uuid>],
) -> Result<Vec<InsertedRow>, sqlx::Error> {
    let files = inserts.iter().map(|insert| &insert.file);
    let statement = sqlx::query_as(include_str!("../../sql/files/insert_batch.sql"));
    bind_columns!(statement, files.clone(), folders).fetch_all(connection).await
}

/// As [`insert_batch`], for a file that met no other one: a row without arrays takes PostgreSQL less time
/// (`docs/decisions/0009-where-the-time-goes.md`).
async fn insert_one(
    connection: &mut PgConnection,
    file: &NewFile,
    folder: Option<Uuid>,
) -> Result<Option<InsertedRow>, sqlx::Error> {
    sqlx::query_as(include_str!("../../sql/files/insert.sql"))
        .bind(file.user.get())
        .bind(file.id)
        .bind(&*file.name)
        .bind(folder)
        .bind(file.mime_type.as_deref())
        .bind(file.checksum.as_deref())
        .bind(file.size_bytes)
        .bind(file.modified_at)
        .bind(file.content_ref.as_deref())
        .fetch_optional(connection)
        .await
}

/// As [`insert_batch`], and stores the outcome for each key. The rows are in order.
async fn insert_batch_keyed(
    connection: &mut PgConnection,
    shard: ShardId,
    inserts: &[&FileInsert],
    folders: &[Option<Uuid>],
) -> Result<Vec<InsertedRow>, sqlx::Error> {
    // Of a user's rows with one id the first is stored; the others change nothing and have no outcome.
    let same = inserts.chunk_by(|a, b| (a.file.user, a.file.id) == (b.file.user, b.file.id));
    let mut keys = Vec::with_capacity(inserts.len());
    for same in same {
        keys.extend(same.first().map(|insert| insert.key));
        keys.extend(same.iter().skip(1).map(|_| None));
    }
    let files = inserts.iter().map(|insert| &insert.file);
    let statement = sqlx::query_as(include_str!("../../sql/files/insert_batch_keyed.sql"));
    bind_columns!(statement, files.clone(), folders)
        .bind(keys.iter().map(|key| key.map(|key| key.key)).bind_iter())
        .bind(keys.iter().map(|key| key.map(|key| key.request)).bind_iter())
        .bind(shard.to_sql())
        .fetch_all(connection)
        .await
}
