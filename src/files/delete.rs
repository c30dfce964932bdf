//! Deletions of single files: many at once by [`GroupCommit`], or each by itself.

use std::cmp::Ordering;
use std::collections::HashSet;

use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::model::UserId;
use super::page::spoiled_keys;
use crate::cache::CacheKey;
use crate::shard::{RequestKey, ShardId, Slot, WorkKind};
use crate::writes::{BatchWrite, GroupCommit, SlotWrite};

/// The lanes of all shards.
pub(super) type DeleteLanes = GroupCommit<DeleteFiles>;

/// The deletion of a file.
pub(super) struct FileDelete {
    pub(super) user: UserId,
    pub(super) id: Uuid,
    /// The required state of the row, from `FindState`.
    pub(super) state: Option<String>,
}

/// Deletes each file that nobody else is changing.
pub(super) struct DeleteFiles;

impl BatchWrite for DeleteFiles {
    type Row = FileDelete;
    /// False: there is no such file, or its state is another one, or somebody else is changing it. Nothing was changed.
    type Answer = bool;

    /// A second try would find no file and say that there never was one.
    const IS_REPEATABLE: bool = false;

    fn slot(delete: &FileDelete) -> Slot {
        delete.user.slot()
    }

    fn key(_: &FileDelete) -> Option<&RequestKey> {
        None
    }

    fn order(a: &FileDelete, b: &FileDelete) -> Ordering {
        (a.user, a.id).cmp(&(b.user, b.id))
    }

    fn cache_keys(deletes: &[&FileDelete]) -> Vec<CacheKey> {
        let users = deletes.chunk_by(|a, b| a.user == b.user).flat_map(<[_]>::first);
        users.flat_map(|delete| spoiled_keys(delete.user)).collect()
    }

    async fn store(
        connection: &mut PgConnection,
        _: ShardId,
        deletes: &[&FileDelete],
    ) -> Result<Vec<bool>, sqlx::Error> {
        let rows: Vec<(i64, Uuid)> = sqlx::query_as(include_str!("../../sql/files/delete_batch.sql"))
            .bind(deletes.iter().map(|delete| delete.user.get()).bind_iter())
            .bind(deletes.iter().map(|delete| delete.id).bind_iter())
            .bind(deletes.iter().map(|delete| delete.state.as_deref()).bind_iter())
            .fetch_all(connection)
            .await?;
        let mut deleted: HashSet<_> = rows.into_iter().collect();
        Ok(deletes.iter().map(|delete| deleted.remove(&(delete.user.get(), delete.id))).collect())
    }
}

impl SlotWrite for FileDelete {
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
            .bind(self.state.as_deref())
            .fetch_optional(connection)
            .await
    }

    fn has_changed(is_deleted: &bool) -> bool {
        *is_deleted
    }

    /// A group has left the deletion out, as another transaction holds the file.
    fn work_kind(&self) -> WorkKind {
        WorkKind::HeldRow
    }

    /// As [`DeleteFiles::IS_REPEATABLE`].
    fn is_repeatable(&self) -> bool {
        false
    }
}
