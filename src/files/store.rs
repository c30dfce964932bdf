//! Reads of `file_metadata`, each with the check of the slot's owner.

use futures_util::TryStreamExt;
use sqlx::Row as _;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgRow};
use uuid::Uuid;

use super::model::{File, UserId};
use super::page::{FilePage, PageWriter};
use super::view::{USER_COLUMN, optional_file};
use crate::payload::PageSize;
use crate::shard::{BatchRead, ShardCall, ShardId, Slot, SlotCoverage, WorkKind};

/// A page of a user's files, from an id on, newest first.
pub(super) struct ListByUser {
    pub(super) user: UserId,
    pub(super) from: Uuid,
    pub(super) size: PageSize,
}

impl ShardCall for ListByUser {
    type Output = FilePage;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<FilePage>, sqlx::Error> {
        Ok(Self::call_all(std::slice::from_ref(self), connection).await?.pop().flatten())
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

impl BatchRead for ListByUser {
    fn slot(&self) -> Slot {
        self.user.slot()
    }

    async fn call_all(pages: &[Self], connection: &mut PgConnection) -> Result<Vec<Option<FilePage>>, sqlx::Error> {
        let mut rows = sqlx::query(include_str!("../../sql/files/list_batch.sql"))
            .bind(pages.iter().map(|page| page.user.get()).bind_iter())
            .bind(pages.iter().map(|page| page.from).bind_iter())
            .bind(pages.iter().map(|page| i32::try_from(page.size.rows()).unwrap_or(i32::MAX)).bind_iter())
            .fetch(connection);
        let mut found: Vec<(&Self, Option<PageWriter>)> = pages.iter().map(|page| (page, None)).collect();
        // Each row is written while PostgreSQL reads the next ones.
        while let Some(row) = rows.try_next().await? {
            if let Some((page, writer)) = entry_of(&row, &mut found)? {
                writer.get_or_insert_with(|| PageWriter::new(page.user, page.size)).push_row(&row, 1)?;
            }
        }
        found.into_iter().map(|(_, page)| page.map(PageWriter::finish).transpose()).collect()
    }
}

/// The files under an id, which several users may have.
#[derive(Clone, Default, Debug)]
pub(super) enum FileMatch {
    #[default]
    None,
    One(Box<File>),
    Several,
}

impl FileMatch {
    /// The files of both matches.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, found) | (found, Self::None) => found,
            _ => Self::Several,
        }
    }

    fn add(&mut self, file: Option<File>) {
        *self = std::mem::take(self).and(file.map_or(Self::None, |file| Self::One(Box::new(file))));
    }
}

/// The files of a slot under an id.
pub(super) struct FindById {
    pub(super) slot: Slot,
    pub(super) id: Uuid,
    /// The user whose file is meant; `None`: any user of the slot.
    pub(super) user: Option<UserId>,
}

impl ShardCall for FindById {
    type Output = FileMatch;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<FileMatch>, sqlx::Error> {
        Ok(Self::call_all(std::slice::from_ref(self), connection).await?.pop().flatten())
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

impl BatchRead for FindById {
    fn slot(&self) -> Slot {
        self.slot
    }

    async fn call_all(reads: &[Self], connection: &mut PgConnection) -> Result<Vec<Option<FileMatch>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/files/find_batch.sql"))
            .bind(reads.iter().map(|read| read.slot.to_sql()).bind_iter())
            .bind(reads.iter().map(|read| read.id).bind_iter())
            .bind(reads.iter().map(|read| read.user.map(UserId::get)).bind_iter())
            .fetch_all(connection)
            .await?;
        let mut found: Vec<Option<FileMatch>> = vec![None; reads.len()];
        for row in &rows {
            if let Some(files) = entry_of(row, &mut found)? {
                files.get_or_insert_default().add(optional_file(row, 1)?);
            }
        }
        Ok(found)
    }
}

/// The files under an id without a slot, for a question to every shard.
pub(super) struct SearchById(pub(super) Uuid);

/// One shard's answer.
pub(super) struct FileSearch {
    pub(super) coverage: SlotCoverage,
    pub(super) files: FileMatch,
}

impl ShardCall for SearchById {
    type Output = FileSearch;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<FileSearch>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/files/search_by_id.sql"))
            .bind(shard.to_sql())
            .bind(self.0)
            .fetch_all(connection)
            .await?;
        let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let coverage =
            SlotCoverage { slots: first.try_get(0)?, digest: first.try_get(1)?, other_digest: first.try_get(2)? };
        let mut files = FileMatch::None;
        for row in &rows {
            files.add(optional_file(row, 3)?);
        }
        Ok(Some(FileSearch { coverage, files }))
    }
}

/// A file and the state of the file: the whole row, so that a change of any column counts.
pub(super) struct FindState {
    pub(super) user: UserId,
    pub(super) id: Uuid,
}

impl ShardCall for FindState {
    type Output = Option<(File, String)>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let row = sqlx::query(include_str!("../../sql/files/find_state.sql"))
            .bind(self.user.slot().to_sql())
            .bind(shard.to_sql())
            .bind(self.user.get())
            .bind(self.id)
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let file = optional_file(&row, 0)?;
        Ok(Some(file.map(|file| Ok::<_, sqlx::Error>((file, row.try_get(USER_COLUMN + 1)?))).transpose()?))
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

/// A file as it is, within the transaction of a change of its drive. The outer `None`: the shard does not own the slot.
pub(crate) async fn find_file_state(
    connection: &mut PgConnection,
    shard: ShardId,
    user: UserId,
    id: Uuid,
) -> Result<Option<Option<File>>, sqlx::Error> {
    let found = FindState { user, id }.call(connection, shard).await?;
    Ok(found.map(|found| found.map(|(file, _)| file)))
}

/// The entry of a row in a batch, whose number from 1 stands in the first column.
fn entry_of<'a, T>(row: &PgRow, entries: &'a mut [T]) -> Result<Option<&'a mut T>, sqlx::Error> {
    let place: i64 = row.try_get_unchecked(0)?;
    Ok(usize::try_from(place).ok().and_then(|place| entries.get_mut(place.checked_sub(1)?)))
}
