//! The deletion of trash for good.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::model::EntryKind;
use crate::cache::CacheKey;
use crate::files::{UserId, spoiled_keys};
use crate::shard::ShardId;
use crate::writes::SlotWrite;

/// Deletes entries of a user's trash for good: files, or what is below a folder, from the bottom up, and at last the
/// folder.
pub(super) struct PurgeEntries<'a> {
    pub(super) user: UserId,
    pub(super) kind: EntryKind,
    pub(super) ids: &'a [Uuid],
    /// At most this many rows.
    pub(super) most: i32,
}

impl SlotWrite for PurgeEntries<'_> {
    /// The deleted rows.
    type Output = i64;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<i64>, sqlx::Error> {
        let statement = match self.kind {
            EntryKind::Folder => include_str!("../../sql/drive/purge_folders.sql"),
            EntryKind::File => include_str!("../../sql/drive/purge_files.sql"),
        };
        sqlx::query_scalar(statement)
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.ids)
            .bind(self.most)
            .fetch_optional(connection)
            .await
    }

    fn has_changed(deleted: &i64) -> bool {
        *deleted > 0
    }
}
