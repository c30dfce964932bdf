//! What can be done with a drive: the rules above the statements.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::time::Instant;
use uuid::Uuid;

use super::change::DriveChange;
use super::error::{DriveError, RefusedOperation};
use super::expire::BATCH;
use super::model::{ChildrenPage, ChildrenQuery, DriveEntry, DriveSummary, EntryKind, Folder, PathEntry};
use super::operation::{DriveOperation, FolderTarget, OperationResult};
use super::purge::PurgeEntries;
use super::resolve::{FoundEntry, ResolvePath};
use super::store::{FindFolder, FindOwner, ListChildren, Summarize};
use super::trash::{ListPurgeable, ListTrash, TrashCursor, TrashPage, TrashedEntry};
use crate::cache::Cache;
use crate::files::{DrivePath, UserId, spoiled_keys};
use crate::payload::{FieldFault, PageSize};
use crate::shard::{BatchedReads, CallOutcome, Cluster, IdClock, RequestKey, ShardError, ShardId, slot_of_id};
use crate::writes::SlotWrites;

/// The drives of all users.
pub struct DriveService {
    pub(super) cluster: Arc<Cluster>,
    pub(super) writes: SlotWrites,
    pub(super) ids: IdClock,
    paths: BatchedReads<ResolvePath>,
}

/// What a purge has deleted for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PurgeResult {
    /// Deleted files and folders.
    pub rows: i64,
    /// True if the time for one call was over before all was deleted.
    pub has_more: bool,
}

impl DriveService {
    /// The drives of a cluster.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>, cache: Arc<Cache>) -> Self {
        Self {
            writes: SlotWrites::new(Arc::clone(&cluster), cache),
            paths: BatchedReads::start(Arc::clone(&cluster)),
            cluster,
            ids: IdClock::default(),
        }
    }

    /// What a drive holds, in numbers.
    ///
    /// # Errors
    /// The shard's error. A user without files is none.
    pub async fn summarize(&self, user: UserId) -> Result<(ShardId, DriveSummary), DriveError> {
        Ok(self.cluster.run(user.slot(), &Summarize { user }).await?)
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
    pub async fn find_path(&self, user: UserId, path: &DrivePath) -> Result<(ShardId, PathEntry), DriveError> {
        match self.resolve(user, path).await? {
            (_, FoundEntry::Folder(id)) => {
                let (shard, folder) = self.find_folder(user, id).await?;
                Ok((shard, PathEntry::Folder(folder)))
            }
            (shard, FoundEntry::File(file)) => Ok((shard, PathEntry::File(file))),
        }
    }

    async fn resolve(&self, user: UserId, path: &DrivePath) -> Result<(ShardId, FoundEntry), DriveError> {
        let names = path.names();
        if names.is_empty() {
            return Ok((self.cluster.owner(user.slot())?.id(), FoundEntry::Folder(Uuid::nil())));
        }
        let (shard, found) = self.paths.read(ResolvePath::new(user, names)).await?;
        Ok((shard, found.entry(names)?))
    }

    /// A live folder, and a page of what it holds.
    ///
    /// # Errors
    /// `FolderNotFound`, a fault of the cursor if it is of another folder or order, or the shard's error.
    pub async fn list_children(
        &self,
        user: UserId,
        folder: &FolderTarget,
        page: &ChildrenQuery,
    ) -> Result<(ShardId, Folder, ChildrenPage), DriveError> {
        let ChildrenQuery { size, order, kinds, ref after } = *page;
        let folder = self.find_listed(user, folder).await?;
        let after = after.as_ref();
        if after.is_some_and(|after| (after.user, after.folder, after.order) != (user, folder, order)) {
            return Err(DriveError::Field(FieldFault::new("cursor", "is of another folder or another order")));
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
        let list = ListChildren { user, folder, size, order, after_folder, after_file };
        let (shard, found) = self.cluster.run(user.slot(), &list).await?;
        let found = found.or_else(|| folder.is_nil().then(|| (Folder::unused_root(user), ChildrenPage::default())));
        let (folder, page) = found.ok_or_else(|| DriveError::FolderNotFound(folder.to_string()))?;
        Ok((shard, folder, page))
    }

    /// The id of the folder that a listing names.
    async fn find_listed(&self, user: UserId, folder: &FolderTarget) -> Result<Uuid, DriveError> {
        let path = match folder {
            FolderTarget::Id(id) => return Ok(*id),
            FolderTarget::Path(path, _) => path,
        };
        match self.resolve(user, path).await? {
            (_, FoundEntry::Folder(id)) => Ok(id),
            (_, FoundEntry::File(_)) => Err(DriveError::NotAFolder(path.to_string())),
        }
    }

    /// Does an operation. A second one with the same key changes nothing, and is answered as the first was.
    ///
    /// # Errors
    /// The operation's fault, or the shard's error; after `Timeout` and `Unavailable` it may be done all the same.
    pub async fn change(
        &self,
        user: UserId,
        operation: DriveOperation,
        key: Option<RequestKey>,
    ) -> Result<(ShardId, OperationResult), DriveError> {
        let (shard, done) = self.run(user, &[operation], key).await?;
        let result = done.map_err(|refused| refused.error)?.pop();
        Ok((shard, result.ok_or_else(|| DriveError::PathNotFound(String::new()))?)) // never: an operation has a result
    }

    /// The folder as an earlier request with the key has changed it: the folder may be gone since. `None`: there was no
    /// such request.
    ///
    /// # Errors
    /// The shard's error.
    pub async fn find_folder_change(
        &self,
        id: Uuid,
        key: &RequestKey,
    ) -> Result<Option<(ShardId, Folder)>, DriveError> {
        let Some(slot) = slot_of_id(id) else { return Ok(None) };
        let Some(known) = self.cluster.find_key(slot, key).await? else { return Ok(None) };
        let done: Vec<OperationResult> = known.outcome_of(key)?;
        let Some(DriveEntry::Folder(folder)) = done.into_iter().next().map(|done| done.entry) else { return Ok(None) };
        if let Some(user) = UserId::new(folder.user_id) {
            self.writes.forget_values(spoiled_keys(user).into()).await?;
        }
        Ok(Some((known.shard, folder)))
    }

    /// Does all of the operations in one transaction, in their order, or none of them. As [`DriveService::change`] with
    /// a key.
    ///
    /// # Errors
    /// `Batch` with the first operation at fault, or the shard's error as in [`DriveService::change`].
    pub async fn change_all(
        &self,
        user: UserId,
        operations: &[DriveOperation],
        key: Option<RequestKey>,
    ) -> Result<(ShardId, Vec<OperationResult>), DriveError> {
        let (shard, done) = self.run(user, operations, key).await?;
        Ok((shard, done.map_err(|refused| DriveError::Batch(Box::new(refused)))?))
    }

    async fn run(
        &self,
        user: UserId,
        operations: &[DriveOperation],
        key: Option<RequestKey>,
    ) -> Result<(ShardId, Result<Vec<OperationResult>, RefusedOperation>), DriveError> {
        let change = DriveChange { user, operations, ids: &self.ids, is_committing: AtomicBool::new(false) };
        match (Box::pin(self.writes.run(user.slot(), &change, key.as_ref())).await?, &key) {
            ((shard, CallOutcome::Applied(done)), _) => Ok((shard, done)),
            ((_, CallOutcome::Replayed(known)), Some(key)) => Ok((known.shard, Ok(known.outcome_of(key)?))),
            ((_, CallOutcome::Replayed(_)), None) => Err(DriveError::Shard(ShardError::Moving)), // never: no key
        }
    }

    /// A page of what a user has put into the trash, newest first.
    ///
    /// # Errors
    /// A fault of the cursor if it is of another user, or the shard's error.
    pub async fn list_trash(
        &self,
        user: UserId,
        size: PageSize,
        after: Option<TrashCursor>,
    ) -> Result<(ShardId, TrashPage), DriveError> {
        if after.is_some_and(|after| after.user != user) {
            return Err(DriveError::Field(FieldFault::new("cursor", "is of another user's trash")));
        }
        let (shard, mut entries) = self.cluster.run(user.slot(), &ListTrash { user, size, after }).await?;
        let next = size.cut(&mut entries, TrashedEntry::byte_count, |last| TrashCursor::after(user, last));
        Ok((shard, TrashPage { entries, next }))
    }

    /// Deletes all of a user's trash for good, or as much of it as the time for a call allows.
    ///
    /// # Errors
    /// The shard's error; what was deleted before it stays deleted.
    pub async fn empty_trash(&self, user: UserId) -> Result<(ShardId, PurgeResult), DriveError> {
        let end = self.end_of_call();
        let mut rows = 0;
        loop {
            let (shard, entries) = self.cluster.run(user.slot(), &ListPurgeable { user, most: BATCH }).await?;
            if entries.is_empty() {
                return Ok((shard, PurgeResult { rows, has_more: false }));
            }
            for same in entries.chunk_by(|a, b| a.0 == b.0) {
                let Some(kind) = same.first().map(|(kind, _)| *kind) else { continue };
                let ids: Vec<Uuid> = same.iter().map(|(_, id)| *id).collect();
                rows += self.purge_batch(user, kind, &ids).await?.1;
                if Instant::now() >= end {
                    return Ok((shard, PurgeResult { rows, has_more: true }));
                }
            }
        }
    }

    /// Deletes an entry of the trash for good, or as much of a folder as the time for a call allows.
    ///
    /// # Errors
    /// As [`DriveService::empty_trash`].
    pub async fn purge(&self, user: UserId, kind: EntryKind, id: Uuid) -> Result<(ShardId, PurgeResult), DriveError> {
        let end = self.end_of_call();
        let mut rows = 0;
        loop {
            let (shard, gone) = self.purge_batch(user, kind, &[id]).await?;
            rows += gone;
            let has_more = gone >= i64::from(BATCH);
            if !has_more || Instant::now() >= end {
                return Ok((shard, PurgeResult { rows, has_more }));
            }
        }
    }

    async fn purge_batch(&self, user: UserId, kind: EntryKind, ids: &[Uuid]) -> Result<(ShardId, i64), DriveError> {
        let purge = PurgeEntries { user, kind, ids, most: BATCH };
        match self.writes.run(user.slot(), &purge, None).await? {
            (shard, CallOutcome::Applied(gone)) => Ok((shard, gone)),
            (shard, CallOutcome::Replayed(_)) => Ok((shard, 0)), // never: no key, no stored outcome
        }
    }

    /// When a call of many transactions ends: early enough for the answer to come within the time of one call.
    fn end_of_call(&self) -> Instant {
        Instant::now() + self.cluster.limits().call_timeout / 2
    }
}
