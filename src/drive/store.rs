//! Reads of a drive, each with the check of the slot's owner.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::model::{Child, DriveSummary, EntryKind, Folder};
use super::statements::{ResolvedPath, find_folder, resolve};
use crate::files::UserId;
use crate::payload::PageSize;
use crate::shard::{ShardCall, ShardId, Slot, optional_time, required_time};

/// A folder by its id.
pub(super) struct FindFolder {
    pub(super) user: UserId,
    pub(super) id: Uuid,
}

impl ShardCall for FindFolder {
    type Output = Option<Folder>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        find_folder(connection, shard, self.user, self.id).await
    }
}

/// The user whose folder has an id.
pub(super) struct FindOwner {
    pub(super) slot: Slot,
    pub(super) id: Uuid,
}

impl ShardCall for FindOwner {
    type Output = Option<i64>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        sqlx::query_scalar(include_str!("../../sql/drive/find_owner.sql"))
            .bind(self.slot.to_sql())
            .bind(shard.to_sql())
            .bind(self.id)
            .fetch_optional(connection)
            .await
    }
}

/// The entry at a path.
pub(super) struct ResolvePath<'a> {
    pub(super) user: UserId,
    pub(super) names: &'a [String],
}

impl ShardCall for ResolvePath<'_> {
    type Output = ResolvedPath;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<ResolvedPath>, sqlx::Error> {
        resolve(connection, shard, self.user, self.names).await
    }
}

/// What a drive holds, in numbers.
pub(super) struct Summarize {
    pub(super) user: UserId,
}

impl ShardCall for Summarize {
    type Output = DriveSummary;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<DriveSummary>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/drive/summary.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let bytes: String = row.try_get(3)?;
        Ok(Some(DriveSummary {
            tree_version: row.try_get(0)?,
            folders: row.try_get(1)?,
            files: row.try_get(2)?,
            total_size_bytes: bytes
                .parse()
                .map_err(|error: std::num::ParseIntError| sqlx::Error::Decode(error.into()))?,
            trashed: row.try_get(4)?,
        }))
    }
}

/// A page of what a folder holds.
pub(super) struct ListChildren<'a> {
    pub(super) user: UserId,
    pub(super) folder: Uuid,
    pub(super) size: PageSize,
    /// The name after which the page begins among the folders; `None`: no folders.
    pub(super) after_folder: Option<&'a str>,
    /// The same among the files.
    pub(super) after_file: Option<&'a str>,
}

impl ShardCall for ListChildren<'_> {
    type Output = Vec<Child>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Vec<Child>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/drive/list_children.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.folder)
            .bind(self.size.rows())
            .bind(self.after_folder)
            .bind(self.after_file)
            .fetch_all(connection)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().filter_map(|row| child_in(row).transpose()).collect::<Result<_, _>>().map(Some)
    }
}

fn child_in(row: &PgRow) -> Result<Option<Child>, sqlx::Error> {
    let Some(kind) = row.try_get::<Option<i32>, _>(0)? else { return Ok(None) };
    Ok(Some(Child {
        kind: if kind == 0 { EntryKind::Folder } else { EntryKind::File },
        name_key: row.try_get(1)?,
        id: row.try_get(2)?,
        name: row.try_get(3)?,
        version: row.try_get(4)?,
        mime_type: row.try_get(5)?,
        checksum: row.try_get(6)?,
        size_bytes: row.try_get(7)?,
        modified_at: optional_time(row, 8)?,
        created_at: required_time(row, 9)?,
        updated_at: required_time(row, 10)?,
    }))
}
