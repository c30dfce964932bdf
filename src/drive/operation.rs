//! The operations on a drive. Each runs within the transaction of a change, and a fault takes the whole change back.

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::error::DriveError;
use super::model::{DriveEntry, Folder};
use super::statements::{
    ResolvedPath, create_folder, find_file, find_folder, find_name, is_within, move_folder, resolve, restore_file,
    trash_file, trash_folder,
};
use crate::files::{DrivePath, UserId};
use crate::shard::{IdClock, ShardId};

/// A folder that a request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FolderTarget {
    /// By its id.
    Id(Uuid),
    /// By its path; with `true`, missing folders are made.
    Path(DrivePath, bool),
}

/// A change of a drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriveOperation {
    /// Makes a folder.
    CreateFolder {
        /// The folder around the new folder.
        parent: FolderTarget,
        /// The name of the new folder.
        name: String,
    },
    /// Renames a folder, moves it, or both.
    MoveFolder {
        /// The folder.
        id: Uuid,
        /// The folder around it from now on; `None`: as before.
        parent: Option<FolderTarget>,
        /// The name from now on; `None`: as before.
        name: Option<String>,
        /// The `ETag` of the state that the folder must be in.
        tag: Option<String>,
    },
    /// Puts a folder with all that is below it into the trash.
    TrashFolder {
        /// The folder.
        id: Uuid,
        /// The `ETag` of the state that the folder must be in.
        tag: Option<String>,
    },
    /// Puts a file into the trash.
    TrashFile {
        /// The file.
        id: Uuid,
    },
    /// Takes a folder or a file out of the trash.
    Restore {
        /// The folder or file.
        id: Uuid,
        /// The folder around it from now on; `None`: as before.
        parent: Option<FolderTarget>,
        /// The name from now on; `None`: as before.
        name: Option<String>,
    },
}

impl DriveOperation {
    /// True if paths change, so that the operation waits for others of its kind.
    pub(super) fn changes_paths(&self) -> bool {
        !matches!(self, Self::CreateFolder { .. } | Self::TrashFile { .. })
    }
}

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
}

impl ChangeContext<'_> {
    /// Does an operation, and returns the folder as it is now, or the id of the file.
    pub(super) async fn apply(&mut self, operation: &DriveOperation) -> Result<DriveEntry, Failure> {
        match operation {
            DriveOperation::CreateFolder { parent, name } => {
                let parent = self.find_target(parent).await?;
                self.create(parent, name).await.map(DriveEntry::Folder)
            }
            DriveOperation::MoveFolder { id, parent, name, tag } => {
                let folder = self.find_live(*id, tag.as_deref()).await?;
                self.place(&folder, parent.as_ref(), name.as_deref(), false).await.map(DriveEntry::Folder)
            }
            DriveOperation::TrashFolder { id, tag } => {
                let folder = self.find_live(*id, tag.as_deref()).await?;
                trash_folder(self.connection, self.user, folder.folder_id).await?;
                self.find(*id).await.map(DriveEntry::Folder)
            }
            DriveOperation::TrashFile { id } => {
                if !trash_file(self.connection, self.user, *id).await? {
                    return Err(DriveError::FileNotFound(*id).into());
                }
                Ok(DriveEntry::File(*id))
            }
            DriveOperation::Restore { id, parent, name } => {
                if let Some((folder, old_name, is_trashed)) = find_file(self.connection, self.user, *id).await? {
                    if !is_trashed {
                        return Ok(DriveEntry::File(*id));
                    }
                    let name = name.as_deref().unwrap_or(&old_name);
                    return self.restore_file(*id, folder, parent.as_ref(), name).await;
                }
                let folder = self.find(*id).await?;
                self.place(&folder, parent.as_ref(), name.as_deref(), true).await.map(DriveEntry::Folder)
            }
        }
    }

    /// The folder under an id, also in the trash.
    async fn find(&mut self, id: Uuid) -> Result<Folder, Failure> {
        let found = find_folder(self.connection, self.shard, self.user, id).await?.ok_or(Failure::NotOwner)?;
        Ok(found.ok_or_else(|| DriveError::FolderNotFound(id.to_string()))?)
    }

    /// A folder that is to be changed: not the root, not in the trash, and in the state that the client named.
    async fn find_live(&mut self, id: Uuid, tag: Option<&str>) -> Result<Folder, Failure> {
        if id.is_nil() {
            return Err(DriveError::RootFixed.into());
        }
        let folder = self.find(id).await?;
        if folder.trashed {
            return Err(DriveError::FolderNotFound(id.to_string()).into());
        }
        if tag.is_some_and(|tag| tag != folder.tag()) {
            return Err(DriveError::Changed(id).into());
        }
        Ok(folder)
    }

    /// The live folder that a request names.
    async fn find_target(&mut self, target: &FolderTarget) -> Result<Uuid, Failure> {
        match target {
            FolderTarget::Id(id) => {
                let folder = self.find(*id).await?;
                if folder.trashed {
                    return Err(DriveError::FolderNotFound(id.to_string()).into());
                }
                Ok(*id)
            }
            FolderTarget::Path(path, makes_missing) => self.find_path(path, *makes_missing).await,
        }
    }

    async fn find_path(&mut self, path: &DrivePath, makes_missing: bool) -> Result<Uuid, Failure> {
        let names = path.names();
        let resolved = resolve(self.connection, self.shard, self.user, names).await?.ok_or(Failure::NotOwner)?;
        let ResolvedPath { depth, mut folder, file } = resolved;
        let Some(missing) = names.get(depth..).filter(|missing| !missing.is_empty()) else { return Ok(folder) };
        if file.is_some() {
            let taken = names.get(..=depth).unwrap_or(names).join("/");
            return Err(DriveError::NotAFolder(taken).into());
        }
        if !makes_missing {
            return Err(DriveError::FolderNotFound(path.to_string()).into());
        }
        for name in missing {
            folder = self.create_or_find(folder, name).await?;
        }
        Ok(folder)
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

    async fn create(&mut self, parent: Uuid, name: &str) -> Result<Folder, Failure> {
        let id = self.ids.mint(self.user.slot());
        if !create_folder(self.connection, self.user, id, parent, name).await? {
            let taken = find_name(self.connection, self.user, parent, name).await?;
            return Err(match taken {
                Some((id, _)) => DriveError::NameTaken(Some(id)),
                None => DriveError::FolderNotFound(parent.to_string()),
            }
            .into());
        }
        let folder = self.find(id).await?;
        check_depth(&folder)?;
        Ok(folder)
    }

    /// Takes a file out of the trash.
    async fn restore_file(
        &mut self,
        id: Uuid,
        folder: Option<Uuid>,
        parent: Option<&FolderTarget>,
        name: &str,
    ) -> Result<DriveEntry, Failure> {
        let folder = match (parent, folder) {
            (Some(target), _) => Some(self.find_target(target).await?),
            (None, Some(folder)) => Some(self.find_target(&FolderTarget::Id(folder)).await?),
            (None, None) => None,
        };
        if let Some(folder) = folder
            && let Some((taken, _)) = find_name(self.connection, self.user, folder, name).await?
        {
            return Err(DriveError::NameTaken(Some(taken)).into());
        }
        restore_file(self.connection, self.user, id, folder, name).await?;
        Ok(DriveEntry::File(id))
    }

    /// Puts a folder into another folder, under another name, or both.
    async fn place(
        &mut self,
        folder: &Folder,
        parent: Option<&FolderTarget>,
        name: Option<&str>,
        restores: bool,
    ) -> Result<Folder, Failure> {
        let id = folder.folder_id;
        let parent = match (parent, folder.parent_id) {
            (Some(target), _) => self.find_target(target).await?,
            (None, Some(parent)) if restores => self.find_target(&FolderTarget::Id(parent)).await?,
            (None, Some(parent)) => parent,
            (None, None) => return Err(DriveError::RootFixed.into()),
        };
        let name = name.unwrap_or(&folder.folder_name);
        if is_within(self.connection, self.user, parent, id).await? {
            return Err(DriveError::WouldCycle.into());
        }
        let taken = find_name(self.connection, self.user, parent, name).await?;
        if let Some((other, _)) = taken.filter(|(other, _)| *other != id) {
            return Err(DriveError::NameTaken(Some(other)).into());
        }
        move_folder(self.connection, self.user, id, parent, name, restores).await?;
        let folder = self.find(id).await?;
        check_depth(&folder)?;
        Ok(folder)
    }
}

fn check_depth(folder: &Folder) -> Result<(), DriveError> {
    if folder.path.split('/').count() > DrivePath::MAX_DEPTH { Err(DriveError::TooDeep) } else { Ok(()) }
}
