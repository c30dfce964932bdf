//! Reads of a drive, each with the check of the slot's owner.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};
use uuid::Uuid;

use super::model::{Child, ChildrenCursor, ChildrenPage, DriveSummary, EntryKind, Folder, NameOrder, user_text};
use super::statements::find_folder;
use crate::files::UserId;
use crate::payload::{JsonLinesWriter, PAGE_BYTES, PageSize};
use crate::shard::{
    ShardCall, ShardId, Slot, WorkKind, optional_id, optional_number, optional_text, optional_time, required,
    required_time,
};

/// The usual length of an entry of a folder in JSON.
const CHILD_BYTES: usize = 256;

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

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
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

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
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

/// A live folder, and a page of what it holds.
pub(super) struct ListChildren<'a> {
    pub(super) user: UserId,
    pub(super) folder: Uuid,
    pub(super) size: PageSize,
    pub(super) order: NameOrder,
    /// The name behind which the page begins among the folders; `None`: no folders.
    pub(super) after_folder: Option<&'a str>,
    /// The same among the files.
    pub(super) after_file: Option<&'a str>,
}

impl ShardCall for ListChildren<'_> {
    /// `None`: there is no such folder, or it is in the trash.
    type Output = Option<(Folder, ChildrenPage)>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let statement = match self.order {
            NameOrder::Ascending => include_str!("../../sql/drive/list_children.sql"),
            NameOrder::Descending => include_str!("../../sql/drive/list_children_descending.sql"),
        };
        let rows = sqlx::query(statement)
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.folder)
            .bind(self.size.rows())
            .bind(self.after_folder)
            .bind(self.after_file)
            .fetch_all(connection)
            .await?;
        let mut folder = None;
        let mut children = Vec::with_capacity(rows.len());
        for row in &rows {
            match row.try_get_unchecked::<i32, _>(0)? {
                0 => folder = Some(self.folder_in(row)?),
                1 => children.push(child_in(row, EntryKind::Folder)?),
                _ => children.push(child_in(row, EntryKind::File)?),
            }
        }
        let Some(folder) = folder else { return Ok(None) };
        let page = self.page_of(children).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Some(folder.map(|folder| (folder, page))))
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

impl ListChildren<'_> {
    fn page_of(&self, mut children: Vec<Child<'_>>) -> Result<ChildrenPage, serde_json::Error> {
        // The rows of a kind are in order already, which the sort finds at once.
        children.sort_by(|a, b| {
            let names = a.order_key().cmp(b.order_key());
            a.kind.cmp(&b.kind).then(if self.order == NameOrder::Ascending { names } else { names.reverse() })
        });
        let mut entries = JsonLinesWriter::with_capacity(CHILD_BYTES * children.len());
        let (mut last, mut has_more) = (None, false);
        for child in &children {
            has_more = entries.len() >= self.size.get() || entries.byte_count() >= PAGE_BYTES;
            if has_more {
                break;
            }
            entries.push_with(|out| child.write_json(out))?;
            last = Some(child);
        }
        let next = last.filter(|_| has_more).map(|last| ChildrenCursor {
            user: self.user,
            folder: self.folder,
            order: self.order,
            kind: last.kind,
            name_key: last.order_key().to_owned(),
        });
        Ok(ChildrenPage { entries: entries.finish(), next })
    }

    fn folder_in(&self, row: &PgRow) -> Result<Option<Folder>, sqlx::Error> {
        let Some(folder_id) = row.try_get(2)? else { return Ok(None) };
        Ok(Some(Folder {
            folder_id,
            user_id: self.user.get(),
            user_id_text: user_text(self.user.get()),
            parent_id: row.try_get(11)?,
            folder_name: row.try_get(3)?,
            path: row.try_get::<&str, _>(1)?.trim_end_matches('/').to_owned(),
            trashed: false,
            version: row.try_get(4)?,
            created_at: optional_time(row, 9)?,
            updated_at: optional_time(row, 10)?,
        }))
    }
}

/// By position and without a check of the types, as a page has many rows.
fn child_in(row: &PgRow, kind: EntryKind) -> Result<Child<'_>, sqlx::Error> {
    Ok(Child {
        kind,
        name_key: optional_text(row, 1)?,
        id: required(optional_id(row, 2)?, 2)?,
        name: required(optional_text(row, 3)?, 3)?,
        version: required(optional_number(row, 4)?, 4)?,
        mime_type: optional_text(row, 5)?,
        checksum: optional_text(row, 6)?,
        size_bytes: optional_number(row, 7)?,
        modified_at: optional_time(row, 8)?,
        created_at: required_time(row, 9)?,
        updated_at: required_time(row, 10)?,
        content_ref: optional_text(row, 12)?,
    })
}
