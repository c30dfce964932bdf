//! A mirror from its first chunk to its commit.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::model::{MirrorOptions, MirrorSummary};
use super::stage::{ListingChunk, StagedListing};
use super::write::{MirrorOutcome, MirrorWrite};
use crate::drive::error::DriveError;
use crate::drive::service::DriveService;
use crate::files::{MANY_ROWS, UserId, refresh_statistics};
use crate::shard::{MovingSlot, ShardError, ShardId};

/// How long the transaction of a mirror may take; `sql/drive/begin_mirror.sql` says the same to the server.
const TIME_LIMIT: Duration = Duration::from_mins(10);

impl DriveService {
    /// Makes the folder of the options what a listing says. The listing comes in chunks. Without [`ListingChunk::End`]
    /// nothing is changed.
    ///
    /// # Errors
    /// `TooManyDeletes`, `KindStays` if a folder would stand beside a file of its name, `MirrorInterrupted` if the
    /// shard or the listing went away, or the shard's error. The drive is as before, but after `Timeout` and
    /// `Unavailable` the mirror may be done all the same.
    pub async fn mirror(
        &self,
        user: UserId,
        options: &MirrorOptions,
        mut listing: mpsc::Receiver<ListingChunk>,
    ) -> Result<(ShardId, MirrorSummary), DriveError> {
        let shard = Arc::clone(self.cluster.owner(user.slot())?);
        let mut staged = StagedListing::begin(&shard).await?;
        let has_rejections = loop {
            match listing.recv().await {
                Some(ListingChunk::Part(part)) => staged.push(part).await?,
                Some(ListingChunk::End(has_rejections)) => break has_rejections,
                None => return Err(DriveError::MirrorInterrupted),
            }
        };
        let lane = staged.finish();
        let write = MirrorWrite { user, options, has_rejections };
        match Box::pin(self.writes.run_over(lane, TIME_LIMIT, &write)).await {
            Ok(Some(MirrorOutcome::Applied(summary))) => {
                if summary.created.folders + summary.created.files >= MANY_ROWS {
                    refresh_statistics(&shard).await;
                }
                Ok((shard.id(), summary))
            }
            Ok(Some(MirrorOutcome::Compared(summary))) => Ok((shard.id(), summary)),
            Ok(Some(MirrorOutcome::Refused(refusal))) => Err(refusal),
            Ok(None) => {
                // The listing is on the old owner; the next mirror must begin on the new one.
                let mut moving = MovingSlot::new(user.slot(), self.cluster.limits());
                moving.wait_for_owner(&self.cluster, shard.id()).await?;
                Err(DriveError::Shard(ShardError::Moving))
            }
            // Another request gave a name away after the comparison.
            Err(ShardError::RowRefused { .. }) => Err(DriveError::MirrorInterrupted),
            Err(error) => Err(DriveError::Shard(error)),
        }
    }
}
