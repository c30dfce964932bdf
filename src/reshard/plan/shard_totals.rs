//! The planner's questions to every shard: rows and bytes by slot, users by slot, and a sample of users.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::weights::SlotLoad;
use crate::reshard::transfer::compose;
use crate::reshard::transfer::tables::counted;
use crate::shard::{ShardCall, ShardId, WorkKind};

/// The users in an analysis.
pub(super) const SAMPLED_USERS: i64 = 20;
/// How long the counts and samples of all shards may take.
pub(super) const PLANNING_LIMIT: Duration = Duration::from_secs(30);

/// The loads of some slots, by the shard's counts.
pub(super) struct PlannedTotals {
    pub(super) slots: Vec<i32>,
}

impl ShardCall for PlannedTotals {
    type Output = Vec<(i32, SlotLoad)>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let mut all = Vec::new();
        for (_, counts) in counted() {
            let statement = sqlx::query_as(sqlx::AssertSqlSafe(compose::totals(counts))).bind(&self.slots);
            let rows: Vec<(i32, i64, String)> = statement.fetch_all(&mut *connection).await?;
            all.extend(rows.into_iter().map(|(slot, rows, bytes)| {
                // A sum beyond 64 bits may count as the largest integer.
                let bytes = bytes.parse().unwrap_or(i64::MAX);
                let (bytes, file_bytes) = if counts.are_stored { (bytes, 0) } else { (0, bytes) };
                (slot, SlotLoad { rows, bytes, file_bytes })
            }));
        }
        Ok(Some(all))
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(PLANNING_LIMIT)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Listing
    }
}

/// The shard's first users.
pub(super) struct SampleUsers;

impl ShardCall for SampleUsers {
    type Output = Vec<i64>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Vec<i64>>, sqlx::Error> {
        let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/sample_users.sql")).bind(SAMPLED_USERS);
        statement.fetch_all(connection).await.map(Some)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Listing
    }
}

/// The number of users with rows in each slot of the shard.
pub(super) struct CountUsers;

impl ShardCall for CountUsers {
    type Output = Vec<(i32, i64)>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        sqlx::query_as(include_str!("../../../sql/reshard/count_users.sql")).fetch_all(connection).await.map(Some)
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(PLANNING_LIMIT)
    }

    fn work_kind(&self) -> WorkKind {
        WorkKind::Listing
    }
}
