//! Records that are too old to count go, a few at a time.
//!
//! Every API process tries; rows that another one is about to remove are passed over.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::shard::{Chore, Cluster, Left, Shard, ShardCall, ShardError, ShardId};

/// Rows in one transaction.
const BATCH: i64 = 1_000;

/// Removes on each shard, also on those that are added later, until the cluster shuts down.
pub fn expire_in_background(cluster: &Arc<Cluster>) {
    cluster.keep_doing(|_| Expire);
}

impl Chore for Expire {
    const INTERVAL: Duration = Duration::from_secs(10);
    const WHAT: &'static str = "removing old idempotency keys of";

    async fn turn(&mut self, shard: &Shard) -> Result<Left, ShardError> {
        Ok(if shard.run(&*self).await? == Some(true) { Left::More } else { Left::Nothing })
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
