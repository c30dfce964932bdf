//! The statements on the outbox, on the relay's own session.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::event::{OutboxChange, OutboxGap};
use super::held::HeldEvents;

/// How long the session of a relay may be silent, as PostgreSQL takes it; then another one takes over.
const SILENCE: &str = "5s";

/// True if the session may relay from here on, until it ends.
pub(super) async fn take_lease(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(include_str!("../../sql/events/take_lease.sql")).bind(SILENCE).fetch_one(db).await
}

/// From here on changes are told.
pub(super) async fn switch_on(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/switch_on.sql")).execute(db).await.map(drop)
}

/// What the session commits from here on may be lost in a crash of the server. Nobody waits for its disk, least of all the
/// writers who share it.
pub(super) async fn commit_lazily(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/commit_lazily.sql")).execute(db).await.map(drop)
}

/// The next events after a number, in their order, without those that are held back.
pub(super) async fn next(
    db: &mut PgConnection,
    limit: usize,
    after: i64,
    held: &HeldEvents,
) -> Result<Vec<OutboxChange>, sqlx::Error> {
    sqlx::query_as(include_str!("../../sql/events/next.sql"))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(after)
        .bind(held.slots(true))
        .bind(held.slots(false))
        .fetch_all(db)
        .await
}

/// Removes events that were told.
pub(super) async fn remove_published(db: &mut PgConnection, ids: &[i64]) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/told.sql")).bind(ids).execute(db).await.map(drop)
}

/// Says that a relay is at work; gives the gap that is to be told.
pub(super) async fn seen(db: &mut PgConnection) -> Result<Option<OutboxGap>, sqlx::Error> {
    let (events, from, to): (i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
        sqlx::query_as(include_str!("../../sql/events/seen.sql")).fetch_one(db).await?;
    Ok(from.zip(to).filter(|_| events > 0).map(|(from, to)| OutboxGap { events, from, to }))
}

/// The gap was told.
pub(super) async fn remove_gap(db: &mut PgConnection, gap: OutboxGap) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("../../sql/events/gap_told.sql")).bind(gap.events).execute(db).await.map(drop)
}
