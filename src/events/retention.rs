//! Keeps the outbox within its bound while no relay publishes, and reports the outbox's length to `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgConnection;

use super::{EventsStatus, OutboxStatus};
use crate::shard::{PeriodicTask, Shard, ShardCall, ShardError, ShardId, TaskProgress};

/// After this long without any relay, changes are recorded no more.
const RELAY_ABSENCE_SECONDS: i32 = 24 * 3600;

pub(super) struct RetentionSetting {
    pub(super) events: Arc<EventsStatus>,
    /// The most events in one shard's outbox.
    pub(super) max_rows: u64,
}

impl PeriodicTask for RetentionSetting {
    const INTERVAL: Duration = Duration::from_secs(2);
    const LONGEST_PAUSE: Duration = Duration::from_secs(8);
    const LABEL: &'static str = "trimming the outbox of";

    async fn run_once(&mut self, shard: &Shard) -> Result<TaskProgress, ShardError> {
        let bound = RetentionTask(i64::try_from(self.max_rows).unwrap_or(i64::MAX));
        let Some((dropped, outbox)) = shard.run(&bound).await? else { return Ok(TaskProgress::Done) };
        if dropped > 0 {
            log::error!("shard {}: {dropped} events were dropped, as no relay published them", shard.id());
        }
        let is_empty = outbox.rows == 0;
        self.events.record_outbox(shard.id(), outbox);
        Ok(if is_empty { TaskProgress::Idle } else { TaskProgress::Done })
    }
}

struct RetentionTask(i64);

impl ShardCall for RetentionTask {
    /// The number of dropped events, and the outbox's state.
    type Output = (i64, OutboxStatus);

    async fn call(&self, connection: &mut PgConnection, _: ShardId) -> Result<Option<Self::Output>, sqlx::Error> {
        let (rows, lag_seconds, dropped, oldest): (i64, f64, i64, Option<String>) =
            sqlx::query_as(include_str!("../../sql/events/outbox_status.sql")).fetch_one(&mut *connection).await?;
        let now: i64 = sqlx::query_scalar(include_str!("../../sql/events/bound_outbox.sql"))
            .bind(self.0)
            .bind(RELAY_ABSENCE_SECONDS)
            .fetch_one(connection)
            .await?;
        let positive = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(Some((now, OutboxStatus { rows: positive(rows), lag_seconds, oldest, dropped: positive(dropped + now) })))
    }
}
