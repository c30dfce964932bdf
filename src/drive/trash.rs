//! The trash of a drive: what was put there itself.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use utoipa::ToSchema;
use uuid::Uuid;

use super::model::EntryKind;
use crate::files::UserId;
use crate::payload::{PageSize, json_bytes, read_cursor, time, write_cursor};
use crate::shard::{ShardCall, ShardId, WorkKind, required_time};

/// About the bytes of an entry in JSON without its texts.
const ENTRY_BYTES: usize = 160;

/// An entry that was put into the trash itself. What is below a folder in the trash is not listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct TrashedEntry {
    /// Folder or file.
    pub kind: EntryKind,
    /// The id of the folder or file.
    pub id: Uuid,
    /// The name.
    #[schema(example = "my_document.txt")]
    pub name: String,
    /// Where the entry was; `null` for a file in no folder.
    #[schema(example = "letters/my_document.txt")]
    pub path: Option<String>,
    /// The size in bytes; of files whose size is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// When the entry was put into the trash, by the shard's clock.
    #[serde(serialize_with = "time::serialize_time")]
    pub trashed_at: DateTime<Utc>,
}

impl TrashedEntry {
    /// About the bytes of the entry in JSON.
    pub(super) fn byte_count(&self) -> usize {
        ENTRY_BYTES + json_bytes(&self.name) + self.path.as_deref().map_or(0, json_bytes)
    }
}

/// The position in a user's trash after an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrashCursor {
    pub(super) user: UserId,
    trashed_at: DateTime<Utc>,
    id: Uuid,
}

impl TrashCursor {
    pub(super) fn after(user: UserId, entry: &TrashedEntry) -> Self {
        Self { user, trashed_at: entry.trashed_at, id: entry.id }
    }

    /// Reads the text of a cursor; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = read_cursor(text)?;
        let (user, rest) = bytes.split_first_chunk()?;
        let (micros, id) = rest.split_first_chunk()?;
        Some(Self {
            user: UserId::new(i64::from_be_bytes(*user))?,
            trashed_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
            id: Uuid::from_slice(id).ok()?,
        })
    }
}

impl std::fmt::Display for TrashCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.user.get().to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.trashed_at.timestamp_micros().to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        f.write_str(&write_cursor(&bytes))
    }
}

/// A page of a user's trash, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrashPage {
    /// The entries.
    pub entries: Vec<TrashedEntry>,
    /// Where the next page starts; `None` after the last page.
    pub next: Option<TrashCursor>,
}

/// Reads a page of the trash.
pub(super) struct ListTrash {
    pub(super) user: UserId,
    pub(super) size: PageSize,
    pub(super) after: Option<TrashCursor>,
}

impl ShardCall for ListTrash {
    type Output = Vec<TrashedEntry>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/drive/list_trash.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.size.rows())
            .bind(self.after.map(|after| after.trashed_at))
            .bind(self.after.map_or(Uuid::max(), |after| after.id))
            .fetch_all(connection)
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        rows.iter().filter_map(|row| trashed_entry(row).transpose()).collect::<Result<_, _>>().map(Some)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

/// Reads what a purge of a user's trash deletes next: entries of both kinds, at most `most` of each.
pub(super) struct ListPurgeable {
    pub(super) user: UserId,
    pub(super) most: i32,
}

impl ShardCall for ListPurgeable {
    type Output = Vec<(EntryKind, Uuid)>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let rows: Vec<(Option<bool>, Option<Uuid>)> =
            sqlx::query_as(include_str!("../../sql/drive/list_purgeable.sql"))
                .bind(self.user.slot().to_sql())
                .bind(shard.to_sql())
                .bind(self.user.get())
                .bind(self.most)
                .fetch_all(connection)
                .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let kind = |is_folder| if is_folder { EntryKind::Folder } else { EntryKind::File };
        Ok(Some(rows.into_iter().filter_map(|(is_folder, id)| Some((kind(is_folder?), id?))).collect()))
    }
}

fn trashed_entry(row: &PgRow) -> Result<Option<TrashedEntry>, sqlx::Error> {
    let Some(kind) = row.try_get::<Option<i32>, _>(0)? else { return Ok(None) };
    let name: String = row.try_get(2)?;
    let around: Option<String> = row.try_get(5)?;
    Ok(Some(TrashedEntry {
        kind: if kind == 0 { EntryKind::Folder } else { EntryKind::File },
        id: row.try_get(1)?,
        path: around.map(|around| around + &name),
        name,
        trashed_at: required_time(row, 3)?,
        size_bytes: row.try_get(4)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(user in 0..i64::MAX, micros in 0..4_000_000_000_000_000_i64, id in any::<u128>()) {
            let cursor = TrashCursor {
                user: UserId::new(user).unwrap(),
                trashed_at: DateTime::from_timestamp_micros(micros).unwrap(),
                id: Uuid::from_u128(id),
            };
            prop_assert_eq!(TrashCursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn other_texts_are_no_cursor(text in ".{0,60}") {
            if let Some(cursor) = TrashCursor::parse(&text) {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
