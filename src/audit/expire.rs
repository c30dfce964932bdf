//! Deletes audit entries older than `SHARDRIVE_AUDIT_KEEP_DAYS`, a few at a time; every API process tries.

use std::sync::Arc;
use std::time::Duration;

use super::table::ExpireEntries;
use crate::shard::{Cluster, ShardError, ShardId};

/// The pause between two checks; entries live for days.
const INTERVAL: Duration = Duration::from_mins(1);
/// The rows of one transaction.
const BATCH: i64 = 1_000;
/// The pause between two batches.
const PAUSE: Duration = Duration::from_millis(50);

/// Deletes expired entries until the cluster shuts down.
pub(super) async fn delete_expired_entries(cluster: Arc<Cluster>) {
    loop {
        let pause = if delete_expired_batch(&cluster).await { PAUSE } else { INTERVAL };
        if cluster.stop_token().run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// Deletes one batch; true if there may be more.
async fn delete_expired_batch(cluster: &Cluster) -> bool {
    let Some(first) = cluster.shard(ShardId::default()) else { return false };
    match first.run(&ExpireEntries { batch: BATCH }).await {
        Ok(gone) => gone.and_then(|gone| i64::try_from(gone).ok()) == Some(BATCH),
        // The next round tries again; the health probe reports an unreachable shard.
        Err(ShardError::Unavailable { .. }) => false,
        Err(error) => {
            log::warn!("deleting old entries of the audit log failed: {error}");
            false
        }
    }
}
