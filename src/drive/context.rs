//! The transaction of a change: finds the entries that an operation names.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::error::DriveError;
use super::model::Folder;
use super::operation::FolderTarget;
use super::resolve::{FoundEntry, ResolvePath, ResolvedPath};
use super::statements::{create_folder, find_folder, find_name, make_folders};
use crate::files::{DrivePath, UserId};
use crate::shard::{IdClock, ShardCall as _, ShardId};

/// Why an operation was not done: the database failed, the shard does not own the slot, or the operation is at fault.
pub(super) enum Failure {
    Database(sqlx::Error),
    NotOwner,
    Refused(DriveError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        Self::Refused(error)
    }
}

/// The transaction of a change.
pub(super) struct ChangeContext<'a> {
    pub(super) connection: &'a mut PgConnection,
    pub(super) shard: ShardId,
    pub(super) user: UserId,
    pub(super) ids: &'a IdClock,
    /// The transaction holds the drive alone (`hold_drives`).
    pub(super) is_alone: bool,
    /// The folder of the last file that was put, with its names. Its path changes by an operation of another kind
    /// alone, as the change holds the row of the root.
    pub(super) last_folder: Option<(Vec<String>, Uuid)>,
}

impl ChangeContext<'_> {
    /// The folder under an id, also in the trash.
    pub(super) async fn find(&mut self, id: Uuid) -> Result<Folder, Failure> {
        let found = find_folder(self.connection, self.shard, self.user, id).await?.ok_or(Failure::NotOwner)?;
        Ok(found.ok_or_else(|| DriveError::FolderNotFound(id.to_string()))?)
    }

    /// True if a folder of this id is in the trash.
    pub(super) async fn is_trashed_folder(&mut self, id: Uuid) -> Result<bool, Failure> {
        let found = find_folder(self.connection, self.shard, self.user, id).await?.ok_or(Failure::NotOwner)?;
        Ok(found.is_some_and(|folder| folder.trashed))
    }

    /// A folder that is to be changed: not the root, and not in the trash.
    pub(super) async fn find_live(&mut self, id: Uuid) -> Result<Folder, Failure> {
        if id.is_nil() {
            return Err(DriveError::RootFixed.into());
        }
        let folder = self.find(id).await?;
        if folder.trashed {
            return Err(DriveError::FolderTrashed(id).into());
        }
        Ok(folder)
    }

    /// The live folder that a request names.
    pub(super) async fn find_target(&mut self, target: &FolderTarget) -> Result<Uuid, Failure> {
        match target {
            FolderTarget::Id(id) => {
                let folder = self.find(*id).await?;
                if folder.trashed {
                    return Err(DriveError::FolderTrashed(*id).into());
                }
                Ok(*id)
            }
            FolderTarget::Path(path, makes_missing) => {
                let resolved = self.resolve(path.names()).await?;
                self.folder_of(path.names(), resolved, *makes_missing).await
            }
        }
    }

    /// The entry at a path.
    pub(super) async fn find_path(&mut self, path: &DrivePath) -> Result<FoundEntry, Failure> {
        let names = path.names();
        let found = self.resolve(names).await?;
        found.entry(names).map_err(Failure::Refused)
    }

    /// Follows the names of a path.
    pub(super) async fn resolve(&mut self, names: &[String]) -> Result<ResolvedPath, Failure> {
        ResolvePath::new(self.user, names).call(self.connection, self.shard).await?.ok_or(Failure::NotOwner)
    }

    /// The folder under these names, which `resolved` has followed. Missing folders are made if `makes_missing` says
    /// so.
    pub(super) async fn folder_of(
        &mut self,
        names: &[String],
        resolved: ResolvedPath,
        makes_missing: bool,
    ) -> Result<Uuid, Failure> {
        let ResolvedPath { depth, folder, file } = resolved;
        let Some(missing) = names.get(depth..).filter(|missing| !missing.is_empty()) else { return Ok(folder) };
        if file.is_some() {
            let taken = names.get(..=depth).unwrap_or(names).join("/");
            return Err(DriveError::NotAFolder(taken).into());
        }
        if !makes_missing {
            return Err(DriveError::FolderNotFound(names.join("/")).into());
        }
        let [name] = missing else {
            let made = make_folders(self.connection, self.user, names, self.is_alone).await?;
            return Ok(made.ok_or_else(|| DriveError::FolderNotFound(names.join("/")))?);
        };
        self.create_or_find(folder, name).await
    }

    /// Makes a folder on the way to another one. Another request may make it in this moment.
    async fn create_or_find(&mut self, parent: Uuid, name: &str) -> Result<Uuid, Failure> {
        let id = self.ids.mint(self.user.slot());
        if create_folder(self.connection, self.user, id, parent, name).await? {
            return Ok(id);
        }
        match find_name(self.connection, self.user, parent, name).await? {
            Some((id, true)) => Ok(id),
            Some((_, false)) => Err(DriveError::NotAFolder(name.to_owned()).into()),
            None => Err(DriveError::FolderNotFound(parent.to_string()).into()),
        }
    }
}
