//! Calls to the owner of a slot, also while the slot is changing hands.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::routing::Cluster;
use crate::shard::call::ShardCall;
use crate::shard::error::ShardError;
use crate::shard::server::admission::WorkKind;
use crate::shard::server::pool::ShardLimits;
use crate::shard::server::replica::ReadConsistency;
use crate::shard::slot::{ShardId, Slot};
use crate::telemetry::record_route;

/// The first and the longest pause between two tries for a slot without an owner; each pause doubles.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(8));
/// How long one shard may take to list its frozen slots.
const FREEZE_DEADLINE: Duration = Duration::from_secs(1);

impl Cluster {
    /// Runs a call on the shard that owns the slot. If that shard disowns the slot, reads the map again and calls the
    /// new owner, for as long as a move may hold a slot.
    ///
    /// # Errors
    /// `Unavailable` at once if the owner is unreachable; `Moving` if no shard owned the slot until the deadline;
    /// otherwise see [`ShardError`].
    pub async fn run<C: ShardCall>(&self, slot: Slot, call: &C) -> Result<(ShardId, C::Output), ShardError> {
        let mut moving = MovingSlot::new(slot, self.limits());
        loop {
            let shard = self.owner(slot)?;
            record_route(slot.number(), shard.id().number());
            if let Some(output) = shard.run(call).await? {
                return Ok((shard.id(), output));
            }
            moving.wait_for_owner(self, shard.id()).await?;
        }
    }

    /// Runs a read. An eventual read goes to a fresh replica of the owner. Without a fresh replica, or if the replica
    /// does not own the slot, the read runs as in [`Cluster::run`].
    ///
    /// # Errors
    /// See [`Cluster::run`].
    pub async fn read<C: ShardCall>(
        &self,
        consistency: ReadConsistency,
        slot: Slot,
        call: &C,
    ) -> Result<(ShardId, C::Output), ShardError> {
        if consistency == ReadConsistency::Eventual {
            // Before the map is read: after a change in between, only replicas that know the change count as fresh.
            let map_changes = self.map_changes();
            let shard = self.owner(slot)?;
            if let Some(output) = shard.replicas().read(call, shard.id(), map_changes).await {
                return Ok((shard.id(), output));
            }
        }
        self.run(slot, call).await
    }

    /// The masks of the slots that the shard has frozen. `None`: the shard does not say.
    async fn list_frozen_slots(&self, shard: ShardId) -> Option<Vec<Vec<u8>>> {
        tokio::time::timeout(FREEZE_DEADLINE, self.shard(shard)?.run(&ListFrozenSlots)).await.ok()?.ok()?
    }
}

/// The wait of one call for a slot that is changing hands.
pub(crate) struct MovingSlot {
    slot: Slot,
    until: Instant,
    pause: Duration,
}

impl MovingSlot {
    pub(crate) fn new(slot: Slot, limits: &ShardLimits) -> Self {
        Self { slot, until: Instant::now() + limits.move_timeout, pause: RETRY_PAUSE.0 }
    }

    /// Returns when a new try makes sense, after the shard `refused` has disowned the slot.
    pub(crate) async fn wait_for_owner(&mut self, cluster: &Cluster, refused: ShardId) -> Result<(), ShardError> {
        if Instant::now() >= self.until {
            return Err(ShardError::Moving);
        }
        // Boxed: the futures are rarely needed, and their size would slow every request.
        Box::pin(cluster.refresh_map()).await;
        if cluster.map().owner(self.slot) == refused && !Box::pin(self.wait_out_freeze(cluster, refused)).await? {
            self.rest().await;
        }
        Ok(())
    }

    /// Returns when a try to write makes sense: at once, unless the process knows of a write freeze of the slot.
    pub(crate) async fn wait_until_writable(&mut self, cluster: &Cluster, owner: ShardId) -> Result<(), ShardError> {
        if cluster.freeze(owner).covers(self.slot) {
            Box::pin(self.wait_out_freeze(cluster, owner)).await?;
        }
        Ok(())
    }

    /// Waits for the end of the write freeze at the owner, and then at the shard that owns the slot by then. False if
    /// there was none.
    async fn wait_out_freeze(&mut self, cluster: &Cluster, mut owner: ShardId) -> Result<bool, ShardError> {
        let mut was_frozen = false;
        while self.outlasts_freeze(cluster, owner).await? {
            was_frozen = true;
            cluster.refresh_map().await;
            owner = cluster.map().owner(self.slot);
        }
        Ok(was_frozen)
    }

    /// Looks at the shard's freezes until none holds the slot. False if the first look found none.
    async fn outlasts_freeze(&mut self, cluster: &Cluster, owner: ShardId) -> Result<bool, ShardError> {
        let freeze = cluster.freeze(owner);
        let mut seen = freeze.look_count();
        let mut was_frozen = false;
        loop {
            freeze.look_after(seen, cluster.list_frozen_slots(owner)).await;
            if !freeze.covers(self.slot) {
                return Ok(was_frozen);
            }
            if Instant::now() >= self.until {
                return Err(ShardError::Moving);
            }
            was_frozen = true;
            seen = freeze.look_count();
            self.rest().await;
        }
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY_PAUSE.1);
    }
}

/// Reads the slots whose writes a shard refuses for the moment of a handover.
struct ListFrozenSlots;

impl ShardCall for ListFrozenSlots {
    type Output = Vec<Vec<u8>>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let statement = sqlx::query_scalar(include_str!("../../../sql/shard/list_frozen_slots.sql"));
        statement.fetch_all(connection).await.map(Some)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::PointRead
    }
}
