//! The folders that a listing names itself.

use sqlx::postgres::{PgBindIterExt, PgConnection};

use super::parse::RecordPosition;
use crate::cache::CacheKey;
use crate::files::model::UserId;
use crate::files::page::spoiled_keys;
use crate::files::path::DrivePath;
use crate::shard::{ShardId, WorkKind};
use crate::writes::SlotWrite;

/// A folder of a listing, and where its record stands.
pub(super) struct FolderRow {
    pub(super) place: RecordPosition,
    pub(super) user: UserId,
    pub(super) path: DrivePath,
}

/// Makes folders of a listing, each once. They are all of one user.
pub(super) struct MakeFolders<'a>(pub(super) &'a [FolderRow]);

impl SlotWrite for MakeFolders<'_> {
    type Output = ();

    fn cache_keys(&self) -> Vec<CacheKey> {
        self.0.first().map_or_else(Vec::new, |row| spoiled_keys(row.user).into())
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<()>, sqlx::Error> {
        let Some(user) = self.0.first().map(|row| row.user) else { return Ok(Some(())) };
        let counted: Option<i64> = sqlx::query_scalar(include_str!("../../../sql/files/make_folders.sql"))
            .bind(user.get())
            .bind(self.0.iter().map(|row| row.path.to_string()).bind_iter())
            .bind(user.slot().to_sql())
            .bind(shard.to_sql())
            .fetch_optional(connection)
            .await?;
        Ok(counted.map(|_| ()))
    }

    fn has_changed((): &()) -> bool {
        true
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Load
    }
}
