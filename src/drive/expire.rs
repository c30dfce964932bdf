//! Purges what has been in the trash for `SHARDRIVE_TRASH_KEEP_DAYS`, a few rows at a time.
//!
//! Every API process tries. Two processes with the same entries wait for one another, and the second finds nothing.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::model::EntryKind;
use super::purge::PurgeEntries;
use crate::cache::Cache;
use crate::files::UserId;
use crate::shard::{Cluster, PeriodicTask, Shard, ShardCall, ShardError, ShardId, TaskProgress};
use crate::writes::SlotWrites;

/// Entries that are looked at in one run.
const ENTRIES: i64 = 500;
/// Rows that one transaction deletes.
pub(super) const BATCH: i32 = 500;

/// Purges old trash on each shard, also on shards that are added later, until the cluster shuts down.
pub fn purge_in_background(cluster: &Arc<Cluster>, cache: &Arc<Cache>, keep_days: u16) {
    let writes = SlotWrites::new(Arc::clone(cluster), Arc::clone(cache));
    cluster.run_periodically(move |_| PurgeTrash { writes: writes.clone(), keep_days });
}

struct PurgeTrash {
    writes: SlotWrites,
    keep_days: u16,
}

impl PeriodicTask for PurgeTrash {
    const INTERVAL: Duration = Duration::from_mins(10);
    const LABEL: &'static str = "purging the trash of";

    async fn run_once(&mut self, shard: &Shard) -> Result<TaskProgress, ShardError> {
        let expired = shard.run(&ListExpired { keep_days: self.keep_days }).await?.unwrap_or_default();
        for same in expired.chunk_by(|a, b| (a.user, a.kind) == (b.user, b.kind)) {
            let Some(first) = same.first() else { continue };
            let ids: Vec<Uuid> = same.iter().map(|entry| entry.id).collect();
            let purge = PurgeEntries { user: first.user, kind: first.kind, ids: &ids, most: BATCH };
            self.writes.run(first.user.slot(), &purge, None).await?;
        }
        Ok(if expired.is_empty() { TaskProgress::Idle } else { TaskProgress::MoreWork })
    }
}

/// An entry that has been in the trash for long enough.
struct ExpiredEntry {
    user: UserId,
    kind: EntryKind,
    id: Uuid,
}

struct ListExpired {
    keep_days: u16,
}

impl ShardCall for ListExpired {
    type Output = Vec<ExpiredEntry>;

    async fn call(&self, connection: &mut PgConnection, shard: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let rows: Vec<(i64, bool, Uuid)> = sqlx::query_as(include_str!("../../sql/drive/list_expired.sql"))
            .bind(shard.to_sql())
            .bind(i32::from(self.keep_days))
            .bind(ENTRIES)
            .fetch_all(connection)
            .await?;
        let entry = |(user, is_folder, id)| {
            let kind = if is_folder { EntryKind::Folder } else { EntryKind::File };
            Some(ExpiredEntry { user: UserId::new(user)?, kind, id })
        };
        Ok(Some(rows.into_iter().filter_map(entry).collect()))
    }
}
