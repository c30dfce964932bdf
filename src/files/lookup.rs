//! Finds a file by its id: the file of the user who is named, or the only file under the id.

use std::sync::Arc;

use uuid::Uuid;

use super::error::FileError;
use super::model::{File, UserId};
use super::store::{FileMatch, FindById, SearchById};
use crate::shard::{BatchedReads, Cluster, ScatterBreadth, ShardError, ShardId, slot_of_id};

/// Finds files by their ids.
pub(super) struct FileLookup {
    cluster: Arc<Cluster>,
    reads: BatchedReads<FindById>,
}

impl FileLookup {
    pub(super) fn start(cluster: Arc<Cluster>) -> Self {
        Self { reads: BatchedReads::start(Arc::clone(&cluster)), cluster }
    }

    /// The file of `user` under the id, or without a user the only file under it.
    ///
    /// # Errors
    /// `NotFound`, `SeveralUsers` if no user is named and several have a file under the id, or the shard's error.
    pub(super) async fn find(&self, id: Uuid, user: Option<UserId>) -> Result<(ShardId, File), FileError> {
        match user.map(UserId::slot).or_else(|| slot_of_id(id)) {
            Some(slot) => {
                let (shard, found) = self.reads.read(FindById { slot, id, user }).await?;
                Ok((shard, only_file(found, id)?))
            }
            None => self.search(id).await,
        }
    }

    /// Asks every shard, and needs the answers for all slots. A shard that is away may have another user's file under
    /// the id. While a slot changes hands, there is a moment in which no shard answers for this slot.
    async fn search(&self, id: Uuid) -> Result<(ShardId, File), FileError> {
        let (limits, breadth) = (self.cluster.scatter_limits(), ScatterBreadth::All);
        let call = SearchById(id);
        let scattered = self.cluster.scatter_until_covered(breadth, &call, limits, |answer| answer.coverage).await;
        let mut found = (ShardId::default(), FileMatch::None);
        for (shard, answer) in scattered.answers {
            let Some(answer) = answer? else { continue };
            found = match (found, answer.files) {
                (found, FileMatch::None) => found,
                ((_, found), files) => (shard, found.and(files)),
            };
        }
        if !scattered.is_covered {
            return Err(ShardError::Moving.into());
        }
        let (shard, found) = found;
        Ok((shard, only_file(found, id)?))
    }
}

fn only_file(found: FileMatch, id: Uuid) -> Result<File, FileError> {
    match found {
        FileMatch::None => Err(FileError::NotFound(id)),
        FileMatch::One(file) => Ok(*file),
        FileMatch::Several => Err(FileError::SeveralUsers(id)),
    }
}
