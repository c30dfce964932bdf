//! The statements on the outbox, on the relay's own session.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::event::{OutboxChange, OutboxGap};
use super::held::HeldEvents;

/// How long the session of a relay may stay silent, in PostgreSQL's notation; then another relay takes over.
const IDLE_TIMEOUT: &str = "5s";

/// True if this session may relay from now on, until the session ends.
pub(super) async fn take_lease(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../sql/events/take_lease.sql")).bind(IDLE_TIMEOUT).fetch_one(db).await
}

/// From now on the triggers record changes.
pub(super) async fn start_recording(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/start_recording.sql")).execute(db).await.map(drop)
}

/// Lets the session commit without a wait for the disk; a crash of the server may undo its last commits. So the relay
/// slows down neither itself nor the writers that share the disk.
pub(super) async fn commit_asynchronously(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/commit_asynchronously.sql")).execute(db).await.map(drop)
}

/// The next changes after a number, in order, without the held ones.
pub(super) async fn list_changes(
    db: &mut PgConnection,
    limit: usize,
    after: i64,
    held: &HeldEvents,
) -> Result<Vec<OutboxChange>, sqlx::Error> {
    sqlx::query_as(include_str!("../../sql/events/list_changes.sql"))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(after)
        .bind(held.held_slots(true))
        .bind(held.held_slots(false))
        .fetch_all(db)
        .await
}

pub(super) async fn remove_published(db: &mut PgConnection, ids: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/delete_published.sql")).bind(ids).execute(db).await.map(drop)
}

/// Records that a relay is at work; returns the gap to publish, if any.
pub(super) async fn mark_relay_seen(db: &mut PgConnection) -> Result<Option<OutboxGap>, sqlx::Error> {
    let (events, from, to): (i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
        sqlx::query_as(include_str!("../../sql/events/mark_relay_seen.sql")).fetch_one(db).await?;
    Ok(from.zip(to).filter(|_| events > 0).map(|(from, to)| OutboxGap { events, from, to }))
}

/// Clears a published gap.
pub(super) async fn remove_gap(db: &mut PgConnection, gap: OutboxGap) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/clear_gap.sql")).bind(gap.events).execute(db).await.map(drop)
}
