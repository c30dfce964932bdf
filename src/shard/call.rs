//! A call to one shard: a statement or a short transaction that runs on a pooled connection.

use crate::shard::server::admission::WorkKind;
use crate::shard::slot::ShardId;
use sqlx::PgConnection;
use std::time::Duration;

/// A statement, or a few, that one shard runs on one connection.
pub trait ShardCall: Sync {
    /// What it answers.
    type Output: Send;

    /// Runs on `connection`, which leads to `shard`. `None`: the shard does not own the slot that this is about.
    ///
    /// The future may be dropped at any await; its connection is closed then, and with it an open transaction.
    fn call(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> impl Future<Output = Result<Option<Self::Output>, sqlx::Error>> + Send;

    /// True if running it twice does the same as running it once, so that it may be repeated when a connection broke
    /// and nobody knows whether it ran.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// How it uses its connection. Long work leaves others their share of the pool.
    fn work(&self) -> WorkKind {
        WorkKind::Point
    }

    /// How long it may take, if that is longer than other calls.
    fn time_limit(&self) -> Option<Duration> {
        None
    }
}
