//! The operations on folders. Each changes one row, whatever is below the folder.

use uuid::Uuid;

use super::context::{ChangeContext, Failure};
use super::error::DriveError;
use super::model::Folder;
use super::operation::{EntryCondition, FolderTarget};
use super::statements::{create_folder, find_folder, find_name, is_within, move_folder, trash_folder};

impl ChangeContext<'_> {
    pub(super) async fn create_folder(&mut self, parent: &FolderTarget, name: &str) -> Result<Folder, Failure> {
        let parent = self.find_target(parent).await?;
        let id = self.ids.mint(self.user.slot());
        if !create_folder(self.connection, self.user, id, parent, name).await? {
            let taken = find_name(self.connection, self.user, parent, name).await?;
            return Err(match taken {
                Some((id, _)) => DriveError::NameTaken(Some(id)),
                None => DriveError::FolderNotFound(parent.to_string()),
            }
            .into());
        }
        self.find(id).await
    }

    pub(super) async fn move_folder(
        &mut self,
        id: Uuid,
        parent: Option<&FolderTarget>,
        name: Option<&str>,
        condition: &EntryCondition,
    ) -> Result<Folder, Failure> {
        let folder = self.find_live(id).await?;
        condition.require_folder(&folder)?;
        self.place_folder(&folder, parent, name, false).await
    }

    pub(super) async fn trash_folder(&mut self, id: Uuid, condition: &EntryCondition) -> Result<Folder, Failure> {
        let folder = self.find_live(id).await?;
        condition.require_folder(&folder)?;
        trash_folder(self.connection, self.user, id).await?;
        self.find(id).await
    }

    pub(super) async fn restore_folder(
        &mut self,
        id: Uuid,
        parent: Option<&FolderTarget>,
        name: Option<&str>,
    ) -> Result<Folder, Failure> {
        let found = find_folder(self.connection, self.shard, self.user, id).await?.ok_or(Failure::NotOwner)?;
        let folder = found.ok_or(DriveError::EntryNotFound(id))?;
        if !folder.trashed {
            return Err(DriveError::NotTrashed(id).into());
        }
        self.place_folder(&folder, parent, name, true).await
    }

    /// Puts a folder into another folder, under another name, or both; with `restores` out of the trash.
    async fn place_folder(
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
        if folder.parent_id != Some(parent) && is_within(self.connection, self.user, parent, id).await? {
            return Err(DriveError::WouldCycle.into());
        }
        let taken = find_name(self.connection, self.user, parent, name).await?;
        if let Some((other, _)) = taken.filter(|(other, _)| *other != id) {
            return Err(DriveError::NameTaken(Some(other)).into());
        }
        if !move_folder(self.connection, self.user, id, parent, name, restores).await? {
            // It is gone, or a purge has begun with it.
            return Err(DriveError::EntryNotFound(id).into());
        }
        self.find(id).await
    }
}
