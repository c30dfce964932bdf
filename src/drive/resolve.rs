//! Follows the names of paths from the root down. Paths that wait at the same time are followed by one statement.

use sqlx::Row as _;
use sqlx::postgres::{PgBindIterExt, PgConnection, PgRow};
use uuid::Uuid;

use super::error::DriveError;
use crate::files::{File, UserId, read_file_row};
use crate::shard::{BatchRead, ShardCall, ShardId, Slot, WorkKind};

/// How far the names of a path lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ResolvedPath {
    /// How many of the names are folders.
    pub(super) depth: usize,
    /// The last of these folders.
    pub(super) folder: Uuid,
    /// The file under the next name.
    pub(super) file: Option<File>,
}

impl ResolvedPath {
    /// The entry at the end of the names.
    ///
    /// # Errors
    /// `PathNotFound`, `NotAFolder` if a file stands on the way.
    pub(super) fn entry(self, names: &[String]) -> Result<FoundEntry, DriveError> {
        match (names.len().saturating_sub(self.depth), self.file) {
            (0, _) => Ok(FoundEntry::Folder(self.folder)),
            (1, Some(file)) => Ok(FoundEntry::File(file)),
            (_, Some(_)) => Err(DriveError::NotAFolder(names.get(..=self.depth).unwrap_or(names).join("/"))),
            (_, None) => Err(DriveError::PathNotFound(names.join("/"))),
        }
    }

    /// The same for the first names alone, none of which is the file's.
    pub(super) fn of_folders(self, count: usize) -> Self {
        Self { depth: self.depth.min(count), file: self.file.filter(|_| self.depth < count), ..self }
    }
}

/// An entry at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum FoundEntry {
    Folder(Uuid),
    File(File),
}

/// A path of a user's drive.
pub(super) struct ResolvePath {
    user: UserId,
    /// The names with a slash between them.
    path: String,
}

impl ResolvePath {
    pub(super) fn new(user: UserId, names: &[String]) -> Self {
        Self { user, path: names.join("/") }
    }
}

impl ShardCall for ResolvePath {
    type Output = ResolvedPath;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<ResolvedPath>, sqlx::Error> {
        Ok(Self::call_all(std::slice::from_ref(self), connection).await?.pop().flatten())
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}

impl BatchRead for ResolvePath {
    fn slot(&self) -> Slot {
        self.user.slot()
    }

    async fn call_all(paths: &[Self], connection: &mut PgConnection) -> Result<Vec<Option<ResolvedPath>>, sqlx::Error> {
        let rows = sqlx::query(include_str!("../../sql/drive/resolve_batch.sql"))
            .bind(paths.iter().map(|path| path.user.get()).bind_iter())
            .bind(paths.iter().map(|path| &*path.path).bind_iter())
            .fetch_all(connection)
            .await?;
        let mut found = vec![None; paths.len()];
        for row in &rows {
            let place: i64 = row.try_get(0)?;
            let place = usize::try_from(place).ok().and_then(|place| place.checked_sub(1));
            if let Some(found) = place.and_then(|place| found.get_mut(place)) {
                *found = Some(resolved_in(row)?);
            }
        }
        Ok(found)
    }
}

fn resolved_in(row: &PgRow) -> Result<ResolvedPath, sqlx::Error> {
    // A drive without a folder has no root in the database yet.
    let depth: Option<i32> = row.try_get(1)?;
    Ok(ResolvedPath {
        depth: usize::try_from(depth.unwrap_or_default()).unwrap_or_default(),
        folder: row.try_get::<Option<Uuid>, _>(2)?.unwrap_or_default(),
        file: read_file_row(row, 3)?,
    })
}
