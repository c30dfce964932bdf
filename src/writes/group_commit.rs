//! Group commit: one statement in one transaction makes many single writes, each answered on its own.
//!
//! Each shard has a lane: a bounded queue and a task with a connection ([`CommitLane`]). While a batch commits, the next
//! batch gathers in the queue. A write that meets no other goes at once, and a busy lane waits a moment for the callers
//! of its last batch ([`lane_queue`]). A caller that goes away takes the row out of the queue, unless the row is in a
//! batch already.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

use super::batch_write::{BatchWrite, QueuedWrite, WriteReply};
use super::commit_lane::CommitLane;
use super::door::SlotWrites;
use crate::shard::{
    CallOutcome, LaneConnection, LaneSender, MovingSlot, PerShard, Shard, ShardError, ShardId, lane_queue,
};
use crate::telemetry::record_route;

/// After a batch of fewer rows a lane does not wait for its callers.
const BUSY: usize = 4;

/// How much a lane takes on.
#[derive(Clone, Copy, Debug)]
pub struct WriterLimits {
    /// Writes that may wait for a shard; more are refused as overload.
    pub queue: usize,
    /// Rows in one transaction at most.
    pub batch: usize,
}

/// The lanes of all shards for a kind of row.
pub(crate) struct GroupCommit<W: BatchWrite> {
    writes: SlotWrites,
    limits: WriterLimits,
    connection: fn(Arc<Shard>) -> LaneConnection,
    /// The first write to a later shard starts the shard's lane.
    lanes: PerShard<LaneSender<QueuedWrite<W>>>,
}

impl<W: BatchWrite> GroupCommit<W> {
    /// Each shard has a lane, which opens its connection before the first write comes: later the server may have none
    /// to give. When the cluster shuts down, a lane empties its queue and ends.
    pub(crate) fn start(writes: SlotWrites, limits: WriterLimits) -> Self {
        let commit = Self { writes, limits, connection: LaneConnection::new, lanes: PerShard::new() };
        for shard in commit.writes.cluster().shards() {
            commit.lane(shard);
        }
        commit
    }

    /// As [`GroupCommit::start`], but a lane begins with its first write, and borrows a connection of the shard's pool
    /// for each batch.
    pub(crate) fn start_on_pools(writes: SlotWrites, limits: WriterLimits) -> Self {
        Self { writes, limits, connection: LaneConnection::from_pool, lanes: PerShard::new() }
    }

    fn lane(&self, shard: &Arc<Shard>) -> &LaneSender<QueuedWrite<W>> {
        self.lanes.get_or_make(shard.id(), || {
            let (sender, queue) = lane_queue(self.limits.queue, BUSY);
            let connection = (self.connection)(Arc::clone(shard));
            let (lane, cluster) = (CommitLane::new(&self.writes, connection), self.writes.cluster());
            cluster.spawn(lane.run(queue, self.limits.batch, cluster.stop_token().clone()));
            sender
        })
    }

    /// Stores a row on the shard that owns the slot; the answer comes after the commit.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full; otherwise see [`ShardError`]. After `Unavailable` and `Timeout` the row may
    /// be stored all the same.
    pub(crate) async fn write(&self, mut row: W::Row) -> Result<(ShardId, W::Row, CallOutcome<W::Answer>), ShardError> {
        let (slot, cluster) = (W::slot(&row), self.writes.cluster());
        let mut moving = MovingSlot::new(slot, cluster.limits());
        loop {
            moving.wait_until_writable(cluster, cluster.owner(slot)?.id()).await?;
            let shard = cluster.owner(slot)?;
            let id = shard.id();
            record_route(slot.number(), id.number());
            let watched = shard.time_call(std::any::type_name::<W>());
            if let Err(away) = shard.require_healthy() {
                return watched.finish(Err(away));
            }
            let (reply, answer) = oneshot::channel();
            // Before the lane can take the write out again.
            shard.counters().commit_queue.add(1);
            if let Err(refused) = self.lane(shard).try_send(QueuedWrite { row, reply, link: watched.span.batch_link() })
            {
                shard.counters().commit_queue.add(-1);
                return watched.finish(Err(match refused {
                    TrySendError::Full(_) => ShardError::Overloaded { shard: id },
                    TrySendError::Closed(_) => ShardError::Unavailable { shard: id },
                }));
            }
            match shard.while_healthy(answer).await {
                Ok(Ok(WriteReply::Stored(row, answer))) => return Ok((id, row, CallOutcome::Applied(answer))),
                Ok(Ok(WriteReply::StoredBefore(row, known))) => return Ok((id, row, CallOutcome::Replayed(known))),
                Ok(Ok(WriteReply::NotOwner(back))) => row = back,
                Ok(Ok(WriteReply::Failed(error))) | Err(error) => return watched.finish(Err(error)),
                Ok(Err(_)) => return watched.finish(Err(ShardError::Unavailable { shard: id })),
            }
            drop(watched);
            moving.wait_for_owner(cluster, id).await?;
        }
    }
}
