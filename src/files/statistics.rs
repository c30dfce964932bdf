//! The planner's statistics of tables that many new rows have come into.
//!
//! Sessions keep their plans until a table's statistics change, and a plan for an empty table reads the whole table.
//! Autovacuum looks at a table once a minute, in which a load stores a million rows (PostgreSQL manual, "Populating a
//! Database", section "Run ANALYZE Afterwards").

use sqlx::postgres::PgConnection;

use crate::shard::{Shard, ShardCall, ShardId, WorkKind};

/// So many new rows at once are worth a look at the statistics.
pub(crate) const MANY_ROWS: u64 = 10_000;

struct RefreshStatistics;

impl ShardCall for RefreshStatistics {
    type Output = ();

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<()>, sqlx::Error> {
        let are_wrong: bool = sqlx::query_scalar(include_str!("../../sql/files/find_unknown_sizes.sql"))
            .fetch_one(&mut *connection)
            .await?;
        if are_wrong {
            sqlx::query(include_str!("../../sql/files/analyze.sql")).execute(connection).await?;
        }
        Ok(Some(()))
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Load
    }
}

/// Refreshes the statistics of a shard's tables, if these have become far larger than the planner believes.
pub(crate) async fn refresh_statistics(shard: &Shard) {
    if let Err(error) = shard.run(&RefreshStatistics).await {
        // Nothing but speed depends on it, and autovacuum comes later.
        log::debug!("the statistics of shard {} were not refreshed: {error}", shard.id());
    }
}
