//! The statements on `file_metadata`, each a [`ShardCall`] that carries the check of the slot's owner.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgRow};
use uuid::Uuid;

use super::{File, FilePatch, NewFile, PageSize, UserId};
use crate::shard::{ShardCall, ShardId, Slot};

/// Binds a batch's rows as one array a column, in the order of the insert statements.
macro_rules! bind_columns {
    ($query:expr, $files:expr) => {{
        let files = $files;
        $query
            .bind(files.iter().map(|f| f.user.get()).bind_iter())
            .bind(files.iter().map(|f| f.id).bind_iter())
            .bind(files.iter().map(|f| &*f.name).bind_iter())
            .bind(files.iter().map(|f| f.path()).bind_iter())
            .bind(files.iter().map(|f| f.mime_type.as_deref()).bind_iter())
            .bind(files.iter().map(|f| f.checksum.as_deref()).bind_iter())
            .bind(files.iter().map(|f| f.size_bytes).bind_iter())
            .bind(files.iter().map(|f| f.modified_at).bind_iter())
    }};
}

/// Stores files, each once; gives the ids that were new, and when. The guard refuses foreign slots with an error.
///
/// Cancel safe: one statement, one transaction.
pub(super) async fn insert_batch(
    connection: &mut PgConnection,
    files: &[&NewFile],
) -> Result<Vec<(Uuid, DateTime<Utc>)>, sqlx::Error> {
    let statement = sqlx::query_as(include_str!("../../sql/files/insert_batch.sql"));
    bind_columns!(statement, files).fetch_all(connection).await
}

/// Stores files, each once; gives how many were new.
pub(super) struct LoadBatch<'a>(pub(super) &'a [NewFile]);

/// What became of a batch.
pub(super) struct Loaded {
    pub(super) inserted: usize,
    /// Ids under which another user has stored a file.
    pub(super) taken: Vec<Uuid>,
}

impl ShardCall for LoadBatch<'_> {
    type Output = Loaded;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Loaded>, sqlx::Error> {
        let files = self.0;
        let statement = sqlx::query(include_str!("../../sql/files/load_batch.sql"));
        let done = bind_columns!(statement, files).execute(&mut *connection).await?;
        let inserted = usize::try_from(done.rows_affected()).unwrap_or(files.len());
        let mut taken = Vec::new();
        if inserted < files.len() {
            taken = sqlx::query_scalar(include_str!("../../sql/files/find_taken_ids.sql"))
                .bind(files.iter().map(|f| f.user.get()).bind_iter())
                .bind(files.iter().map(|f| f.id).bind_iter())
                .fetch_all(connection)
                .await?;
        }
        Ok(Some(Loaded { inserted, taken }))
    }

    /// Rows of the first try count as duplicates in the second, so the count would be wrong, though not the rows.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// A page of a user's files, from an id on, newest first; one file more than the page holds tells that there are more.
pub(super) struct ListByUser {
    pub(super) user: UserId,
    pub(super) from: Uuid,
    pub(super) size: PageSize,
}

impl ShardCall for ListByUser {
    type Output = Vec<File>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Vec<File>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/files/list_by_user.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.from)
            .bind(i64::try_from(self.size.get() + 1).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().filter_map(|row| file_in(row, 0).transpose()).collect::<Result<_, _>>().map(Some)
    }
}

/// A file of a slot.
pub(super) struct FindById {
    pub(super) slot: Slot,
    pub(super) id: Uuid,
}

impl ShardCall for FindById {
    type Output = Option<File>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Option<File>>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/files/find_by_id.sql"))
            .bind(self.slot.to_sql())
            .bind(shard.to_sql())
            .bind(self.id)
            .fetch_optional(connection)
            .await?;
        row.map(|row| file_in(&row, 0)).transpose()
    }
}

/// A file by an id that names no slot, for a question to every shard.
pub(super) struct SearchById(pub(super) Uuid);

/// One shard's answer.
pub(super) struct Searched {
    pub(super) owned_slots: i64,
    pub(super) file: Option<File>,
}

impl ShardCall for SearchById {
    type Output = Searched;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Searched>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/files/search_by_id.sql"))
            .bind(shard.to_sql())
            .bind(self.0)
            .fetch_one(connection)
            .await?;
        Ok(Some(Searched { owned_slots: row.try_get(0)?, file: file_in(&row, 1)? }))
    }
}

/// A change of a file.
pub(super) struct Update<'a> {
    pub(super) slot: Slot,
    pub(super) id: Uuid,
    pub(super) patch: &'a FilePatch,
}

impl ShardCall for Update<'_> {
    type Output = Option<File>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Option<File>>, sqlx::Error> {
        let patch = self.patch;
        let row = sqlx::query(include_str!("../../sql/files/update.sql"))
            .bind(self.slot.to_sql())
            .bind(shard.to_sql())
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
            .fetch_optional(connection)
            .await?;
        row.map(|row| file_in(&row, 0)).transpose()
    }
}

/// The end of a file.
pub(super) struct Delete {
    pub(super) slot: Slot,
    pub(super) id: Uuid,
}

impl ShardCall for Delete {
    /// True if there was such a file.
    type Output = bool;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<bool>, sqlx::Error> {
        let row: Option<(Option<Uuid>,)> = sqlx::query_as(include_str!("../../sql/files/delete.sql"))
            .bind(self.slot.to_sql())
            .bind(shard.to_sql())
            .bind(self.id)
            .fetch_optional(connection)
            .await?;
        Ok(row.map(|(deleted,)| deleted.is_some()))
    }

    /// The second try would find nothing and say that there never was a file.
    fn is_repeatable(&self) -> bool {
        false
    }
}

/// The file in a row's columns from `first` on, or `None` if they are null. By position: it is the hot path.
fn file_in(row: &PgRow, first: usize) -> Result<Option<File>, sqlx::Error> {
    let Some(file_id) = row.try_get(first)? else { return Ok(None) };
    Ok(Some(File {
        file_id,
        user_id: row.try_get(first + 1)?,
        file_name: row.try_get(first + 2)?,
        path: row.try_get(first + 3)?,
        mime_type: row.try_get(first + 4)?,
        checksum: row.try_get(first + 5)?,
        size_bytes: row.try_get(first + 6)?,
        modified_at: row.try_get(first + 7)?,
        created_at: row.try_get(first + 8)?,
        updated_at: row.try_get(first + 9)?,
    }))
}
