//! Folding: the deltas that transactions append are added to the counts, so that there are never many of them.
//!
//! Every API process tries, one at a time does it. Nothing depends on it but the speed of reading the counts: what is
//! not folded yet is added at the reading.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::shard::{Cluster, Shard, ShardCall, ShardError, ShardId};

const INTERVAL: Duration = Duration::from_secs(1);
/// Folded deltas after which their room is freed, rather than waiting for autovacuum's next round.
const VACUUM_AFTER: u64 = 1000;

/// Starts a task for each shard, also for those that are added later, which ends when the cluster shuts down.
pub fn fold_in_background(cluster: &Arc<Cluster>) {
    let folding = Arc::clone(cluster);
    cluster.for_each_shard(move |shard| folding.spawn(fold_shard(Arc::clone(&folding), Arc::clone(shard))));
}

async fn fold_shard(cluster: Arc<Cluster>, shard: Arc<Shard>) {
    let mut folded = 0;
    while cluster.stopping().run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        if shard.check().is_err() {
            continue;
        }
        match fold(&shard, &mut folded).await {
            Ok(()) => {}
            // The next round tries again; the health check tells of a shard that is away.
            Err(ShardError::Unavailable { .. }) => {}
            Err(error) => log::warn!("folding the counts of shard {} failed: {error}", shard.id()),
        }
    }
}

async fn fold(shard: &Shard, folded: &mut u64) -> Result<(), ShardError> {
    for kind in [FoldDeltas::OfFiles, FoldDeltas::OfDocuments] {
        *folded += shard.run(&kind).await?.unwrap_or(0);
    }
    if *folded >= VACUUM_AFTER {
        shard.run(&VacuumDeltas).await?;
        *folded = 0;
    }
    Ok(())
}

enum FoldDeltas {
    OfFiles,
    OfDocuments,
}

impl ShardCall for FoldDeltas {
    type Output = u64;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<u64>, sqlx::Error> {
        let statement = match self {
            Self::OfFiles => include_str!("../../sql/stats/fold_deltas.sql"),
            Self::OfDocuments => include_str!("../../sql/stats/fold_record_deltas.sql"),
        };
        let folded: i64 = sqlx::query_scalar(statement).fetch_one(connection).await?;
        Ok(u64::try_from(folded).ok())
    }
}

struct VacuumDeltas;

impl ShardCall for VacuumDeltas {
    type Output = ();

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<()>, sqlx::Error> {
        sqlx::query(include_str!("../../sql/stats/vacuum_deltas.sql")).execute(connection).await?;
        Ok(Some(()))
    }
}
