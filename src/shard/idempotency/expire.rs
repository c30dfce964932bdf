//! Deletes expired idempotency keys, a few at a time.
//!
//! Every API process tries, and passes over rows that another process is about to remove.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::shard::call::ShardCall;
use crate::shard::cluster::periodic::{PeriodicTask, TaskProgress};
use crate::shard::cluster::routing::Cluster;
use crate::shard::error::ShardError;
use crate::shard::server::shard::Shard;
use crate::shard::slot::ShardId;

/// Rows in one transaction.
const BATCH: u64 = 1_000;

/// Removes keys on each shard, also on shards that are added later, until the cluster shuts down.
pub fn expire_in_background(cluster: &Arc<Cluster>) {
    cluster.run_periodically(|_| ExpireKeys);
}

impl PeriodicTask for ExpireKeys {
    const INTERVAL: Duration = Duration::from_secs(10);
    const LONGEST_PAUSE: Duration = Duration::from_mins(1);
    const LABEL: &'static str = "removing old idempotency keys of";

    async fn run_once(&mut self, shard: &Shard) -> Result<TaskProgress, ShardError> {
        Ok(match shard.run(&*self).await? {
            Some(BATCH) => TaskProgress::MoreWork,
            Some(0) => TaskProgress::Idle,
            _ => TaskProgress::Done,
        })
    }
}

struct ExpireKeys;

impl ShardCall for ExpireKeys {
    /// The number of removed keys.
    type Output = u64;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<u64>, sqlx::Error> {
        let gone = sqlx::query(include_str!("../../../sql/idempotency/expire.sql"))
            .bind(shard.to_sql())
            .bind(BATCH.cast_signed())
            .execute(&mut *connection)
            .await?;
        sqlx::query(include_str!("../../../sql/idempotency/expire_admin.sql")).execute(connection).await?;
        Ok(Some(gone.rows_affected()))
    }
}
