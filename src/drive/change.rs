//! A change of a drive: operations in one transaction, all or none.

use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::error::DriveError;
use super::model::DriveEntry;
use super::operation::{ChangeContext, DriveOperation, Failure};
use super::statements::enter;
use crate::cache::CacheKey;
use crate::files::{UserId, spoiled_keys};
use crate::shard::{IdClock, ShardId};
use crate::writes::SlotWrite;

/// Operations on the drive of a user.
pub(super) struct DriveChange<'a> {
    pub(super) user: UserId,
    pub(super) operations: &'a [DriveOperation],
    pub(super) ids: &'a IdClock,
    /// The commit has been sent, so that nobody knows what a lost connection means.
    pub(super) is_committing: AtomicBool,
}

/// The fault of an operation, and its number in the change.
#[derive(Debug)]
pub(super) struct RefusedOperation {
    pub(super) number: usize,
    pub(super) error: DriveError,
}

impl SlotWrite for DriveChange<'_> {
    type Output = Result<Vec<DriveEntry>, RefusedOperation>;

    fn cache_keys(&self) -> Vec<CacheKey> {
        spoiled_keys(self.user).into()
    }

    async fn apply(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        let changes_paths = self.operations.iter().any(DriveOperation::changes_paths);
        if !enter(&mut transaction, shard, self.user, changes_paths).await? {
            transaction.rollback().await?;
            return Ok(None);
        }
        let mut done = Vec::with_capacity(self.operations.len());
        for (number, operation) in self.operations.iter().enumerate() {
            let mut context = ChangeContext { connection: &mut transaction, shard, user: self.user, ids: self.ids };
            match context.apply(operation).await {
                Ok(entry) => done.push(entry),
                Err(Failure::Database(error)) => return Err(error),
                Err(Failure::NotOwner) => {
                    transaction.rollback().await?;
                    return Ok(None);
                }
                Err(Failure::Refused(error)) => {
                    transaction.rollback().await?;
                    return Ok(Some(Err(RefusedOperation { number, error })));
                }
            }
        }
        self.is_committing.store(true, Ordering::Relaxed);
        transaction.commit().await?;
        Ok(Some(Ok(done)))
    }

    fn has_changed(output: &Self::Output) -> bool {
        output.is_ok()
    }

    fn is_repeatable(&self) -> bool {
        !self.is_committing.load(Ordering::Relaxed)
    }
}
