//! A call to one shard: a statement or a short transaction on a pooled connection.

use std::time::Duration;

use sqlx::PgConnection;

use crate::shard::server::admission::WorkKind;
use crate::shard::slot::ShardId;

/// A statement, or a short series of statements, on one connection to one shard.
pub trait ShardCall: Sync {
    /// The answer of the call.
    type Output: Send;

    /// Runs on `connection`, which leads to `shard`. `None`: the shard does not own the slot of this call.
    ///
    /// The caller may drop the future at any await. The connection is closed then, and an open transaction ends.
    fn call(
        &self,
        connection: &mut PgConnection,
        shard: ShardId,
    ) -> impl Future<Output = Result<Option<Self::Output>, sqlx::Error>> + Send;

    /// The call's name in traces: a type's path, whose last part counts.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// True if a second run has no further effect. Such a call is repeated after a broken connection, when nobody
    /// knows whether the first run reached the database.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// How the call uses its connection. Long work leaves other calls their share of the pool.
    fn work_kind(&self) -> WorkKind {
        WorkKind::Point
    }

    /// The time limit of the call, if longer than the usual limit.
    fn time_limit(&self) -> Option<Duration> {
        None
    }
}
