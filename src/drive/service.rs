//! The drives of users: reads and changes of the tree.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use uuid::Uuid;

use super::change::DriveChange;
use super::error::DriveError;
use super::model::{ChildrenCursor, ChildrenPage, DriveEntry, EntryKind, Folder};
use super::operation::{DriveOperation, FolderTarget};
use super::store::{FindFolder, FindOwner, ListChildren, ResolvePath};
use crate::cache::Cache;
use crate::files::{DrivePath, UserId};
use crate::payload::{FieldFault, PageSize};
use crate::shard::{CallOutcome, Cluster, IdClock, ShardError, ShardId, slot_of_id};
use crate::writes::SlotWrites;

/// The drives of all users.
pub struct DriveService {
    cluster: Arc<Cluster>,
    writes: SlotWrites,
    ids: IdClock,
}

impl DriveService {
    /// The drives of a cluster, .
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, cache: Arc<Cache>) -> Self {
        Self { writes: SlotWrites::new(Arc::clone(&cluster), cache), cluster, ids: IdClock::default() }
    }

    /// A folder, also one in the trash.
    ///
    /// # Errors
    /// `FolderNotFound`, or the shard's error.
    pub async fn find_folder(&self, user: UserId, id: Uuid) -> Result<(ShardId, Folder), DriveError> {
        let (shard, folder) = self.cluster.run(user.slot(), &FindFolder { user, id }).await?;
        let folder = folder.or_else(|| id.is_nil().then(|| Folder::unused_root(user)));
        Ok((shard, folder.ok_or_else(|| DriveError::FolderNotFound(id.to_string()))?))
    }

    /// Whose folder it is.
    ///
    /// # Errors
    /// `FolderNotFound`, also for an id that was not made here, or the shard's error.
    pub async fn find_owner(&self, id: Uuid) -> Result<UserId, DriveError> {
        let missing = || DriveError::FolderNotFound(id.to_string());
        let slot = slot_of_id(id).ok_or_else(missing)?;
        let (_, owner) = self.cluster.run(slot, &FindOwner { slot, id }).await?;
        owner.and_then(UserId::new).ok_or_else(missing)
    }

    /// What is at a path.
    ///
    /// # Errors
    /// `PathNotFound`, `NotAFolder` if a file stands on the way, or the shard's error.
    pub async fn find_path(&self, user: UserId, path: &DrivePath) -> Result<(ShardId, DriveEntry), DriveError> {
        let names = path.names();
        let (shard, found) = self.cluster.run(user.slot(), &ResolvePath { user, names }).await?;
        match (names.len() - found.depth.min(names.len()), found.file) {
            (0, _) => Ok((shard, DriveEntry::Folder(self.find_folder(user, found.folder).await?.1))),
            (1, Some(file)) => Ok((shard, DriveEntry::File(file))),
            (_, Some(_)) => Err(DriveError::NotAFolder(names.get(..=found.depth).unwrap_or(names).join("/"))),
            (_, None) => Err(DriveError::PathNotFound(path.to_string())),
        }
    }

    /// A page of what a live folder holds.
    ///
    /// # Errors
    /// `FolderNotFound`, a fault of the cursor if it is of another folder, or the shard's error.
    pub async fn list_children(
        &self,
        user: UserId,
        folder: &FolderTarget,
        size: PageSize,
        after: Option<&ChildrenCursor>,
        kinds: Option<EntryKind>,
    ) -> Result<(ShardId, Folder, ChildrenPage), DriveError> {
        let id = match folder {
            FolderTarget::Id(id) => *id,
            FolderTarget::Path(path, _) => match self.find_path(user, path).await?.1 {
                DriveEntry::Folder(folder) => folder.folder_id,
                DriveEntry::File(_) => return Err(DriveError::NotAFolder(path.to_string())),
            },
        };
        let (_, found) = self.find_folder(user, id).await?;
        if found.trashed {
            return Err(DriveError::FolderNotFound(id.to_string()));
        }
        if after.is_some_and(|after| (after.user, after.folder) != (user, id)) {
            return Err(DriveError::Field(FieldFault::new("cursor", "is of another folder")));
        }
        let (mut after_folder, mut after_file) = match after {
            None => (Some(""), Some("")),
            Some(after) if after.kind == EntryKind::Folder => (Some(&*after.name_key), Some("")),
            Some(after) => (None, Some(&*after.name_key)),
        };
        match kinds {
            Some(EntryKind::Folder) => after_file = None,
            Some(EntryKind::File) => after_folder = None,
            None => {}
        }
        let page = ListChildren { user, folder: id, size, after_folder, after_file };
        let (shard, mut entries) = self.cluster.run(user.slot(), &page).await?;
        let next = size.cut(&mut entries, |last| ChildrenCursor {
            user,
            folder: id,
            kind: last.kind,
            name_key: last.name_key.clone(),
        });
        Ok((shard, found, ChildrenPage { entries, next }))
    }

    /// Does an operation.
    ///
    /// # Errors
    /// The operation's fault, or the shard's error; after `Timeout` and `Unavailable` it may be done all the same.
    pub async fn change(&self, user: UserId, operation: DriveOperation) -> Result<(ShardId, DriveEntry), DriveError> {
        let operations = [operation];
        let change =
            DriveChange { user, operations: &operations, ids: &self.ids, is_committing: AtomicBool::new(false) };
        let (shard, outcome) = self.writes.run(user.slot(), &change, None).await?;
        let CallOutcome::Applied(done) = outcome else {
            return Err(DriveError::Shard(ShardError::Moving)); // never: no key, no stored outcome
        };
        let entry = done.map_err(|refused| refused.error)?.pop();
        Ok((shard, entry.ok_or_else(|| DriveError::PathNotFound(String::new()))?))
    }
}
