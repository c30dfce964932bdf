//! Rows that group commit stores together, and a row on its way through the queue of a lane.

use std::cmp::Ordering;

use sqlx::PgConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::cache::CacheKey;
use crate::shard::{RequestKey, ShardError, ShardId, Slot, StoredOutcome};
use crate::telemetry::SpanLink;

/// Rows that are stored many at once, or changed, or deleted.
pub(crate) trait BatchWrite: Send + Sync + 'static {
    /// The row of a caller.
    type Row: Send + Sync + 'static;
    /// The outcome of a row.
    type Answer: Send + 'static;

    /// True if a second run does the same as the first, so that a batch may be repeated after its connection broke and
    /// nobody knows whether the batch was stored.
    const IS_REPEATABLE: bool = true;

    /// The slot of the row.
    fn slot(row: &Self::Row) -> Slot;

    /// The idempotency key under which the row's outcome is stored. A batch with keys needs another statement.
    fn key(row: &Self::Row) -> Option<&RequestKey>;

    /// The order of the table's primary key: two lanes that write in this order can never wait for each other. Equal
    /// rows stay in the order of their coming.
    fn order(a: &Self::Row, b: &Self::Row) -> Ordering;

    /// Every cached value that these rows may make old.
    fn cache_keys(rows: &[&Self::Row]) -> Vec<CacheKey>;

    /// Stores the rows, which are in order, in one transaction; gives the answers in the same order. An error refuses
    /// foreign slots, and idempotency keys that the table holds already. No two of the rows have the
    /// same key.
    ///
    /// The future may be dropped at any await; its connection is closed then.
    fn store(
        connection: &mut PgConnection,
        shard: ShardId,
        rows: &[&Self::Row],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, sqlx::Error>> + Send;
}

/// A lane's reply to the caller of a row.
pub(super) enum WriteReply<W: BatchWrite> {
    Stored(W::Row, W::Answer),
    /// An earlier request with the row's key has this outcome.
    StoredBefore(W::Row, StoredOutcome),
    /// The shard does not own the row's slot.
    NotOwner(W::Row),
    Failed(ShardError),
}

/// A row in the queue of a lane.
pub(super) struct QueuedWrite<W: BatchWrite> {
    pub(super) row: W::Row,
    pub(super) reply: oneshot::Sender<WriteReply<W>>,
    pub(super) link: Option<SpanLink>,
}

impl<W: BatchWrite> QueuedWrite<W> {
    pub(super) fn answer(self, reply: impl FnOnce(W::Row) -> WriteReply<W>) {
        // The caller may have gone away.
        let _ = self.reply.send(reply(self.row));
    }

    pub(super) fn slot(&self) -> Slot {
        W::slot(&self.row)
    }

    pub(super) fn key(&self) -> Option<(Slot, Uuid)> {
        W::key(&self.row).map(|key| (self.slot(), key.key))
    }
}
