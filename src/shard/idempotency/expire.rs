//! Records that are too old to count go, a few at a time.
//!
//! Every API process tries; rows that another one is about to remove are passed over.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::shard::{Cluster, Shard, ShardCall, ShardError, ShardId};

const INTERVAL: Duration = Duration::from_secs(10);
/// Rows in one transaction.
const BATCH: i64 = 1_000;
/// Between two batches while there are more.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts a task for each shard, also for those that are added later, which ends when the cluster shuts down.
pub fn expire_in_background(cluster: &Arc<Cluster>) {
    let expiring = Arc::clone(cluster);
    cluster.for_each_shard(move |shard| expiring.spawn(expire_of(Arc::clone(&expiring), Arc::clone(shard))));
}

async fn expire_of(cluster: Arc<Cluster>, shard: Arc<Shard>) {
    let mut pause = INTERVAL;
    while cluster.stopping().run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        pause = INTERVAL;
        if shard.check().is_err() {
            continue;
        }
        match shard.run(&Expire).await {
            Ok(Some(true)) => pause = PAUSE,
            // The next round tries again; the health check tells of a shard that is away.
            Ok(_) | Err(ShardError::Unavailable { .. }) => {}
            Err(error) => log::warn!("removing old idempotency keys of shard {} failed: {error}", shard.id()),
        }
    }
}

struct Expire;

impl ShardCall for Expire {
    /// True if there may be more.
    type Output = bool;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<bool>, sqlx::Error> {
        let gone = sqlx::query(include_str!("../../../sql/idempotency/expire.sql"))
            .bind(shard.to_sql())
            .bind(BATCH)
            .execute(&mut *connection)
            .await?;
        sqlx::query(include_str!("../../../sql/idempotency/expire_admin.sql")).execute(connection).await?;
        Ok(Some(i64::try_from(gone.rows_affected()) == Ok(BATCH)))
    }
}
