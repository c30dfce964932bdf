//! Changes of `file_metadata`: batches of new files, and single updates and deletions.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::model::{File, FileInsert, FilePatch, UserId};
use super::page::spoiled_keys;
use super::placement::{KnownFolders, place_files};
use super::view::optional_file;
use crate::cache::CacheKey;
use crate::shard::ShardId;
use crate::writes::SlotWrite;

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

/// Stores files, each once; gives the new rows. The guard refuses foreign slots with an error.
///
/// Cancel safe: one statement, one transaction. The folders of the files are made before it, by a transaction of their own.
pub(super) async fn insert_batch(
    connection: &mut PgConnection,
    is_held: bool,
    inserts: &[&FileInsert],
) -> Result<Vec<InsertedRow>, sqlx::Error> {
    let files = inserts.iter().map(|insert| &insert.file);
    let folders = place_files(connection, &KnownFolders::default(), is_held, files.clone()).await?;
    let statement = sqlx::query_as(include_str!("../../sql/files/insert_batch.sql"));
    bind_columns!(statement, files.clone(), folders).fetch_all(connection).await
}

/// As [`insert_batch`], and stores the outcome for each key. The rows are in order.
pub(super) async fn insert_batch_keyed(
    connection: &mut PgConnection,
    shard: ShardId,
    is_held: bool,
    inserts: &[&FileInsert],
) -> Result<Vec<InsertedRow>, sqlx::Error> {
    // Of a user's rows with one id the first is stored; the others change nothing and have no outcome.
    let same = inserts.chunk_by(|a, b| (a.file.user, a.file.id) == (b.file.user, b.file.id));
    let mut keys = Vec::with_capacity(inserts.len());
    for same in same {
        keys.extend(same.first().map(|insert| insert.key));
        keys.extend(same.iter().skip(1).map(|_| None));
    }
    let files = inserts.iter().map(|insert| &insert.file);
    let folders = place_files(connection, &KnownFolders::default(), is_held, files.clone()).await?;
    let statement = sqlx::query_as(include_str!("../../sql/files/insert_batch_keyed.sql"));
    bind_columns!(statement, files.clone(), folders)
        .bind(keys.iter().map(|key| key.map(|key| key.key)).bind_iter())
        .bind(keys.iter().map(|key| key.map(|key| key.request)).bind_iter())
        .bind(shard.to_sql())
        .fetch_all(connection)
        .await
}

/// A change of a file.
pub(super) struct UpdateFile<'a> {
    pub(super) user: UserId,
    pub(super) id: Uuid,
    pub(super) patch: &'a FilePatch,
    /// The required state of the row, from `FindState`.
    pub(super) state: Option<&'a str>,
}

impl SlotWrite for UpdateFile<'_> {
    type Output = Option<File>;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Option<File>>, sqlx::Error> {
        let patch = self.patch;
        let row = sqlx::query(include_str!("../../sql/files/update.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.id)
            .bind(patch.name.is_some())
            .bind(patch.name.as_deref())
            .bind(patch.path.is_some())
            .bind(patch.path.as_ref().and_then(|path| path.as_deref()))
            .bind(patch.mime_type.is_some())
            .bind(patch.mime_type.as_ref().and_then(|text| text.as_deref()))
            .bind(patch.checksum.is_some())
            .bind(patch.checksum.as_ref().and_then(|text| text.as_deref()))
            .bind(patch.size_bytes.is_some())
            .bind(patch.size_bytes.flatten())
            .bind(patch.modified_at.is_some())
            .bind(patch.modified_at.flatten())
            .bind(patch.content_ref.is_some())
            .bind(patch.content_ref.as_ref().and_then(|text| text.as_deref()))
            .bind(self.state)
            .fetch_optional(connection)
            .await?;
        row.map(|row| optional_file(&row, 0)).transpose()
    }

    fn has_changed(updated: &Option<File>) -> bool {
        updated.is_some()
    }

    fn outcome_to_store(&self, updated: &Option<File>) -> Option<String> {
        serde_json::to_string(updated.as_ref()?).ok()
    }
}

/// The deletion of a file.
pub(super) struct DeleteFile<'a> {
    pub(super) user: UserId,
    pub(super) id: Uuid,
    /// The required state of the row, from `FindState`.
    pub(super) state: Option<&'a str>,
}

impl SlotWrite for DeleteFile<'_> {
    /// True if there was such a file.
    type Output = bool;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<bool>, sqlx::Error> {
        sqlx::query_scalar(include_str!("../../sql/files/delete.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.id)
            .bind(self.state)
            .fetch_optional(connection)
            .await
    }

    fn has_changed(is_deleted: &bool) -> bool {
        *is_deleted
    }

    /// A second try would find no file and say that there never was one.
    fn is_repeatable(&self) -> bool {
        false
    }
}
