//! Changes of single files: many at once by [`GroupCommit`], or each by itself.

use std::cmp::Ordering;
use std::collections::HashMap;

use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::model::{File, FilePatch, UserId};
use super::page::spoiled_keys;
use super::view::optional_file;
use crate::cache::CacheKey;
use crate::shard::{RequestKey, ShardId, Slot, WorkKind};
use crate::writes::{BatchWrite, GroupCommit, SlotWrite};

/// The lanes of all shards.
pub(super) type UpdateLanes = GroupCommit<UpdateFiles>;

/// A change of a file.
pub(super) struct FileUpdate {
    pub(super) user: UserId,
    pub(super) id: Uuid,
    pub(super) patch: FilePatch,
    /// The required state of the row, from `FindState`.
    pub(super) state: Option<String>,
    /// True once a group has left the change out, as another transaction holds the file or its drive.
    pub(super) is_held: bool,
}

/// Changes each file that nobody else is changing, whatever its state. A path is not changed here: its folders may have
/// to be made.
pub(super) struct UpdateFiles;

impl BatchWrite for UpdateFiles {
    type Row = FileUpdate;
    /// `None`: there is no such file, or somebody else is changing it or its drive. Nothing was changed.
    type Answer = Option<File>;

    fn slot(update: &FileUpdate) -> Slot {
        update.user.slot()
    }

    fn key(_: &FileUpdate) -> Option<&RequestKey> {
        None
    }

    fn order(a: &FileUpdate, b: &FileUpdate) -> Ordering {
        (a.user, a.id).cmp(&(b.user, b.id))
    }

    fn cache_keys(updates: &[&FileUpdate]) -> Vec<CacheKey> {
        let users = updates.chunk_by(|a, b| a.user == b.user).flat_map(<[_]>::first);
        users.flat_map(|update| spoiled_keys(update.user)).collect()
    }

    async fn store(
        connection: &mut PgConnection,
        _: ShardId,
        updates: &[&FileUpdate],
    ) -> Result<Vec<Option<File>>, sqlx::Error> {
        let patches = updates.iter().map(|update| &update.patch);
        let rows = sqlx::query(include_str!("../../sql/files/update_batch.sql"))
            .bind(updates.iter().map(|update| update.user.get()).bind_iter())
            .bind(updates.iter().map(|update| update.id).bind_iter())
            .bind(patches.clone().map(|patch| patch.name.as_deref()).bind_iter())
            .bind(patches.clone().map(|patch| patch.mime_type.is_some()).bind_iter())
            .bind(patches.clone().map(|patch| patch.mime_type.as_ref()?.as_deref()).bind_iter())
            .bind(patches.clone().map(|patch| patch.checksum.is_some()).bind_iter())
            .bind(patches.clone().map(|patch| patch.checksum.as_ref()?.as_deref()).bind_iter())
            .bind(patches.clone().map(|patch| patch.size_bytes.is_some()).bind_iter())
            .bind(patches.clone().map(|patch| patch.size_bytes.flatten()).bind_iter())
            .bind(patches.clone().map(|patch| patch.modified_at.is_some()).bind_iter())
            .bind(patches.clone().map(|patch| patch.modified_at.flatten()).bind_iter())
            .bind(patches.clone().map(|patch| patch.content_ref.is_some()).bind_iter())
            .bind(patches.map(|patch| patch.content_ref.as_ref()?.as_deref()).bind_iter())
            .fetch_all(connection)
            .await?;
        let mut changed = HashMap::with_capacity(rows.len());
        for row in &rows {
            if let Some(file) = optional_file(row, 0)? {
                changed.insert((file.user_id, file.file_id), file);
            }
        }
        // Of two changes of a file the statement made one, and the second one is tried by itself.
        Ok(updates.iter().map(|update| changed.remove(&(update.user.get(), update.id))).collect())
    }
}

impl SlotWrite for FileUpdate {
    type Output = Option<File>;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Option<File>>, sqlx::Error> {
        let patch = &self.patch;
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
            .bind(self.state.as_deref())
            .fetch_optional(connection)
            .await?;
        row.map(|row| optional_file(&row, 0)).transpose()
    }

    fn has_changed(updated: &Option<File>) -> bool {
        updated.is_some()
    }

    /// A second try would find the file in the state that the first try gave it, and say that somebody else changed it.
    fn is_repeatable(&self) -> bool {
        self.state.is_none()
    }

    fn work_kind(&self) -> WorkKind {
        if self.is_held { WorkKind::HeldRow } else { WorkKind::Point }
    }

    fn outcome_to_store(&self, updated: &Option<File>) -> Option<String> {
        serde_json::to_string(updated.as_ref()?).ok()
    }
}
