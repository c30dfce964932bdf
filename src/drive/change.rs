//! A change of a drive: operations in one transaction, all or none.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::context::{ChangeContext, Failure};
use super::error::{RefusedOperation, refusal_of};
use super::model::DriveEntry;
use super::operation::{DriveOperation, EntryTarget, OperationResult};
use super::resolve::FoundEntry;
use super::statements::{enter, find_file};
use crate::cache::CacheKey;
use crate::files::{UserId, hold_drives, spoiled_keys};
use crate::shard::{IdClock, ShardId, is_duplicate_key};
use crate::writes::SlotWrite;

/// How often a change is tried whose names others take in this moment.
const TRIES: u32 = 4;

/// Operations on the drive of a user.
pub(super) struct DriveChange<'a> {
    pub(super) user: UserId,
    pub(super) operations: &'a [DriveOperation],
    pub(super) ids: &'a IdClock,
    /// The commit has been sent, so that nobody knows what a lost connection means.
    pub(super) is_committing: AtomicBool,
}

impl SlotWrite for DriveChange<'_> {
    type Output = Result<Vec<OperationResult>, RefusedOperation>;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        for _ in 1..TRIES {
            match self.try_apply(connection, shard).await {
                // Another request has given a name away since the look: the next look tells what has the name.
                Err(error) if is_duplicate_key(&error) => {}
                done => return done,
            }
        }
        self.try_apply(connection, shard).await
    }

    fn has_changed(output: &Self::Output) -> bool {
        output.is_ok()
    }

    fn outcome_to_store(&self, output: &Self::Output) -> Option<String> {
        serde_json::to_string(output.as_ref().ok()?).ok()
    }

    fn is_repeatable(&self) -> bool {
        !self.is_committing.load(Ordering::Relaxed)
    }
}

impl DriveChange<'_> {
    async fn try_apply(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> Result<Option<<Self as SlotWrite>::Output>, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        // Several operations also keep others away: what one of them has found holds for the next.
        let is_exclusive = self.operations.len() > 1 || self.operations.iter().any(DriveOperation::changes_paths);
        if !enter(&mut transaction, shard, self.user, is_exclusive).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let is_alone = self.operations.len() > 1;
        if is_alone {
            // At once, and not by an operation after another one: two such changes would wait in a ring.
            hold_drives(&mut transaction, [self.user]).await?;
        }
        let (user, ids, mut done) = (self.user, self.ids, Vec::with_capacity(self.operations.len()));
        let mut context = ChangeContext { connection: &mut transaction, shard, user, ids, is_alone, last_folder: None };
        match context.apply_all(self.operations, &mut done).await {
            Ok(()) => {
                self.is_committing.store(true, Ordering::Relaxed);
                transaction.commit().await?;
                Ok(Some(Ok(done)))
            }
            Err(Failure::Database(error)) => match refusal_of(&error) {
                Some(error) => Ok(Some(Err(RefusedOperation { number: done.len(), error }))),
                None => Err(error),
            },
            Err(Failure::NotOwner) => {
                transaction.rollback().await?;
                Ok(None)
            }
            Err(Failure::Refused(error)) => {
                transaction.rollback().await?;
                Ok(Some(Err(RefusedOperation { number: done.len(), error })))
            }
        }
    }
}

impl ChangeContext<'_> {
    /// Does the operations in their order, up to the first at fault. `done` gets the results.
    async fn apply_all(
        &mut self,
        mut operations: &[DriveOperation],
        done: &mut Vec<OperationResult>,
    ) -> Result<(), Failure> {
        while !operations.is_empty() {
            let mut results = self.put_beside_last(operations).await?;
            if results.is_empty() {
                results.push(None);
            }
            let (now, later) = operations.split_at(results.len());
            for (operation, result) in now.iter().zip(results) {
                done.push(match result {
                    Some(result) => result,
                    None => self.apply(operation).await?,
                });
            }
            operations = later;
        }
        Ok(())
    }

    async fn apply(&mut self, operation: &DriveOperation) -> Result<OperationResult, Failure> {
        if !matches!(operation, DriveOperation::PutFile { .. }) {
            self.last_folder = None;
        }
        match operation {
            DriveOperation::CreateFolder { parent, name } => {
                let folder = self.create_folder(parent, name).await?;
                Ok(OperationResult::new(DriveEntry::Folder(folder)))
            }
            DriveOperation::PutFile { path, makes_folders, content, conflict, condition } => {
                self.put_file(path, *makes_folders, content, *conflict, condition).await
            }
            DriveOperation::Move { entry, parent, name, condition } => {
                let (parent, name) = (parent.as_ref(), name.as_deref());
                let moved = match self.find_entry(entry).await? {
                    FoundEntry::Folder(id) => DriveEntry::Folder(self.move_folder(id, parent, name, condition).await?),
                    FoundEntry::File(file) => {
                        self.move_file(file.file_id, parent, name, condition).await?;
                        DriveEntry::File(file.file_id)
                    }
                };
                Ok(OperationResult::changed(moved))
            }
            DriveOperation::Trash { entry, condition } => {
                let trashed = match self.find_entry(entry).await? {
                    FoundEntry::Folder(id) => DriveEntry::Folder(self.trash_folder(id, condition).await?),
                    FoundEntry::File(file) => {
                        self.trash_file(file.file_id, condition).await?;
                        DriveEntry::File(file.file_id)
                    }
                };
                Ok(OperationResult::changed(trashed))
            }
            DriveOperation::Restore { id, parent, name } => {
                let (parent, name) = (parent.as_ref(), name.as_deref());
                let restored = match find_file(self.connection, self.user, *id).await? {
                    // A client may have given a file the id of a folder.
                    Some(place) if place.is_trashed || !self.is_trashed_folder(*id).await? => {
                        self.restore_file(*id, place, parent, name).await?;
                        DriveEntry::File(*id)
                    }
                    _ => DriveEntry::Folder(self.restore_folder(*id, parent, name).await?),
                };
                Ok(OperationResult::changed(restored))
            }
        }
    }

    async fn find_entry(&mut self, entry: &EntryTarget) -> Result<FoundEntry, Failure> {
        match entry {
            EntryTarget::Folder(id) => Ok(FoundEntry::Folder(*id)),
            EntryTarget::Path(path) => self.find_path(path).await,
        }
    }
}
