//! What the planner asks of every shard: rows and bytes by slot, users by slot, and a sample of users.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use crate::reshard::transfer::compose;
use crate::reshard::transfer::tables::counted;
use crate::shard::{ShardCall, ShardId, Slot, WorkKind};

/// Users that an analysis shows.
pub(super) const SAMPLE: i64 = 20;
/// How long the counts and samples of all shards may take.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// Rows and bytes of the slots that the shard owns.
pub(super) struct PlannedTotals;

impl ShardCall for PlannedTotals {
    type Output = Vec<(i32, i64, i64)>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let slots: Vec<i32> = Slot::all().map(Slot::to_sql).collect();
        let mut all = Vec::new();
        for (_, counts) in counted() {
            let statement = sqlx::query_as(sqlx::AssertSqlSafe(compose::totals(counts))).bind(&slots);
            let rows: Vec<(i32, i64, String)> = statement.fetch_all(&mut *connection).await?;
            // A plan weighs by the bytes, and needs no more of them than an integer holds.
            all.extend(rows.into_iter().map(|(slot, rows, bytes)| (slot, rows, bytes.parse().unwrap_or(i64::MAX))));
        }
        Ok(Some(all))
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(LOOK_LIMIT)
    }

    fn work(&self) -> WorkKind {
        WorkKind::Listing
    }
}

/// The shard's first users.
pub(super) struct SampleUsers;

impl ShardCall for SampleUsers {
    type Output = Vec<i64>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Vec<i64>>, sqlx::Error> {
        let statement = sqlx::query_scalar(include_str!("../../../sql/reshard/first_users.sql")).bind(SAMPLE);
        statement.fetch_all(connection).await.map(Some)
    }

    fn work(&self) -> WorkKind {
        WorkKind::Listing
    }
}

/// How many users with rows there are in each slot that the shard owns.
pub(super) struct CountUsers;

impl ShardCall for CountUsers {
    type Output = Vec<(i32, i64)>;

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        sqlx::query_as(include_str!("../../../sql/reshard/count_users.sql")).fetch_all(connection).await.map(Some)
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(LOOK_LIMIT)
    }

    fn work(&self) -> WorkKind {
        WorkKind::Listing
    }
}
