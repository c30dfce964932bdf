//! Folds the deltas of transactions into the counts, so that there are never many deltas.
//!
//! Every API process tries to fold; a lock lets one process at a time. Only the speed of reading the counts depends on
//! folding: a reader adds the deltas that are left.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use crate::shard::{Cluster, PeriodicTask, Shard, ShardCall, ShardError, ShardId, TaskProgress};

/// After so many folded deltas the task frees their room, and does not wait for autovacuum.
const VACUUM_AFTER: u64 = 1000;

/// Folds on each shard, later shards included, until the cluster shuts down.
pub fn fold_in_background(cluster: &Arc<Cluster>) {
    cluster.run_periodically(|_| FoldTask { folded: 0 });
}

struct FoldTask {
    /// Since the last time that room was freed.
    folded: u64,
}

impl PeriodicTask for FoldTask {
    const INTERVAL: Duration = Duration::from_secs(1);
    const LONGEST_PAUSE: Duration = Duration::from_secs(4);
    const LABEL: &'static str = "folding the counts of";

    async fn run_once(&mut self, shard: &Shard) -> Result<TaskProgress, ShardError> {
        // An error of one does not keep the other from folding.
        let (files, documents) = (shard.run(&FoldDeltas::OfFiles).await, shard.run(&FoldDeltas::OfDocuments).await);
        let found: u64 = [&files, &documents].into_iter().flatten().flatten().sum();
        self.folded += found;
        if self.folded >= VACUUM_AFTER {
            shard.run(&VacuumDeltas).await?;
            self.folded = 0;
        }
        files.and(documents).map(|_| if found == 0 { TaskProgress::Idle } else { TaskProgress::Done })
    }
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
