//! Finds a file by its id: the file of the user who is named, or the only file under the id.

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use uuid::Uuid;

use super::error::FileError;
use super::model::{File, UserId};
use super::store::{FileMatch, FindById, SearchById};
use crate::shard::{BatchedReads, Cluster, ShardError, ShardId, SlotCoverage, slot_in};

/// How long a search waits for slots that change hands, before all shards are asked again.
const PAUSE: Duration = Duration::from_millis(5);

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
        match user.map(UserId::slot).or_else(|| slot_in(id)) {
            Some(slot) => {
                let (shard, found) = self.reads.read(FindById { slot, id, user }).await?;
                Ok((shard, only_file(found, id)?))
            }
            None => self.search(id).await,
        }
    }

    /// Asks every shard, and needs the answers for all slots. A shard that is away may have another user's file under the id.
    /// While a slot changes hands, there is a moment in which no shard answers for this slot.
    async fn search(&self, id: Uuid) -> Result<(ShardId, File), FileError> {
        let limits = self.cluster.limits();
        let until = Instant::now() + limits.move_timeout;
        loop {
            let gathered = self.cluster.scatter(&SearchById(id), limits.call_timeout).await;
            let (mut covered, mut found) = (Vec::new(), (ShardId::default(), FileMatch::None));
            for (shard, answer) in gathered.answers {
                let Some(answer) = answer? else { continue };
                covered.push(answer.coverage);
                found = match (found, answer.files) {
                    (found, FileMatch::None) => found,
                    ((_, found), files) => (shard, found.and(files)),
                };
            }
            if SlotCoverage::is_every_slot_once(covered) {
                let (shard, found) = found;
                return Ok((shard, only_file(found, id)?));
            }
            if Instant::now() >= until {
                return Err(ShardError::Moving.into());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn only_file(found: FileMatch, id: Uuid) -> Result<File, FileError> {
    match found {
        FileMatch::None => Err(FileError::NotFound(id)),
        FileMatch::One(file) => Ok(file),
        FileMatch::Several => Err(FileError::SeveralUsers(id)),
    }
}
