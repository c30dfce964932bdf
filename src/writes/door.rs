//! The door: bars the cached values, claims the idempotency key, runs the write on the owner, and removes the old
//! values.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch_write::BatchWrite;
use crate::cache::{Cache, CacheKey, WriteEffect};
use crate::shard::{
    CallOutcome, Cluster, DbFault, IdempotentCall, LaneConnection, LaneError, RequestKey, Shard, ShardCall, ShardError,
    ShardId, Slot, WorkKind, is_key_there,
};

/// A change of rows that a slot owns: a statement or a short transaction.
///
/// On purpose a write is no [`ShardCall`]: only [`SlotWrites`] runs a write.
pub(crate) trait SlotWrite: Sync {
    /// The answer of the change.
    type Output: Send;

    /// Every cached value that the change may make old.
    fn cache_keys(&self) -> Vec<CacheKey>;

    /// Runs on `connection`, which leads to `shard`. `None`: the shard does not own the slot.
    ///
    /// The future may be dropped at any await; its connection is closed then, and with it an open transaction.
    fn apply(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> impl Future<Output = Result<Option<Self::Output>, sqlx::Error>> + Send;

    /// True if the change was made; false if the database has not changed.
    fn has_changed(output: &Self::Output) -> bool;

    /// The outcome to store for the idempotency key. `None`: nothing was changed, and the request may be tried again.
    fn outcome_to_store(&self, _: &Self::Output) -> Option<String> {
        None
    }

    /// True if a second run does the same as the first, so that the write may be repeated after a connection broke and
    /// nobody knows whether the write ran.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// How the write uses its connection.
    fn work_kind(&self) -> WorkKind {
        WorkKind::Point
    }
}

/// Runs the writes of all slots.
#[derive(Clone)]
pub(crate) struct SlotWrites {
    cluster: Arc<Cluster>,
    cache: Arc<Cache>,
}

impl SlotWrites {
    pub(crate) fn new(cluster: Arc<Cluster>, cache: Arc<Cache>) -> Self {
        Self { cluster, cache }
    }

    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Keeps the cache's tasks until the last write of a lane is answered.
    pub(super) fn hold_cache(&self) -> TaskTrackerToken {
        self.cache.writer()
    }

    /// Makes a change on the shard that owns the slot, and returns when no process shows a value from before the
    /// change. A request whose key the shard has already changes nothing, and gets the stored outcome.
    ///
    /// # Errors
    /// As [`Cluster::run`]; after `Timeout` and `Unavailable` the change may be made all the same.
    pub(crate) async fn run<W: SlotWrite>(
        &self,
        slot: Slot,
        write: &W,
        key: Option<&RequestKey>,
    ) -> Result<(ShardId, CallOutcome<W::Output>), ShardError> {
        let call = WriteCall(write);
        let work = async {
            match key {
                None => {
                    self.cluster.run(slot, &call).await.map(|(shard, output)| (shard, CallOutcome::Applied(output)))
                }
                Some(key) => {
                    let seal = |output: &W::Output| write.outcome_to_store(output);
                    let once = IdempotentCall { call: &call, slot, key, seal };
                    // Boxed: most requests have no key.
                    Box::pin(self.cluster.run(slot, &once)).await
                }
            }
        };
        let effect = |result: &Result<(ShardId, CallOutcome<W::Output>), ShardError>| match result {
            Ok((_, CallOutcome::Applied(output))) if !W::has_changed(output) => WriteEffect::Nothing,
            // Also after an earlier request: its process may have ended before the removal of the values.
            Ok(_) => WriteEffect::Committed,
            Err(error) => effect_of_error(error),
        };
        // In its place, here and below: the cache would copy the work, which holds a write's whole state.
        self.cache.write(write.cache_keys(), pin!(work), effect).await?
    }

    /// Makes a change of several slots on this shard. `None`: the shard does not own the slots.
    ///
    /// # Errors
    /// As [`Shard::run`].
    pub(crate) async fn run_on<W: SlotWrite>(&self, shard: &Shard, write: &W) -> Result<Option<W::Output>, ShardError> {
        let call = WriteCall(write);
        self.cache.write(write.cache_keys(), pin!(shard.run(&call)), effect_of_call::<W>).await?
    }

    /// Makes a change over a connection that holds what the change needs, such as a staged listing, within a time of
    /// its own. `None`: the shard does not own the slot.
    ///
    /// # Errors
    /// As [`Shard::run`]; after `Timeout` and `Unavailable` the change may be made all the same.
    pub(crate) async fn run_over<W: SlotWrite>(
        &self,
        lane: &mut LaneConnection,
        limit: Duration,
        write: &W,
    ) -> Result<Option<W::Output>, ShardError> {
        let shard = lane.shard().id();
        let work = async {
            match lane.run_within(Some(limit), async |connection| write.apply(connection, shard).await).await {
                Ok(output) => Ok(output),
                Err(LaneError::Shard(error)) => Err(error),
                Err(LaneError::Database(error)) => match DbFault::of(&error) {
                    DbFault::NotOwner => Ok(None),
                    fault => Err(fault.into_error(shard, error)),
                },
            }
        };
        self.cache.write_within(limit, write.cache_keys(), pin!(work), effect_of_call::<W>).await?
    }

    /// Makes one try to store the rows of a batch over the connection of a lane.
    ///
    /// # Errors
    /// The inner error is the database's refusal, for the lane to judge. After the outer error the rows must not be
    /// acknowledged.
    pub(super) async fn store_batch<W: BatchWrite>(
        &self,
        lane: &mut LaneConnection,
        rows: &[&W::Row],
    ) -> Result<Result<Vec<W::Answer>, sqlx::Error>, ShardError> {
        let shard = lane.shard().id();
        let work = pin!(lane.run(async |connection| W::store(connection, shard, rows).await));
        let effect = |result: &Result<Vec<W::Answer>, LaneError>| match result {
            Ok(_) => WriteEffect::Committed,
            Err(LaneError::Shard(_)) => WriteEffect::Unknown,
            Err(LaneError::Database(error)) => effect_of_refusal(error),
        };
        match self.cache.write(W::cache_keys(rows), work, effect).await? {
            Ok(answers) => Ok(Ok(answers)),
            Err(LaneError::Shard(error)) => Err(error),
            Err(LaneError::Database(error)) => Ok(Err(error)),
        }
    }

    /// Removes the values that an earlier, committed change made old, before its stored outcome is shown again: the
    /// process of the earlier request may have ended before the removal.
    ///
    /// # Errors
    /// As [`Cache::write`].
    pub(crate) async fn forget_values(&self, keys: Vec<CacheKey>) -> Result<(), ShardError> {
        self.cache.write(keys, ready(()), |()| WriteEffect::Committed).await
    }
}

/// What the result of a call says about the database.
fn effect_of_call<W: SlotWrite>(result: &Result<Option<W::Output>, ShardError>) -> WriteEffect {
    match result {
        Ok(Some(output)) if W::has_changed(output) => WriteEffect::Committed,
        Ok(_) => WriteEffect::Nothing,
        Err(error) => effect_of_error(error),
    }
}

/// What an error of a call says about the database.
fn effect_of_error(error: &ShardError) -> WriteEffect {
    match error {
        ShardError::RowRefused { .. } => WriteEffect::Nothing,
        _ => WriteEffect::Unknown,
    }
}

/// What the refusal of a batch says about the database.
fn effect_of_refusal(error: &sqlx::Error) -> WriteEffect {
    // The process of the earlier request may have ended before the removal of the values.
    if is_key_there(error) {
        return WriteEffect::Committed;
    }
    match DbFault::of(error) {
        DbFault::NotOwner | DbFault::ReadOnly | DbFault::RowRefused => WriteEffect::Nothing,
        _ => WriteEffect::Unknown,
    }
}

/// A write as the call that a shard runs.
struct WriteCall<'a, W>(&'a W);

impl<W: SlotWrite> ShardCall for WriteCall<'_, W> {
    type Output = W::Output;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<W::Output>, sqlx::Error> {
        self.0.apply(connection, shard).await
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<W>()
    }

    fn is_repeatable(&self) -> bool {
        self.0.is_repeatable()
    }

    fn work_kind(&self) -> WorkKind {
        self.0.work_kind()
    }
}
